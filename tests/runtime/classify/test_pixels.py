"""One picture in every kind of file is the same picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentbit.runtime import InferenceSession, zoo
from latentbit.runtime.classify import classify, read_preprocessing
from latentbit.runtime.classify.labels import read_image
from latentbit.runtime.errors import DataError

Image = pytest.importorskip("PIL.Image", reason="needs the extra images")
PICTURE = np.random.default_rng(0).integers(0, 256, (24, 16), np.uint8)
ORIENTATION = 0x0112


def save(folder: Path, name: str, pixels: Any, turned: bool = False) -> Path:
    turned = turned and not name.endswith("pgm")  # which has no tags
    image = Image.fromarray(np.rot90(pixels).copy() if turned else pixels)
    if turned:
        tag = image.getexif()
        tag[ORIENTATION] = 6  # a quarter to the right: the viewer shows the picture
        image.save(folder / name, exif=tag)
    else:
        image.save(folder / name)
    return folder / name


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("plain.png", PICTURE),
        ("sixteen.png", PICTURE.astype(np.uint16) * 257),
        ("sixteen.pgm", PICTURE.astype(np.uint16) * 257),
        ("float.tif", np.minimum(PICTURE.astype(np.float32) + np.float32(0.25), 255)),
    ],
)
def test_every_kind_of_file_holds_the_picture(name: str, pixels: Any, turned: bool, tmp_path: Path) -> None:
    path = save(tmp_path, name, pixels, turned)
    assert np.array_equal(np.asarray(read_image(path).convert("L")), PICTURE)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (PICTURE.astype(np.int32), "integers of 32 bits"),
        (PICTURE.astype(np.float32) / 255, "float values from 0 to 1, not from 0 to 255"),
        (PICTURE.astype(np.float32) - 1, "float values from -1"),
    ],
)
def test_a_range_that_nobody_knows_is_refused(pixels: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_image(save(tmp_path, "odd.tif", pixels))


def test_classify_answers_the_same(tmp_path: Path) -> None:
    session = InferenceSession(zoo.path("digits"))
    wanted = read_preprocessing(session)
    picture = np.random.default_rng(1).integers(0, 256, (wanted.height, wanted.width), np.uint8)
    paths = [
        save(tmp_path, "plain.png", picture),
        save(tmp_path, "sixteen.png", picture.astype(np.uint16) * 257),
        save(tmp_path, "turned.png", picture, turned=True),
    ]
    answers = [answer.top for answer in classify(session, paths)]
    assert answers[0] == answers[1] == answers[2]
