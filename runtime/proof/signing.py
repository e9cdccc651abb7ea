"""Signatures of bundles: whoever has the public key of their maker knows who made them.

The digests in a manifest say that a bundle is whole. They do not say who made it: whoever alters a file can write its
digest as well. A signature does, and only a bundle of a known maker may bring native code. It is Ed25519 (RFC 8032)
over the manifest, which holds the digest of every file. The keys are PEM files, as openssl makes them::

    openssl genpkey -algorithm ed25519 -out maker.pem         the private key: keep it to yourself
    openssl pkey -in maker.pem -pubout -out maker.pub         the public key: it goes to the devices
"""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError, MissingExtraError

__all__ = ["SIGNATURE", "check_signature", "sign"]

SIGNATURE = "manifest.sig"
"""Name of the file in a bundle that holds the signature, 64 bytes."""

_PURPOSE = b"latentbit bundle manifest\n"
"""What is signed begins with it: a signature of something else by the same key is none of a bundle."""

_BYTES = 64


def sign(manifest: bytes, private_key: str | os.PathLike[str]) -> bytes:
    """Return the signature of a manifest by the private key in a PEM file.

    Raises ConfigError for a file that holds no such key, MissingExtraError without the package cryptography.
    """
    key = _key(private_key, "load_pem_private_key", "Ed25519PrivateKey", password=None)
    signature: bytes = key.sign(_PURPOSE + manifest)
    return signature


def check_signature(folder: Path, manifest: bytes, public_key: str | os.PathLike[str], shown: Path) -> None:
    """Raise DataError unless the bundle in ``folder``, with these bytes of its manifest, is signed by a key.

    public_key: a PEM file. Raises ConfigError and MissingExtraError as :func:`sign`.
    """
    key = _key(public_key, "load_pem_public_key", "Ed25519PublicKey")
    try:
        if not (folder / SIGNATURE).is_file():
            raise FileNotFoundError
        with (folder / SIGNATURE).open("rb") as file:
            signature = file.read(_BYTES + 1)
    except OSError:
        raise DataError(f"{shown} is not signed; make it with pipeline bundle --sign-key") from None
    try:
        key.verify(signature, _PURPOSE + manifest)
    except _module("cryptography.exceptions").InvalidSignature:
        raise DataError(
            f"{shown} is not signed by the key in {os.fspath(public_key)}; use the public key of its maker"
        ) from None


def _key(path: str | os.PathLike[str], loader: str, kind: str, **options: Any) -> Any:
    load = getattr(_module("cryptography.hazmat.primitives.serialization"), loader)
    wanted = getattr(_module("cryptography.hazmat.primitives.asymmetric.ed25519"), kind)
    try:
        key = load(Path(path).read_bytes(), **options)
    except OSError as error:
        raise ConfigError(f"cannot read the key {os.fspath(path)}: {error.strerror}") from None
    except Exception:  # what is no key raises many kinds
        key = None
    if not isinstance(key, wanted):
        side = "private" if kind.endswith("PrivateKey") else "public"
        raise ConfigError(
            f"{os.fspath(path)} holds no {side} Ed25519 key without a password; make keys with openssl genpkey"
        )
    return key


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise MissingExtraError("signatures of bundles need cryptography: pip install 'latentbit[sign]'") from None
