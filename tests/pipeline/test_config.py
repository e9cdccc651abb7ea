"""Configuration: what is accepted, and what is refused with the nearest right thing."""

import dataclasses
import inspect
from pathlib import Path

import pytest

from latentbit.pipeline import config as configuration
from latentbit.pipeline.sections import Config
from latentbit.runtime.errors import ConfigError
from latentbit.training.settings import Settings


def write(path: Path, text: str) -> Path:
    file = path / "c.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_file_then_overrides(tmp_path: Path) -> None:
    file = write(tmp_path, '[train]\nepochs = 5\nlatent = "none"\n[check]\noracle_samples = 8\n')
    config = configuration.read(file, ["train.epochs=7", "train.learning_rate=1"])
    assert (config.train.epochs, config.train.latent, config.check.oracle_samples) == (7, "none", 8)
    assert isinstance(config.train.learning_rate, float)
    assert config.fold == Config().fold


def test_strings_need_no_quotes_but_may_have_them() -> None:
    for text in ("train.latent=none", "train.latent='none'", 'train.latent="none"'):
        assert configuration.read(None, [text]).train.latent == "none"


def test_stored_form_reads_back() -> None:
    config = configuration.read(None, ["train.seed=4", "check.max_accuracy_drop=0.25"])
    assert configuration.from_mapping(configuration.to_mapping(config), where="run.json") == config


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epoch=3", ["train.epoch", "did you mean 'train.epochs'"]),
        ("trian.epochs=3", ["[trian]", "did you mean 'train'"]),
        ("check.epochs=3", ["check.epochs", "did you mean 'train.epochs'"]),
        ("train.epochs=three", ["train.epochs", "'three'", "a whole number, not a string"]),
        ("train.epochs=2.5", ["train.epochs", "2.5", "a whole number, not a number"]),
        ("train.epochs=true", ["train.epochs", "a whole number, not true or false"]),
        ("train.epochs=[3]", ["train.epochs", "a whole number, not a list"]),
        ("train.epochs=0", ["train.epochs", "at least 1"]),
        ("train.latent=L9", ["train.latent", "L9"]),
        ("train.learning_rate=nan", ["train.learning_rate", "finite"]),
        ("train.learning_rate=inf", ["train.learning_rate", "finite"]),
        ("check.min_top1_agreement=1.5", ["check.min_top1_agreement", "at most 1"]),
        ("run.threads=0", ["run.threads", "at least 1"]),
        ("train.epochs", ["-s train.epochs", "SECTION.KEY=VALUE"]),
        ("epochs=3", ["-s epochs=3", "SECTION.KEY=VALUE"]),
        ("train=3", ["-s train=3", "SECTION.KEY=VALUE"]),
    ],
)
def test_refused_overrides_name_the_key_and_the_mend(override: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        configuration.read(None, [override])
    message = str(refused.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[train]\nepochs = '3'\n", ["c.toml", "train.epochs", "not a string"]),
        ("epochs = 3\n", ["c.toml", "epochs"]),
        ("train = 3\n", ["train", "must be a section"]),
        ("[train\n", ["c.toml", "not valid TOML"]),
        ("[train]\nepochs = 3\nepochs = 4\n", ["c.toml", "not valid TOML"]),
    ],
)
def test_refused_files_name_the_file(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        configuration.read(write(tmp_path, text))
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        configuration.read(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        configuration.read(tmp_path / "b.toml")


def test_difference_lists_changed_keys_only() -> None:
    changed = configuration.read(None, ["train.epochs=3"])
    assert configuration.difference(Config(), changed) == [f"train.epochs: {Config().train.epochs} -> 3"]
    assert configuration.difference(changed, changed) == []


def test_every_field_has_a_type_that_toml_has() -> None:
    for section in dataclasses.fields(Config):
        for field in dataclasses.fields(getattr(Config(), section.name)):
            assert field.type in (bool, int, float, str), f"{section.name}.{field.name}"


def test_train_section_is_the_keywords_of_train() -> None:
    pytest.importorskip("torch")
    from latentbit.training import train

    names = {field.name for field in dataclasses.fields(Settings)}
    assert isinstance(Config().train, Settings)
    assert not names & set(inspect.signature(train).parameters), "out and progress are no settings"


RECIPES = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_a_valid_configuration(recipe: Path) -> None:
    config = configuration.read(recipe)
    assert configuration.difference(Config(), config) or recipe.stem == "digits"


def test_there_are_recipes() -> None:
    assert "digits" in {path.stem for path in RECIPES}
