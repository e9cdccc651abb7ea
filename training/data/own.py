"""Data of the user's own: what the function that ``train.data`` names returns, as the training loop reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Subset, TensorDataset, default_collate

from ...runtime.errors import ConfigError, LatentbitError
from ...runtime.imported import arguments_for, explain
from ..settings import Settings
from .dataset import Dataset
from .draws import seeded

__all__ = ["OwnData", "are_class_numbers", "arrays_of", "open_own"]

INPUTS = (torch.float32, torch.uint8)
WIDENED = (torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class OwnData:
    """Two torch data sets of pairs (input, target): ``train`` to learn from, ``test`` to be measured on.

    ``name`` is that of the function. Batches are what torch's ``default_collate`` makes of the pairs: inputs float32 or
    uint8 ``[N, …]``, and targets of any kind it knows. They are used as they are: augmentation and normalisation are
    the data set's own affair. ``sha256`` is what the training part states of itself in an attribute of that name: the
    digest of all that it was made from. None without one, for nobody can digest what a function computes.
    """

    name: str
    train: Any
    test: Any
    sha256: str | None = None

    def read(self, part: Any, rows: Sequence[int]) -> tuple[Tensor, Any]:
        """Return inputs ``[n, …]`` and targets of samples of a part; :class:`ConfigError` where they are others."""
        try:
            if type(part) is TensorDataset and len(part.tensors) == 2:
                batch: Any = [tensor[torch.as_tensor(rows)] for tensor in part.tensors]
            else:
                several = getattr(part, "__getitems__", None)
                batch = default_collate(list(several(list(rows))) if several else [part[row] for row in rows])
        except LatentbitError:
            raise
        except Exception as error:
            raise ConfigError(f"train.data = {self.name!r} failed to give samples: {explain(error)}") from error
        if not isinstance(batch, list | tuple) or len(batch) != 2 or not isinstance(batch[0], Tensor):
            raise ConfigError(
                f"train.data = {self.name!r}: a sample must be a pair (input, target), its input a tensor"
            )
        inputs, targets = batch
        inputs = inputs.float() if inputs.dtype in WIDENED else inputs
        if inputs.dtype not in INPUTS:
            raise ConfigError(f"train.data = {self.name!r} gives inputs of {inputs.dtype}: make them float32 or uint8")
        return inputs, targets

    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes: the attribute ``classes`` of the training part, else numbers.

        Without that attribute and ``targets`` all training samples are read to find the largest class number. Raises
        :class:`ConfigError` where the targets are no class numbers.
        """
        whole = self.train.dataset if isinstance(self.train, Subset) else self.train
        if (named := getattr(whole, "classes", None)) is not None:
            return tuple(str(name) for name in named)
        if (known := getattr(whole, "targets", None)) is None:
            rows = range(len(self.train))
            known = torch.cat([_numbers(self, self.read(self.train, rows[at : at + 500])[1]) for at in rows[::500]])
        return tuple(str(number) for number in range(int(torch.as_tensor(known).max()) + 1))

    def test_arrays(self) -> tuple[NDArray[Any], NDArray[Any] | dict[str, NDArray[Any]]]:
        """Return all test inputs ``[N, …]`` and their targets, an array or several by name."""
        rows = range(len(self.test))
        parts = [self.read(self.test, rows[at : at + 500]) for at in rows[::500]]
        return np.concatenate([inputs.numpy() for inputs, _ in parts]), arrays_of([targets for _, targets in parts])


def are_class_numbers(targets: Any) -> bool:
    """Tell whether the targets of a batch are class numbers: one integer a sample, ``[N]``."""
    if isinstance(targets, np.ndarray):
        targets = torch.as_tensor(targets)
    whole = isinstance(targets, Tensor) and not targets.is_floating_point() and not targets.is_complex()
    return whole and targets.dim() == 1 and targets.dtype != torch.bool


def arrays_of(parts: Sequence[Any]) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Return the targets of several batches as one array, or several by name: keys with dots where nested."""
    first = parts[0]
    if isinstance(first, Tensor):
        return np.concatenate([part.detach().cpu().numpy() for part in parts])
    if isinstance(first, Mapping):
        entries: Any = {str(key): [part[key] for part in parts] for key in first}
    elif isinstance(first, list | tuple) and first and not isinstance(first[0], str):
        entries = {str(index): [part[index] for part in parts] for index in range(len(first))}
    else:
        raise ConfigError(f"targets of train.data hold a {type(first).__name__}: give numbers or tensors")
    named: dict[str, NDArray[Any]] = {}
    for key, values in entries.items():
        found = arrays_of(values)
        named |= {f"{key}.{name}": value for name, value in found.items()} if isinstance(found, dict) else {key: found}
    return named


def open_own(settings: Settings) -> Dataset | OwnData:
    """Call the function that ``train.data`` names, with those of ``root``, ``image_size`` and ``seed`` that it takes.

    It returns a ``torch.utils.data.Dataset``, a pair (train, test) of them, or a :class:`.dataset.Dataset`. A single
    torch data set needs ``train.holdout``, which also takes the place of the test part of a pair. What it draws
    at random follows from the seed. Raises :class:`ConfigError` for anything else.
    """
    shown = f"train.data = {settings.data!r}"
    function = settings.import_function("data")
    offered = {"root": settings.root, "image_size": settings.image_size, "seed": settings.seed}
    given = arguments_for("train.data", settings.data, function, offered)
    for option in ("root", "image_size"):
        if offered[option] and option not in given:
            raise ConfigError(f"train.{option} is set, but {settings.data} takes no argument {option}: leave it out")
    try:
        with seeded(settings.seed):
            found = function(**given)
    except LatentbitError:
        raise
    except Exception as error:
        raise ConfigError(f"{shown} failed: {explain(error)}") from error
    if isinstance(found, Dataset):
        return found
    if settings.augment not in (Settings.augment, "none"):
        raise ConfigError(f"{shown} augments its own samples: set train.augment = 'none'")
    train, test = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    for part in (train, test):
        if part is not None and not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
            raise ConfigError(
                f"{shown} returned a {type(part).__name__}: return a torch Dataset with a length, a pair (train, test)"
                " of them, or a latentbit.training.Dataset"
            )
    if settings.holdout:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0)).tolist()
        taken = round(settings.holdout * len(train))
        train, test = Subset(train, sorted(order[taken:])), Subset(train, sorted(order[:taken]))
    elif test is None:
        raise ConfigError(f"{shown} returned one data set: return a pair (train, test), or set train.holdout = 0.2")
    if len(train) < 2 or not len(test):
        raise ConfigError(f"{shown} leaves {len(train)} samples to train on and {len(test)} to test on: too few")
    stated = getattr(train.dataset if isinstance(train, Subset) else train, "sha256", None)
    return OwnData(settings.data, train, test, stated if isinstance(stated, str) else None)


def _numbers(data: OwnData, targets: Any) -> Tensor:
    if not are_class_numbers(targets):
        raise ConfigError(f"train.data = {data.name!r}: its targets are no class numbers, so num_classes is not known")
    numbers: Tensor = targets
    return numbers
