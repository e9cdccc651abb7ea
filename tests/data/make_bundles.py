"""Write the stored bundles: ``python tests/data/make_bundles.py`` (minutes; needs the extra ``train``).

``digits.zip`` is the quick start's network; ``exact.zip`` is one whose layers up to the pooling are exact in every
executor: an int8 stem over pixels and binary downsamples.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

EXACT = {"train.model": "resnet8", "train.width": "16", "train.downsample": "binary", "train.epochs": "12"}
BUNDLES: dict[str, dict[str, str]] = {"digits": {}, "exact": {"fold.input": "exact", **EXACT}}


def main() -> None:
    for name, settings in BUNDLES.items():
        with tempfile.TemporaryDirectory() as scratch:
            run, target = Path(scratch) / name, Path(__file__).with_name(f"{name}.zip")
            overrides = [text for key, value in settings.items() for text in ("-s", f"{key}={value}")]
            command = [sys.executable, "-m", "latentbit"]
            subprocess.run([*command, "run-all", "-o", str(run), *overrides], check=True)
            target.unlink(missing_ok=True)
            subprocess.run([*command, "bundle", str(run), "-o", str(target), "--samples", "50"], check=True)


if __name__ == "__main__":
    main()
