"""Publish a finished run in the zoo, and write docs/zoo.md from the cards.

    python tools/publish.py runs/digits configs/digits.toml [--name NAME]     # publish: model, card, sample, page
    python tools/publish.py                                                   # the page alone

Publishing copies the model to runtime/zoo/NAME.onnx, writes its card NAME.json beside it, and for the tests a bundle
with a sample of the run's test images, tests/data/zoo/NAME.zip; without a sample where the images have no licence, and
then tests read them from LATENTBIT_DATA. A model of that name is replaced.
"""

import argparse
import datetime
import json
import re
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from latentbit.pipeline import config as configuration
from latentbit.pipeline.bundle import make_bundle
from latentbit.pipeline.cards import OVERVIEW, card_rows, overview_row
from latentbit.pipeline.conductor import plan_stages
from latentbit.pipeline.paths import MODEL, TRAINING
from latentbit.pipeline.rundir import RunDir
from latentbit.pipeline.sections import Config
from latentbit.pipeline.stages import STAGES
from latentbit.pipeline.summary import read_report
from latentbit.runtime import InferenceSession
from latentbit.runtime.errors import ConfigError, LatentbitError, RunDirError
from latentbit.runtime.files import atomic_path, make_folder, sha256_file, write_bytes, write_json
from latentbit.runtime.zoo.catalogue import CARD_VERSION, Card, read_card

ROOT = Path(__file__).resolve().parents[1]
MODELS = "runtime/zoo"
SAMPLES = "tests/data/zoo"
PAGE = "docs/zoo.md"
LARGEST = 4 * 2**20
"""Bytes of the largest model that the package carries."""
IMAGES = 50
"""Test images in the sample of a model."""
TERMS = {
    "cifar10": "no licence published; free for research, cite A. Krizhevsky, 2009",
    "digits": "CC BY 4.0: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI",
    "fashion_mnist": "MIT, copyright 2017 Zalando SE",
    "latentbit.training.data.superres:sr_x2": "no licence published; BSDS500 is free for non-commercial research and"
    " education, cite D. Martin et al., 2001, and P. Arbelaez et al., 2011",
}
"""Terms of the data sets, by name; what is not here stands as not known."""
_NOT_ON_CARDS = ("folded_on_samples", "majority")
"""Shares of a check that a card does without: they are of the reference's samples."""
UNLICENSED = ("cifar10", "cifar100", "latentbit.training.data.superres:sr_x2")
"""Data sets whose images stay out of this repository."""

HEAD = """\
# The zoo

Trained networks that ship with the package: a packed `.onnx` file and a card each, loaded by name. Tests run every one
on a stored sample of real test images, and where the data set is at hand on all of them. This page is written from the
cards by `python tools/publish.py`.

{overview}

Accuracy, or what else the task is measured by, is that of the packed file; the cards below say on how many test images.

```python
import numpy as np
from latentbit.runtime import InferenceSession, zoo

session = InferenceSession(zoo.path("digits"))  # refused if its sha256 is not that of the card
(logits,) = session.run(None, {{session.get_inputs()[0].name: np.zeros((1, 1, 8, 8), np.float32)}})
print(logits.argmax(), zoo.names(), zoo.card("digits").accuracy)
```

Command lines take `zoo:NAME` in the place of a path:

    pipeline zoo                                                  # this table; pipeline zoo NAME shows a card
    pipeline inspect zoo:digits                                   # layer by layer: packed or float, and why
    pipeline convert zoo:digits plain.onnx --inline               # plain ONNX, for tools without functions
    python -m latentbit.runtime classify zoo:digits photo.png     # with the base dependencies and Pillow
    python -m latentbit.runtime bench zoo:digits                  # latency here, beside stock onnxruntime

To publish a run (a finished one, trained without `holdout`), one command in a checkout:

    python tools/publish.py runs/digits configs/digits.toml

## Cards

Latency is that of the run's own accuracy check, one thread; the machine may have had other work.
"""


