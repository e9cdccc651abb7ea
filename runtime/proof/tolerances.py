"""How far a deployed model may be from its reference: the one list of tolerances, for bundles, commands and recipes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import ConfigError, DataError

__all__ = ["Tolerances"]


def _between(default: float, minimum: float, maximum: float = math.inf) -> Any:
    return field(default=default, metadata={"minimum": minimum, "maximum": maximum})


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """What the accuracy check allows, and how much it measures; the keys of ``[check]`` in a configuration.

    Against the folded reference, over its samples: ``max_logit_difference`` of class scores on images without a flipped
    sign; ``max_output_difference`` of outputs that are no class scores there, as a share of the largest value of that
    output; ``min_output_psnr`` in dB of such outputs on all samples, those with flipped signs too (0: not judged), for
    among the millions of signs of a large image one may well flip; ``max_flip_distance`` of the value before a flipped
    sign from its threshold, as a share of the largest value there; ``max_flipped_share`` of all signs of binary layers
    (a fraction), ``min_top1_agreement`` (a fraction).
    ``max_accuracy_drop`` (a fraction) is allowed from training to the folded network, and from there to the deployed
    one. Integers must always be equal: ``oracle_samples`` images are run through ``onnx.reference``, which is slow.
    ``latency_runs`` are timed. Raises :class:`ConfigError` for a value out of its range.
    """

    max_logit_difference: float = _between(1e-3, 0.0)
    max_output_difference: float = _between(1e-3, 0.0)
    min_output_psnr: float = _between(0.0, 0.0)
    max_flip_distance: float = _between(1e-4, 0.0)
    max_flipped_share: float = _between(1e-4, 0.0, 1.0)
    min_top1_agreement: float = _between(0.995, 0.0, 1.0)
    max_accuracy_drop: float = _between(0.005, 0.0, 1.0)
    oracle_samples: int = _between(32, 1, 1_000_000)
    latency_runs: int = _between(200, 1, 100_000)

    def __post_init__(self) -> None:
        for each in fields(self):
            value, low, high = getattr(self, each.name), each.metadata["minimum"], each.metadata["maximum"]
            if not low <= value <= high:  # nor does NaN lie between them
                limits = f"at least {low}" if high == math.inf else f"between {low} and {high}"
                raise ConfigError(f"{each.name} = {value} must be {limits}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Tolerances":
        """Return the tolerances that a manifest states; those that it leaves out are the defaults.

        Raises :class:`DataError` for one that is not known or no number, :class:`ConfigError` for one out of its range.
        """
        if unknown := sorted(set(values) - {each.name for each in fields(cls)}):
            raise DataError(f"there is no tolerance {unknown[0]}: the latentbit that wrote it was another version")
        for each in fields(cls):
            value = values.get(each.name, each.default)
            if type(value) not in (int, type(each.default)):
                raise DataError(f"the tolerance {each.name} is {value!r}, which is no number for it; make it again")
        return cls(**values)
