"""How well classes are told apart in the pooled features of trained networks: figures and a t-SNE picture."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...runtime.errors import DataError, MissingExtraError, UnsupportedError
from ...runtime.files import write_json
from ..data.augment import centre_crop
from ..data.catalogue import load
from ..loop.checkpoints import read_json
from ..loop.loading import load_network
from ..models.recording import hooked
from .plots import plot_embeddings

__all__ = ["Separability", "features_of", "lda_trace", "separability"]

_VERSION = 1
"""Of features.json."""

Features = NDArray[np.float64]


@dataclass(frozen=True)
class Separability:
    """LDA trace tr(S_w⁻¹·S_b) and silhouette of test features; accuracy there of a linear probe fitted in training.

    The plain trace ratio is left out: in trials it did not follow accuracy.
    """

    lda_trace: float
    silhouette: float
    linear_probe: float


@torch.no_grad()
def features_of(network: nn.Module, inputs: NDArray[np.float32], *, batch_size: int = 500) -> Features:
    """Return what the classifier of ``network`` reads, float64 ``[N, features]``, for normalised images.

    The classifier is the dense layer whose output is the network's; UnsupportedError if there is none.
    """
    seen: list[Tensor] = []
    calls: list[tuple[Tensor, Tensor]] = []
    dense = {path: module for path, module in network.named_modules() if isinstance(module, nn.Linear)}
    with hooked(dense, after=lambda path: lambda module, args, out: calls.append((args[0], out))):
        network.eval()
        for part in torch.split(torch.from_numpy(inputs), batch_size):
            outputs = network(part)
            read = [x for x, out in calls if out is outputs]
            if not read:
                name = type(network).__name__
                raise UnsupportedError(f"{name} does not end in a dense layer: no pooled features to look at")
            seen.append(read[-1])
            calls.clear()
    result: Features = torch.cat(seen).double().numpy()
    return result


def lda_trace(features: Features, labels: NDArray[np.int64]) -> float:
    """Return tr((S_w + r·I)⁻¹·S_b), r = 1e-4·tr(S_w)/d: scatter between classes in units of that within (Fisher)."""
    centred = features - features.mean(0)
    size = features.shape[1]
    within, between = np.zeros((size, size)), np.zeros((size, size))
    for label in np.unique(labels):
        members = centred[labels == label]
        offset = members.mean(0)
        within += (members - offset).T @ (members - offset)
        between += len(members) * np.outer(offset, offset)
    ridge = 1e-4 * np.trace(within) / size * np.eye(size)
    return float(np.trace(np.linalg.solve(within + ridge, between)))


def measure(
    train: Features, train_labels: NDArray[np.int64], test: Features, labels: NDArray[np.int64]
) -> Separability:
    """Return the three figures."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import silhouette_score
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise MissingExtraError("separability needs scikit-learn: pip install 'latentbit[train]'") from None
    scaler = StandardScaler().fit(train)
    probe = LogisticRegression(max_iter=2000).fit(scaler.transform(train), train_labels)
    return Separability(
        lda_trace(test, labels),
        float(silhouette_score(test, labels)),
        float(probe.score(scaler.transform(test), labels)),
    )


def separability(
    folders: Mapping[str, str | Path],
    out: str | Path,
    *,
    data: str,
    root: str | Path | None = None,
    image_size: int = 0,
    images: int = 2000,
) -> dict[str, Separability]:
    """Compare trained networks (folders of ``train``, by title) on the same images; writes into ``out``.

    separability.json has the figures, tsne.png the picture; features.json both, the picture as points, for the report.
    Up to ``images`` training and as many test images are used, the first of each set. DataError if a network was
    trained on other data.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise MissingExtraError("t-SNE needs scikit-learn: pip install 'latentbit[train]'") from None
    dataset = load(data, root, image_size=image_size)
    labels = dataset.test_labels[:images]
    crop = centre_crop(torch.from_numpy(dataset.train_images[:images]), dataset.test_images.shape[2:])
    found: dict[str, Separability] = {}
    points: dict[str, NDArray[np.floating[Any]]] = {}
    for title, folder in folders.items():
        if read_json(Path(folder) / "metrics.json")["dataset_sha256"] != dataset.sha256:
            raise DataError(f"the network in {folder} was trained on other data than {data}")
        network = load_network(folder)
        train = features_of(network, dataset.normalise(crop.numpy()))
        test = features_of(network, dataset.normalise(dataset.test_images[:images]))
        found[title] = measure(train, dataset.train_labels[:images], test, labels)
        perplexity = min(30.0, (len(test) - 1) / 3)
        points[title] = TSNE(random_state=0, perplexity=perplexity, init="pca").fit_transform(test)
    plot_embeddings(points, labels, dataset.classes, Path(out) / "tsne.png")
    figures = {title: asdict(each) for title, each in found.items()}
    write_json(Path(out) / "separability.json", figures)
    networks = {title: figures[title] | {"points": np.round(points[title], 2).tolist()} for title in figures}
    drawn = {"version": _VERSION, "classes": list(dataset.classes), "labels": labels.tolist(), "networks": networks}
    write_json(Path(out) / "features.json", drawn)
    return found