def publish(run: RunDir, recipe: Path, name: str, root: Path = ROOT) -> Card:
    """Write model, card and sample of a finished run into the checkout ``root``, and return the card.

    Raises :class:`RunDirError` for a run that is not complete, did not pass, or was not measured on test images, and
    :class:`ConfigError` for a name or a recipe that does not fit.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(f"{name!r} is no name for a model: use small letters, digits and _, as in --name digits")
    if recipe.resolve().parent != ROOT / "configs":
        raise ConfigError(f"the recipe {recipe} is not in {ROOT / 'configs'}: give the file that the run was made with")
    card = make_card(run, recipe, name)
    models, sample = make_folder(root / MODELS), root / SAMPLES / f"{name}.zip"
    sample.unlink(missing_ok=True)
    if card.data not in UNLICENSED:
        make_bundle(run, sample, samples=min(IMAGES, card.reference_images))
    with atomic_path(models / f"{name}.onnx") as part:
        shutil.copyfile(run.path / MODEL, part)
    write_json(models / f"{name}.json", {"format_version": CARD_VERSION, **asdict(card)})
    return card


def make_card(run: RunDir, recipe: Path, name: str) -> Card:
    """Return the card of a finished run; see :func:`publish` for what is refused."""
    train = run.config.train
    if train.holdout:
        raise RunDirError(f"{run.path} was measured on held-out training images: train it with train.holdout=0")
    for plan in plan_stages(run, STAGES):
        if plan.reason and plan.stage.name != "report":
            raise RunDirError(f"stage {plan.stage.name} of {run.path} is not complete ({plan.reason}): run it first")
    report = read_report(run)
    if report is None or not report.passed:
        raise RunDirError(f"the accuracy check of {run.path} has not passed: pipeline check {run.path} says why")
    size = report.size_bytes
    if size.packed > LARGEST:
        raise RunDirError(f"{run.path / MODEL} has {size.packed:,} bytes, a model of the zoo at most {LARGEST:,}")
    trained = json.loads((run.path / TRAINING).read_text(encoding="utf-8"))
    data = json.loads(InferenceSession(run.path / MODEL).get_modelmeta().custom_metadata_map["latentbit.dataset"])
    return Card(
        name=name,
        data=data["name"],
        data_sha256=data["sha256"],
        data_terms=TERMS.get(data["name"]),
        network=f"{train.model}, width {train.width}" if train.width else train.model,
        recipe=f"configs/{recipe.name}",
        settings=_settings(configuration.read(recipe), run.config),
        epochs=round(trained["epochs"]),  # with train.minutes, what the time was enough for
        accuracy={key: value for key, value in asdict(report.accuracy).items() if key not in _NOT_ON_CARDS},
        test_images=data["test"],
        reference_images=report.samples,
        size_bytes=asdict(size),
        latency_ms={
            engine: {figure: times[figure] for figure in ("median", "p95")}
            for engine, times in asdict(report.latency_ms).items()
        },
        cpu=report.environment["cpu"],
        sha256=sha256_file(run.path / MODEL),
        versions=json.loads((run.path / "run.json").read_text(encoding="utf-8"))["versions"],
        date=datetime.date.today().isoformat(),
        metrics={key: dict(found) for key, found in report.metrics.items() if key != "folded_on_samples"},
    )


def _settings(recipe: Config, config: Config) -> tuple[str, ...]:
    """Return ``section.key=value`` for what the run changed; where its data lay and its page do not make a model."""
    before, after = configuration.to_mapping(recipe), configuration.to_mapping(config)
    return tuple(
        f"{section}.{key}={value if isinstance(value, str) else json.dumps(value)}"
        for section, values in after.items()
        for key, value in values.items()
        if before[section][key] != value and section != "report" and (section, key) != ("train", "root")
    )


def page(cards: list[Card]) -> str:
    """Return docs/zoo.md for these cards."""
    parts = [HEAD.format(overview=_table(OVERVIEW, [overview_row(card) for card in cards]))]
    parts += [f"### {card.name}\n\n{_table(('', ''), card_rows(card))}\n" for card in cards]
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def read_cards(root: Path = ROOT) -> list[Card]:
    """Return the cards of the checkout, sorted by name."""
    return [read_card(file) for file in sorted((root / MODELS).glob("*.json"))]


def main() -> int:
    """Publish the run that is named, if one is, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, nargs="?", help="finished run directory")
    parser.add_argument("recipe", type=Path, nargs="?", help="file of configs/ that the run was made with")
    parser.add_argument("--name", help="name in the zoo (default: that of the run directory)")
    options = parser.parse_args()
    if options.run is not None and options.recipe is None:
        parser.error("a run needs its recipe: python tools/publish.py RUN configs/NAME.toml")
    try:
        if options.run is not None:
            card = publish(RunDir.open(options.run), options.recipe, options.name or options.run.resolve().name)
            print(f"{MODELS}/{card.name}.onnx, {MODELS}/{card.name}.json")
        write_bytes(ROOT / PAGE, page(read_cards()).encode())
    except LatentbitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
