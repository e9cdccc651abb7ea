"""The section on figures: each that is judged beside its tolerance, and all that the check measured."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..summary import check_rows
from .facts import Facts
from .words import percent, small

__all__ = ["Figures", "Judged", "figures"]


@dataclass(frozen=True)
class Judged:
    """A figure, what is allowed, and whether it is within that."""

    name: str
    value: str
    allowed: str
    within: bool
    what: str


@dataclass(frozen=True)
class Figures:
    """What is judged, and all figures as (name, value, what it compares)."""

    judged: tuple[Judged, ...]
    everything: tuple[tuple[str, str, str], ...]
    metric: str


def figures(facts: Facts) -> Figures:
    """Return the figures of the accuracy check."""
    return Figures(tuple(_judged(facts)), tuple(check_rows(facts.report)), facts.report.metric)


def _judged(facts: Facts) -> Iterator[Judged]:
    agreement, allowed = facts.report.agreement, facts.run.config.check
    wrong, compared = agreement.oracle_integer_mismatches, agreement.oracle_integers_compared
    yield Judged("wrong integers", str(wrong), "0", wrong == 0 < compared, "against onnx.reference")
    if agreement.top1_agreement is not None:
        off, most = agreement.max_abs_logit_difference_unflipped, allowed.max_logit_difference
        within = off is not None and off <= most
        yield Judged("largest logit difference", small(off), f"≤ {most:g}", within, "images without a flipped sign")
        same, least = agreement.top1_agreement, allowed.min_top1_agreement
        yield Judged("top-1 agreement", percent(same), f"≥ {percent(least)}", same >= least, "with the folded network")
    else:
        yield from _outputs(facts)
    share, most = agreement.flipped_share, allowed.max_flipped_share
    flipped = sum(agreement.flipped_signs.values())
    yield Judged("flipped signs", f"{flipped:,} ({share:.1g})", f"≤ {most:g}", share <= most, "share of all signs")
    if agreement.flip_margins:
        margin, most = max(agreement.flip_margins.values()), allowed.max_flip_distance
        yield Judged("margin of flipped signs", small(margin), f"≤ {most:g}", margin <= most, "share of largest value")
    yield from _drops(facts)


def _outputs(facts: Facts) -> Iterator[Judged]:
    allowed = facts.run.config.check
    for name, output in facts.report.agreement.outputs.items():
        off, most = output.max_abs_difference_unflipped, allowed.max_output_difference * (output.largest_value or 0.0)
        within = off is not None and off <= most
        yield Judged(f"largest difference of {name}", small(off), f"≤ {most:.2g}", within, "without a flipped sign")
        if allowed.min_output_psnr and output.psnr is not None:
            least = allowed.min_output_psnr
            within = output.psnr >= least
            yield Judged(f"PSNR of {name}", f"{output.psnr:.1f} dB", f"≥ {least:g} dB", within, "lowest of all samples")


def _drops(facts: Facts) -> Iterator[Judged]:
    accuracy, most = facts.report.accuracy, facts.run.config.check.max_accuracy_drop
    steps = (
        ("accuracy lost by folding", accuracy.test_accuracy, accuracy.folded, "all test images"),
        ("accuracy lost by deploying", accuracy.folded_on_samples, accuracy.deployed, "reference images"),
    )
    for name, before, after, what in steps:
        if before is not None and after is not None:
            lost = before - after
            shown = f"{100 * lost + 0.0:.2f} points"
            yield Judged(name, shown, f"≤ {100 * most:g} points", lost <= most, what)
