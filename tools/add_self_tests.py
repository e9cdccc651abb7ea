"""Give every model of the zoo the self-test that exports carry, and change nothing else.

    python tools/add_self_tests.py

A model keeps its weights and its graph; its metadata get one entry more (docs/device.md), and so its card another
sha256 and size. The bundle of the tests, tests/data/zoo/NAME.zip, gets the same file, with the digests of its manifest.
What has the right self-test already is left as it is, so a second call changes nothing.
"""

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import onnx

from latentbit.export.storing import with_self_test
from latentbit.runtime.errors import LatentbitError
from latentbit.runtime.files import write_bytes, write_json
from latentbit.runtime.proof.bundle import MANIFEST, manifest_bytes

ROOT = Path(__file__).resolve().parents[1]
ZOO, BUNDLES = ROOT / "runtime" / "zoo", ROOT / "tests" / "data" / "zoo"


def bundled(data: bytes, model: bytes) -> bytes:
    """Return a bundle, the bytes of a zip file, with another model."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {entry: archive.read(entry) for entry in archive.infolist()}
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in files.items():
            if entry.filename == "model.onnx":
                content = model
            elif entry.filename == MANIFEST:
                manifest = json.loads(content)
                del manifest["sha256"]
                manifest["files"]["model.onnx"] = hashlib.sha256(model).hexdigest()
                content = manifest_bytes(manifest)
            archive.writestr(entry, content)
    return written.getvalue()


def main() -> int:
    """Rewrite what has no self-test, and say so."""
    try:
        for file in sorted(ZOO.glob("*.onnx")):
            before = file.read_bytes()
            after = with_self_test(onnx.load_from_string(before))
            if after == before:
                continue
            card, bundle = file.with_suffix(".json"), BUNDLES / f"{file.stem}.zip"
            entries = json.loads(card.read_text(encoding="utf-8"))
            grown = len(after) - len(before)
            entries["sha256"] = hashlib.sha256(after).hexdigest()
            entries["size_bytes"] = {name: size + grown for name, size in entries["size_bytes"].items()}
            write_bytes(file, after)
            write_json(card, entries)
            if bundle.exists():
                write_bytes(bundle, bundled(bundle.read_bytes(), after))
            print(f"{file.name}: {grown} bytes more")
    except LatentbitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
