"""Data of the user's own: what his function may return, what batches they give, what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset, TensorDataset, default_collate

from latentbit.runtime.errors import ConfigError
from latentbit.training.data.batches import OwnBatches, make_batches
from latentbit.training.data.catalogue import holdout, load, open_data
from latentbit.training.data.dataset import Dataset
from latentbit.training.data.own import OwnData, are_class_numbers
from latentbit.training.settings import Settings

from ...support.own import write_code

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_code(tmp_path_factory.mktemp("own"), "owned"))


def opened(code: str, name: str, **settings: Any) -> Any:
    return open_data(Settings.from_keywords(data=name if ":" in name else f"owned_data:{name}", code=code, **settings))


def test_a_pair_of_torch_data_sets(code: str) -> None:
    data = opened(code, "classes")
    assert isinstance(data, OwnData)
    assert (len(data.train), len(data.test), data.classes()) == (240, 90, ("across", "down", "dot"))
    batches = make_batches(data, augment="none", size=64, seed=5, device=CPU)
    assert (batches.count, batches.tested, batches.steps) == (240, 90, 4)
    assert sorted(batches.order(0).tolist()) == list(range(240))
    assert not torch.equal(batches.order(0), batches.order(1))
    rows = batches.order(0)[:64]
    state = torch.random.get_rng_state()
    inputs, targets = batches.get(rows, 3)
    assert torch.equal(torch.random.get_rng_state(), state), "the global random state is left as it was"
    assert (inputs.shape, inputs.dtype, targets.dtype) == ((64, 1, 8, 8), torch.float32, torch.int64)
    assert torch.equal(targets, data.train.kinds[rows])
    again, other = batches.get(rows, 3)[0], batches.get(rows, 4)[0]
    assert torch.equal(inputs, again), "random numbers that the data set draws follow from the step"
    assert not torch.equal(inputs, other)
    parts = list(batches.test_parts(70))
    assert sum(len(part) for part, _ in parts) == 70


def test_targets_may_be_what_default_collate_takes(code: str) -> None:
    data = opened(code, "places")
    _, targets = data.read(data.train, [3, 1])
    assert set(targets) == {"kind", "place"}
    assert not are_class_numbers(targets)
    arrays, named = data.test_arrays()
    assert (arrays.shape, {name: value.shape for name, value in named.items()}) == (
        (90, 1, 8, 8), {"kind": (90,), "place": (90, 2)},
    )  # fmt: skip
    with pytest.raises(ConfigError, match="its targets are no class numbers"):
        type("Bare", (OwnData,), {})("x", TensorDataset(torch.zeros(3, 1), torch.zeros(3)), None).classes()


def test_a_tensor_data_set_is_read_as_its_samples_are(code: str) -> None:
    data = opened(code, "vectors")
    rows = [5, 2, 9]
    fast, slow = data.read(data.train, rows), default_collate([data.train[row] for row in rows])
    assert all(torch.equal(a, b) for a, b in zip(fast, slow, strict=True))
    assert data.classes() == ("0", "1")
    assert opened(code, "masks").read(data.train, rows)[0].dtype == torch.float32, "float64 becomes float32"


def test_a_single_data_set_needs_a_holdout_which_leaves_both_parts_apart(code: str) -> None:
    with pytest.raises(
        ConfigError, match=r"returned one data set: return a pair \(train, test\), or set train.holdout"
    ):
        opened(code, "single")
    data = opened(code, "single", holdout=0.25)
    assert (len(data.train), len(data.test)) == (180, 60)
    assert not set(data.train.indices) & set(data.test.indices)
    assert opened(code, "single", holdout=0.25).test.indices == data.test.indices
    assert data.classes() == ("across", "down", "dot")


def test_a_data_set_of_ours_goes_the_way_of_the_catalogue(code: str) -> None:
    data = opened(code, "images_of_ours", image_size=8)
    assert isinstance(data, Dataset)
    assert (data.name, data.classes) == ("marks", ("across", "down", "dot"))
    assert opened(code, "images_of_ours", holdout=0.1).name == "marks (held out 0.1)"


class Endless(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(10))


class Odd(TorchDataset[Any]):
    def __init__(self, sample: Any) -> None:
        self.sample = sample

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.sample, Exception):
            raise self.sample
        return self.sample


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (torch.zeros(3), r"a sample must be a pair \(input, target\)"),
        ((torch.zeros(3), 1, 2), r"a sample must be a pair"),
        (("name", 1), "its input a tensor"),
        ((torch.zeros(3, dtype=torch.int64), 1), "gives inputs of torch.int64: make them float32 or uint8"),
        ((torch.zeros(3), object()), "failed to give samples: TypeError"),
        (OSError("no file"), "failed to give samples: OSError: no file"),
    ],
)
def test_samples_of_another_form_are_refused(sample: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OwnData("mine:load", Odd(sample), Odd(sample)).read(Odd(sample), [0, 1])


def test_what_a_function_may_not_return_or_take(tmp_path: Path) -> None:
    (tmp_path / "odd_data.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        "def number(): return 3\n"
        "def stream(): return iter([1])\n"
        "def empty(): return [], []\n"
        "def fails(): raise ValueError('nothing here')\n"
        "def needs(where): return where\n"
        "def part(n): return TensorDataset(torch.zeros(n, 2), torch.arange(n))\n"
        "def fine(): return part(4), part(1)\n",
        encoding="utf-8",
    )
    for name, settings, words in (
        ("number", {}, "returned a int: return a torch Dataset with a length"),
        ("stream", {}, "returned a list_iterator"),
        ("empty", {}, "leaves 0 samples to train on and 0 to test on"),
        ("fails", {}, r"failed: ValueError: nothing here \(odd_data.py, line 6\)"),
        ("needs", {}, "needs an argument 'where'"),
        ("fine", {"root": "there"}, "train.root is set, but odd_data:fine takes no argument root"),
        ("fine", {"augment": "crop4_flip"}, "augments its own samples: set train.augment = 'none'"),
        ("fine", {"holdout": 0.9}, "leaves 0 samples to train on and 4 to test on"),
        ("gone", {}, "odd_data has no gone"),
    ):
        with pytest.raises(ConfigError, match=words):
            opened(str(tmp_path), f"odd_data:{name}", **settings)


@pytest.mark.parametrize("share", [0.9999, 0.0001])
def test_a_holdout_that_leaves_one_part_empty_is_refused(share: float) -> None:
    with pytest.raises(
        ConfigError, match=r"train.holdout = \S+ leaves \d+ images of digits to train on and holds out \d+"
    ):
        holdout(load("digits"), share)


@pytest.mark.parametrize(
    ("count", "size", "processes", "steps"), [(5, 4, 1, 1), (6, 4, 1, 2), (11, 4, 2, 2), (12, 4, 2, 3)]
)
def test_no_process_is_left_with_one_sample(count: int, size: int, processes: int, steps: int) -> None:
    part = TensorDataset(torch.zeros(count, 2), torch.zeros(count))
    data = OwnData("mine:load", part, part)
    assert OwnBatches(data, size=size, seed=0, device=CPU, processes=processes).steps == steps


def test_too_few_samples_for_a_batch_are_refused() -> None:
    part = TensorDataset(torch.zeros(3, 2), torch.zeros(3))
    with pytest.raises(ConfigError, match="3 training samples in batches of 64 are too few for 2 processes"):
        OwnBatches(OwnData("mine:load", part, part), size=64, seed=0, device=CPU, processes=2)


def test_class_numbers() -> None:
    assert are_class_numbers(torch.arange(3))
    assert are_class_numbers(np.arange(3))
    for other in (torch.zeros(3), torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3, dtype=torch.bool), {"a": 1}):
        assert not are_class_numbers(other)
