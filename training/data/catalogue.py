"""Data sets by name. Add a loader to :data:`LOADERS`.

===============  =====================================================================================
digits           scikit-learn's digits, 8×8; needs no file and no network
mnist            ``<root>/MNIST/raw/*.gz``
fashion_mnist    ``<root>/FashionMNIST/raw/*.gz``
cifar10          ``<root>/cifar-10-batches-bin`` or ``cifar-10-batches-py``
cifar100         ``<root>/cifar-100-binary`` or ``cifar-100-python``
folder:NAME      ``<root>/NAME/{train,val}/<class>/<image>``: the layout of ImageNet, any image format
MODULE:FUNCTION  what a function of the user's returns (:mod:`.own`)
===============  =====================================================================================

``<root>`` is the keyword, or $LATENTBIT_DATA, or ~/.cache/latentbit/data. What is missing is downloaded from its
authors' address where there is one, and verified by its published md5.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ...runtime.errors import ConfigError, MissingExtraError
from ..settings import FOLDER, Settings
from .cifar import CIFAR10, CIFAR100, load_cifar
from .dataset import Dataset, holdout, make_dataset, stratified_split
from .folders import load_folder
from .idx import FASHION_MNIST, MNIST, load_idx
from .own import OwnData, open_own

__all__ = ["LOADERS", "Dataset", "check_name", "holdout", "load", "open_data"]


def load_digits(root: Path | None) -> Dataset:
    """scikit-learn's digits: 1,797 real images of 8×8 pixels with values 0–16; 70/30 stratified, fixed seed."""
    try:
        from sklearn.datasets import load_digits as sklearn_digits
    except ImportError:
        raise MissingExtraError("the digits data need scikit-learn: pip install 'latentbit[train]'") from None
    images, labels = sklearn_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8).astype(np.uint8)
    train, test = stratified_split(labels, 0.3, seed=0)
    return make_dataset(
        "digits",
        (images[train], labels[train]),
        (images[test], labels[test]),
        classes=tuple("0123456789"),
        pixel_range=16.0,
    )


LOADERS: MappingProxyType[str, Callable[[Path | None], Dataset]] = MappingProxyType(
    {
        "cifar10": partial(load_cifar, CIFAR10),
        "cifar100": partial(load_cifar, CIFAR100),
        "digits": load_digits,
        "fashion_mnist": partial(load_idx, FASHION_MNIST),
        "mnist": partial(load_idx, MNIST),
    }
)


def load(name: str, root: str | Path | None = None, *, image_size: int = 0) -> Dataset:
    """Load a data set by name; ``image_size`` is the side in pixels that folders of images are brought to (0: 224).

    ConfigError for an unknown name, or an image size with a set that has its own; DataError for missing or altered
    files.
    """
    path = None if not root else Path(root)
    if name.startswith(FOLDER):
        return load_folder(name.removeprefix(FOLDER), path, image_size or 224)
    check_name(name)
    if image_size:
        raise ConfigError(f"train.image_size is for folders of images; {name} has a size of its own: set it to 0")
    return LOADERS[name](path)


def check_name(name: str) -> None:
    """Raise ConfigError for the name of a data set that is none; whether its files are there is not looked at."""
    if name not in LOADERS and not name.startswith(FOLDER):
        known = ", ".join(sorted(LOADERS))
        raise ConfigError(f"unknown data set {name!r}: choose one of {known}, folder:NAME, or package.module:function")


def open_data(settings: Settings) -> Dataset | OwnData:
    """Return the data of a run; with a holdout, its held-out part in the place of the test part.

    ConfigError for a name or a function that gives none, DataError for missing or altered files.
    """
    if "data" in settings.named("data"):
        found = open_own(settings)
    else:
        found = load(settings.data, settings.root or None, image_size=settings.image_size)
    if isinstance(found, OwnData) or not settings.holdout:
        return found
    return holdout(found, settings.holdout)
