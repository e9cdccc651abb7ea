"""The models of the zoo: ``NAME.onnx`` beside its card ``NAME.json``, both written by ``python tools/publish.py``.

A folder is the whole catalogue: what has a card is in the zoo, and no other list names it. Nothing heavy is imported
here, so that command lines may ask before they load a kernel.
"""

import difflib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..files import parse_json, sha256_file
from ..intake.typed import from_json

__all__ = ["CARD_VERSION", "FOLDER", "PREFIX", "Card", "card", "find_model", "names", "path", "picture", "read_card"]

CARD_VERSION = 1
FOLDER = Path(__file__).parent
PREFIX = "zoo:"
"""What a command line writes before the name of a model of the zoo, in the place of a path."""


@dataclass(frozen=True)
class Card:
    """What is known of a model; every figure comes from the run that made it.

    ``data`` and ``data_sha256`` name the data set and the digest of its arrays, ``data_terms`` its licence (None: not
    known). The run is that of the file ``recipe`` with ``settings`` (``section.key=value``) changed. ``accuracy`` holds
    fractions: ``latent_test_accuracy`` (None without a latent stream), ``test_accuracy`` (the trained binary network)
    and ``folded`` on all ``test_images``, ``deployed`` on ``reference_images`` of them; None where outputs are no class
    scores. Then ``metrics`` has the figures of the recipe's metric by the same names. ``size_bytes``: ``packed`` is
    the file, ``float`` the same with float32 weights.
    ``latency_ms``: ``median`` and ``p95`` for one image on ``cpu``, by engine (``latentbit``, ``onnxruntime_fp32``).
    """

    name: str
    data: str
    data_sha256: str
    data_terms: str | None
    network: str
    recipe: str
    settings: tuple[str, ...]
    epochs: int
    accuracy: Mapping[str, float | None]
    test_images: int
    reference_images: int
    size_bytes: Mapping[str, int]
    latency_ms: Mapping[str, Mapping[str, float]]
    cpu: str
    sha256: str
    versions: Mapping[str, str]
    date: str
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command that trains this model again, in a checkout."""
        changes = [word for setting in self.settings for word in ("-s", setting)]
        return shlex.join(["pipeline", "run-all", "-c", self.recipe, *changes])


def picture(model: Path) -> Path | None:
    """Return the image that ships with the file of a model of the zoo, to try it on; None where there is none."""
    beside = model.with_suffix(".png")
    return beside if beside.parent == FOLDER and beside.exists() else None


def names() -> tuple[str, ...]:
    """Return the names of all models of the zoo, sorted."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.json")))


def card(name: str) -> Card:
    """Return the card of a model.

    Raises :class:`ModelError` for a name that is not in the zoo, with the nearest that is, and as :func:`read_card`.
    """
    if name not in (known := names()):
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
        raise ModelError(f"the zoo has no model {name!r}: {hint}")
    return read_card(FOLDER / f"{name}.json")


def read_card(file: Path) -> Card:
    """Return the card in a file. Raises :class:`ModelError` for one that is corrupt or of another version."""
    try:
        entries: dict[str, Any] = parse_json(file.read_text(encoding="utf-8"))
        version = entries.pop("format_version")
        if version == CARD_VERSION:
            return from_json(Card, entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the card {file} is corrupt ({error}): install latentbit again") from None
    raise ModelError(
        f"the card {file} has version {version!r}, this latentbit reads {CARD_VERSION}: install latentbit again"
    )


def path(name: str) -> Path:
    """Return the ``.onnx`` file of a model, after its sha256 has been compared with that of the card.

    Raises :class:`ModelError` as :func:`card` does, and for a file that is missing or altered.
    """
    expected = card(name).sha256
    file = FOLDER / f"{name}.onnx"
    try:
        found = sha256_file(file)
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}; install latentbit again") from None
    if found != expected:
        raise ModelError(f"{file} was altered: its sha256 is not that of its card; install latentbit again")
    return file


def find_model(given: str | PathLike[str]) -> Path:
    """Return the path that a command line means: ``zoo:NAME`` is a model of the zoo, all else is a path already.

    Raises :class:`ModelError` as :func:`path` does.
    """
    text = fspath(given)
    return path(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else Path(text)
