"""The zoo on whole real test sets: every model is as accurate as its card says."""

import os

import numpy as np
import pytest

from latentbit.runtime import InferenceSession, zoo
from latentbit.training.data.catalogue import load

BATCH = 500


@pytest.mark.parametrize("name", zoo.names())
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
