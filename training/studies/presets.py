"""Studies by name, which stand for their variants. Completion reads the names, so nothing here imports torch."""

from types import MappingProxyType

__all__ = ["PRESETS"]

PRESETS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "blocks": ("none", *(f"none:block={kind}" for kind in ("pair", "plain", "fractal", "ghost", "attention"))),
        "repairs": (
            "none:block=plain,norm=none,thresholds=fixed,activation_estimator=identity_clip",
            "none:block=plain,norm=none,thresholds=fixed",
            "none:block=plain,norm=none",
            "none:block=plain",
            "none:block=pair",
            "none",
            "none:norm=both",
        ),
        "supervision": (
            "none", "L1", "L1:beta=0", "L1:label_weight=0", "L6:label_weight=0", "L1:latent_until=0.5",
            "L1:latent_from=0.5", "L4",
        ),
    }
)  # fmt: skip
"""Studies by name, a name in the place of variants. ``repairs``: feature binariser, feature normalisation and double
residual one after the other, the three that de Putter and Corporaal (arXiv 2206.12322) found most useful.
``supervision``: who teaches the binary stream, and when."""
