"""A card of the zoo as rows of text: what ``pipeline zoo`` shows and ``docs/zoo.md`` prints."""

from collections.abc import Mapping

from ..runtime.zoo.catalogue import PREFIX, Card

__all__ = ["OVERVIEW", "card_rows", "overview_row"]

OVERVIEW = ("name", "data", "accuracy", "size", "network", "recipe")
"""The columns of the table of all models."""


def overview_row(card: Card) -> tuple[str, ...]:
    """Return what stands in the columns of :data:`OVERVIEW`; figures are those of the packed file."""
    return (
        card.name,
        card.data,
        _share(card.accuracy["deployed"]) if not card.metrics else _figures(card.metrics["deployed"]),
        f"{card.size_bytes['packed'] / 1024:.1f} KiB",
        card.network,
        ", ".join([card.recipe, *card.settings]),
    )


def card_rows(card: Card) -> list[tuple[str, str]]:
    """Return the whole card as (what, value)."""
    accuracy, size = card.accuracy, card.size_bytes
    ours, theirs = card.latency_ms["latentbit"], card.latency_ms["onnxruntime_fp32"]
    tested = f"{card.test_images:,} test images"
    sampled = tested if card.reference_images == card.test_images else f"{card.reference_images:,} of them"
    measured = [
        ("accuracy, latent stream", _share(accuracy["latent_test_accuracy"], tested)),
        ("accuracy, trained", _share(accuracy["test_accuracy"], tested)),
        ("accuracy, folded", _share(accuracy["folded"], tested)),
        ("accuracy, deployed", _share(accuracy["deployed"], sampled)),
    ]
    if card.metrics:
        measured = [
            (name, f"{_figures(card.metrics[name])} of {images}")
            for name, images in (("trained", tested), ("folded", tested), ("deployed", sampled))
        ]
    return [
        ("model", f"{PREFIX}{card.name}"),
        ("data", f"{card.data}, sha256 {card.data_sha256}"),
        ("terms of the data", card.data_terms or "not known"),
        ("network", card.network),
        ("epochs", str(card.epochs)),
        ("made by", card.command),
        *measured,
        ("size", f"{size['packed']:,} bytes; with float32 weights {size['float']:,}"),
        ("latency", f"{_latency(ours)}, one image on {card.cpu}"),
        ("latency, onnxruntime fp32", f"{_latency(theirs)}, the same file there"),
        ("sha256", card.sha256),
        ("versions", ", ".join(f"{name} {version}" for name, version in card.versions.items())),
        ("date", card.date),
    ]


def _share(value: float | None, images: str = "") -> str:
    if value is None:
        return "none"
    return f"{100 * value:.2f} % of {images}" if images else f"{100 * value:.2f} %"


def _figures(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _latency(value: Mapping[str, float]) -> str:
    return f"{value['median']:.3f} ms (95th percentile {value['p95']:.3f})"
