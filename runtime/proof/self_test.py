"""Making the self-test of a file: what :mod:`..session.self_test` compares, its integers confirmed by the oracle."""

from ..errors import CheckFailed, LatentbitError
from ..session.self_test import KEY, Record, digest, layer_signs
from ..session.session import InferenceSession
from .oracle import layer_oracle

__all__ = ["KEY", "make_self_test"]

_SIDES = (32, 64, 224, 8)
"""Sizes that are tried for an axis which the file leaves free, the batch apart; the first that fits is taken."""


def make_self_test(data: bytes) -> str | None:
    """Return the text for the metadata of a model file, ``data``; None where there is nothing to test, or no way to.

    There is nothing in a file without packed layers. There is no way where this runtime cannot run the file, where an
    input takes no numbers, or where no size that is tried fits a free axis.
    Raises CheckFailed where a kernel gives other integers than the file's own function (:mod:`.oracle`).
    """
    try:
        session = InferenceSession(data)
    except LatentbitError:
        return None  # who runs it is told why
    if not any(step.kind == "binary" for step in session.get_steps()):
        return None
    for side in _SIDES if _has_free_axis(session) else _SIDES[:1]:
        shapes = {
            info.name: [size if isinstance(size, int) else side if axis else 1 for axis, size in enumerate(info.shape)]
            for info in session.get_inputs()
        }
        try:
            found = session.self_test_record(shapes)
        except LatentbitError:
            continue
        _confirm(found, data)
        return found.to_json()
    return None


def _has_free_axis(session: InferenceSession) -> bool:
    return any(not isinstance(size, int) for info in session.get_inputs() for size in info.shape[1:])


def _confirm(found: Record, data: bytes) -> None:
    oracle = layer_oracle(data)
    for name, layer in found.layers.items():
        if digest(oracle(name, layer_signs(name, (1, *layer.shape[1:])))) != layer.integers:
            raise CheckFailed(f"layer {name}: integers differ from the oracle; the file is not written")
