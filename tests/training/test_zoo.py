"""The zoo on whole real test sets: every model is as accurate as its card says."""

import json
import os

import numpy as np
import pytest

from latentbit.runtime import InferenceSession, zoo
from latentbit.runtime.metrics import figures
from latentbit.training.data.catalogue import load, open_data
from latentbit.training.data.dataset import Dataset
from latentbit.training.data.fetch import data_root
from latentbit.training.settings import Settings

BATCH = 500


CLASSIFIERS = [name for name in zoo.names() if not zoo.card(name).metrics]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_model_is_as_accurate_as_its_card_says(name: str) -> None:
    card = zoo.card(name)
    if card.data != "digits" and not os.environ.get("LATENTBIT_DATA"):
        pytest.skip(f"needs {card.data} in LATENTBIT_DATA")
    dataset = load(card.data, None)
    assert (dataset.sha256, len(dataset.test_labels)) == (card.data_sha256, card.test_images)
    session = InferenceSession(zoo.path(name))
    (entry,) = session.get_inputs()
    right = 0
    for start in range(0, card.test_images, BATCH):
        part = slice(start, start + BATCH)
        (logits,) = session.run(None, {entry.name: dataset.normalise(dataset.test_images[part])})
        right += int((logits.argmax(axis=1) == dataset.test_labels[part]).sum())
    stated = card.accuracy["deployed" if card.reference_images == card.test_images else "folded"]
    assert stated is not None
    # The float stems sum in an order of their own on every CPU, so a sign may turn: a few images in ten thousand.
    assert abs(right - stated * card.test_images) <= max(1, card.test_images // 1000)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", sorted(set(zoo.names()) - set(CLASSIFIERS)))
def test_a_model_of_another_task_is_as_good_as_its_card_says(name: str) -> None:
    if not os.environ.get("LATENTBIT_DATA") or not (data_root(None) / "sr").is_dir():
        pytest.skip("needs sr in LATENTBIT_DATA")
    card, session = zoo.card(name), InferenceSession(zoo.path(name))
    recipe = json.loads(session.get_modelmeta().custom_metadata_map["latentbit.recipe"])
    settings = Settings(data=card.data, metric=recipe["metric"], augment="none")
    data = open_data(settings)
    assert not isinstance(data, Dataset)
    inputs, targets = data.test_arrays()
    assert (data.sha256, len(inputs)) == (card.data_sha256, card.test_images)
    (entry,) = session.get_inputs()
    answers = np.concatenate([session.run(None, {entry.name: image[None]})[0] for image in inputs])
    found = figures(settings.metric, settings.import_function("metric"), {"image": answers}, targets)
    assert found == pytest.approx(card.metrics["folded"], rel=1e-4)
