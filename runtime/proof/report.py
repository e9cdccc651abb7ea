"""What the accuracy check found, as the types that every page, table and command reads, and as ``report.json``."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import DataError
from ..intake.typed import from_json
from ..metrics import current_names

__all__ = [
    "Accuracy",
    "Agreement",
    "CheckReport",
    "Int8",
    "Latency",
    "OutputAgreement",
    "Size",
    "Times",
    "confidence_interval",
]


def confidence_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95% interval, two fractions, of a share seen in ``count`` trials (Wilson's score interval, 1927)."""
    z = 1.96
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - spread) / (1 + z * z / count), (middle + spread) / (1 + z * z / count)


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers, fractions; None where the model file states none, or the outputs are no class scores.

    ``latent_test_accuracy`` (the float latent stream), ``test_accuracy`` (the trained binary network) and ``folded``
    are of all test images; ``folded_on_samples`` and ``deployed`` of the images of the reference. ``majority`` is the
    share of the reference's commonest class: what a network gets right that gives the same answer to everything.
    """

    latent_test_accuracy: float | None
    test_accuracy: float | None
    folded: float | None
    folded_on_samples: float | None
    deployed: float | None
    majority: float | None = None


@dataclass(frozen=True)
class OutputAgreement:
    """One output of the runtime against that of the folded network: its largest differences, as in :class:`Agreement`.

    ``largest_value`` is the largest absolute value that the reference holds of it. ``top1_agreement`` is None where the
    output is no class scores. ``psnr`` is the peak signal-to-noise ratio in dB of the sample that differs most, with
    ``largest_value`` as peak; None where nothing differs, and where the output is class scores or no finite number.
    """

    max_abs_difference: float | None
    max_abs_difference_unflipped: float | None
    largest_value: float | None
    top1_agreement: float | None
    psnr: float | None = None


@dataclass(frozen=True)
class Agreement:
    """The runtime against the oracle (integers), and against the folded network (all else).

    Differences of logits are the largest of all outputs and images, and of images without a flipped sign
    (``…_unflipped``); None where one is no finite number. ``outputs`` has them for each output. ``top1_agreement`` is
    None where no output is class scores. ``flipped_signs`` counts by layer, ``flipped_share`` is their fraction of all
    signs. ``integer_mismatches`` counts by layer; ``flip_margins`` says by layer how far the value before a flipped
    sign lies from its threshold at most, as a share of the largest value there. Both are empty in older reports.
    """

    oracle_integer_mismatches: int
    oracle_integers_compared: int
    top1_agreement: float | None
    max_abs_logit_difference: float | None
    max_abs_logit_difference_unflipped: float | None
    flipped_signs: Mapping[str, int]
    flipped_share: float
    flipped_images: int
    outputs: Mapping[str, OutputAgreement] = field(default_factory=dict)
    integer_mismatches: Mapping[str, int] = field(default_factory=dict)
    flip_margins: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Size:
    """Bytes of the file (``packed``), and of the same with float32 weights (``float``)."""

    packed: int
    float: int


@dataclass(frozen=True)
class Times:
    """Wall times of a call in milliseconds: median, 95th and 99th percentile (None in older reports), and best."""

    median: float
    p95: float
    best: float
    p99: float | None = None


@dataclass(frozen=True)
class Latency:
    """One image (or one batch of a model that fixes it) here, and on stock onnxruntime with the same file, in float."""

    latentbit: Times
    onnxruntime_fp32: Times


@dataclass(frozen=True)
class Int8:
    """The same network in int8, as a user of onnxruntime would make it, calibrated on the reference's first images.

    ``latency_ms`` of one image (or one batch), the ``bytes`` of the file, and its ``accuracy`` on the reference, None
    where outputs are no class scores. ``problem`` says why there is none; then all others are None.
    """

    latency_ms: Times | None = None
    bytes: int | None = None
    accuracy: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class CheckReport:
    """The verdict and its figures.

    ``failures`` has a sentence for each figure out of tolerance; ``samples`` counts the images of the reference;
    ``metrics`` has the figures of a metric of the user's, by what was measured: ``trained`` and ``folded`` on all test
    data, ``folded_on_samples`` and ``deployed`` on the reference's. ``metric`` is its name in the model file.
    ``throughput`` is images a second; ``kernels`` names the kernel of each packed layer; ``environment`` says where;
    ``self_test`` how the self-test of the file ended. ``int8`` is the same network in int8, where it was made.
    """

    failures: tuple[str, ...]
    samples: int
    accuracy: Accuracy
    agreement: Agreement
    size_bytes: Size
    latency_ms: Latency
    throughput: float
    kernels: Mapping[str, str]
    peak_memory_bytes: int
    environment: Mapping[str, Any]
    metric: str = ""
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    self_test: str = ""
    int8: Int8 | None = None

    @property
    def passed(self) -> bool:
        """Whether no figure is out of tolerance."""
        return not self.failures

    @property
    def guesses(self) -> bool:
        """Whether the network is hardly better than guessing.

        It is called so where the 95% interval of its accuracy on the reference's images begins below ``majority``.
        """
        right, commonest = self.accuracy.deployed, self.accuracy.majority
        if right is None or commonest is None:
            return False
        return confidence_interval(right, self.samples)[0] <= commonest

    @property
    def meaning(self) -> str:
        """What the verdict says, and what it does not: a sentence for whoever reads it.

        A file may answer exactly as its network did, and that network may be no better than guessing.
        """
        if not self.passed:
            return "The file does not answer as the trained network did."
        right, commonest = self.accuracy.deployed, self.accuracy.majority
        if right is None or commonest is None:
            return "The file answers as the trained network did. How good that network is, this check does not say."
        if self.guesses:
            return (
                "The file answers as the trained network did, but that network is hardly better than guessing: it gets"
                f" {right:.1%} of {self.samples} images right, and always naming the commonest class {commonest:.1%}."
            )
        return f"The file answers as the trained network did; always naming the commonest class gets {commonest:.1%}."

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``report.json``: the fields by their names, and ``passed``."""
        return {"passed": self.passed, **asdict(self), "failures": list(self.failures)}

    @classmethod
    def from_json(cls, value: Any) -> "CheckReport":
        """Return the report that :meth:`to_json` gave. Raises :class:`DataError` for anything else."""
        try:
            entries = {key: entry for key, entry in value.items() if key != "passed"}
            report = from_json(cls, entries | {"accuracy": current_names(entries["accuracy"])})
            _check_possible(report)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise DataError(f"this is no report of the accuracy check ({error}): run the check again") from None
        return report


def _check_possible(report: CheckReport) -> None:
    """Raise ValueError for a figure that no check has given: who reads a report takes roots of them and divides."""
    agreement, times = report.agreement, [report.latency_ms.latentbit, report.latency_ms.onnxruntime_fp32]
    shares = vars(report.accuracy) | {each: getattr(agreement, each) for each in ("top1_agreement", "flipped_share")}
    counts = {"samples": report.samples, "packed": report.size_bytes.packed, "float": report.size_bytes.float}
    if report.int8 is not None:
        shares["int8"], counts["bytes"] = report.int8.accuracy, report.int8.bytes or 1
        times += [report.int8.latency_ms] if report.int8.latency_ms is not None else []
    figures = [figure for each in times for figure in vars(each).values() if figure is not None]
    wrong = [name for name, share in shares.items() if share is not None and not 0 <= share <= 1]
    wrong += [name for name, count in counts.items() if count < 1]
    wrong += ["latency_ms"] if not all(0 < figure < math.inf for figure in figures) else []
    if wrong:
        raise ValueError(f"{wrong[0]} is an impossible figure")
