"""The recipes in configs/: each reads as a configuration and builds its network; ImageNet's run end to end, small."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from latentbit.training.loop.trainer import train
from latentbit.training.models.catalogue import build_model, model_options
from latentbit.training.settings import Settings

from ..support.trained import accuracy_of

RECIPES = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
REAL = os.environ.get("LATENTBIT_DATA", "")


def settings_of(recipe: Path) -> dict[str, Any]:
    section: dict[str, Any] = tomllib.loads(recipe.read_text(encoding="utf-8"))["train"]
    return section


@pytest.mark.skipif(not RECIPES, reason="configs/ is no part of the installed package")
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_hold_known_settings_and_build(recipe: Path) -> None:
    section = settings_of(recipe)
    settings = Settings.from_keywords(**section)
    options = {name: section[name] for name in ("width", "stem", "pad_value") if name in section}
    assert set(options) <= set(model_options(settings.model))
    with torch.device("meta"):
        assert sum(p.numel() for p in build_model(settings.model, **options).parameters()) > 1000
    assert recipe.name in recipe.read_text(encoding="utf-8")  # its command names it


def test_the_defaults_are_the_digits_recipe() -> None:
    recipe = next((path for path in RECIPES if path.stem == "digits"), None)
    if recipe is None:
        pytest.skip("configs/ is no part of the installed package")
    assert Settings.from_keywords(**settings_of(recipe)) == Settings()


@pytest.mark.slow
def test_the_quick_start_reaches_its_accuracy(tmp_path: Path) -> None:
    assert train(out=tmp_path).metrics["test_accuracy"] >= 0.97


@pytest.mark.slow
@pytest.mark.skipif(
    not (Path(REAL) / "imagenette128").is_dir() or not REAL, reason="LATENTBIT_DATA has no imagenette128"
)
@pytest.mark.parametrize("name", ["imagenet_resnet18_single_stage", "imagenet_resnet34_two_stage"])
def test_imagenet_recipes_run_on_a_small_folder_of_real_images(name: str, tmp_path: Path) -> None:
    section = settings_of(next(path for path in RECIPES if path.stem == name))
    small = {"data": "folder:imagenette128", "image_size": 32, "width": 8, "epochs": 2, "batch_size": 256}
    if section.get("teacher"):
        teacher = train(
            out=tmp_path / "teacher", model="float_resnet34", latent="none", augment="resized_crop", **small
        )
        section["teacher"] = str(teacher.folder)
    metrics = train(out=tmp_path / "run", **section | small | {"device": "cpu", "precision": "float32"}).metrics
    assert metrics["images"] == 788
    assert metrics["test_accuracy"] == pytest.approx(accuracy_of(tmp_path / "run", small["data"], small["image_size"]))
