"""The section on features: t-SNE of this network's and of others', where ``separability`` compared them."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from .charts import points
from .facts import Facts

__all__ = ["Features", "features"]

_MEASURES = (
    ("linear_probe", "linear probe", ".1%"),
    ("silhouette", "silhouette", ".3f"),
    ("lda_trace", "LDA trace", ".2f"),
)

_DRAWN = 1000
"""Points, at most, in a drawing: more make the page long and no clearer."""


@dataclass(frozen=True)
class Features:
    """``charts`` are (title, figures in words, drawing), one for each network; ``images``: how many were looked at."""

    charts: tuple[tuple[str, str, Markup], ...]
    images: int


def features(facts: Facts) -> Features | None:
    """Return the comparison of features in which the run took part, None where there was none."""
    study = facts.study
    if study is None:
        return None
    labels = np.asarray(study["labels"], np.int64)
    chosen = slice(None, None, -(-len(labels) // _DRAWN))
    charts = []
    for number, (title, found) in enumerate(study["networks"].items()):
        told = ", ".join(f"{name} {found[key]:{form}}" for key, name, form in _MEASURES)
        words = f"t-SNE of the features of {title}: {told}"
        places = np.asarray(found["points"])[chosen]
        drawn = points(places, labels[chosen], study["classes"], title=words, name=f"tsne{number}")
        charts.append((title, told, drawn))
    return Features(tuple(charts), len(labels))
