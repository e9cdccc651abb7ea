"""Functions named ``package.module:function``: found where they should be, known by their source, refused in a line."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from latentbit.runtime.errors import ConfigError
from latentbit.runtime.imported import arguments_for, explain, import_function, is_named, source_digests


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Leave modules and paths as they were."""
    path, known = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(known):
        del sys.modules[name]
    sys.modules.update(known)


def write(folder: Path, **files: str) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("net:build", True),
        ("a.b.net:Net.build", True),
        ("net", False),
        ("net:", False),
        (":build", False),
        ("net:build()", False),
        ("C:\\net", False),
        ("a b:c", False),
    ],
)
def test_the_form_of_a_name(name: str, named: bool) -> None:
    assert is_named(name) is named


def test_a_folder_comes_before_the_installed_packages(tmp_path: Path) -> None:
    folder = write(tmp_path, tree_probe="def build(): return 'mine'", colorsys="def rgb(): return 'mine'")
    assert import_function("o", "tree_probe:build", folder)() == "mine"
    assert import_function("o", "colorsys:rgb", folder)() == "mine"
    assert import_function("o", "json:dumps", folder)([1]) == "[1]"
    assert import_function("o", "collections:OrderedDict.fromkeys", folder)("a") == {"a": None}


def test_two_folders_with_a_module_of_one_name(tmp_path: Path) -> None:
    """What was imported from one folder is never taken for that of another."""
    first = write(
        tmp_path / "a", twin_probe="from twin_help import VALUE\ndef build(): return VALUE", twin_help="VALUE = 1"
    )
    second = write(
        tmp_path / "b", twin_probe="from twin_help import VALUE\ndef build(): return VALUE", twin_help="VALUE = 2"
    )
    one = import_function("o", "twin_probe:build", first)
    assert [one(), import_function("o", "twin_probe:build", second)(), one()] == [1, 2, 1]
    assert import_function("o", "twin_probe:build", first)() == 1


def test_a_changed_source_is_imported_anew(tmp_path: Path) -> None:
    folder = write(
        tmp_path, fresh_probe="import fresh_help\ndef build(): return fresh_help.VALUE", fresh_help="VALUE = 1"
    )
    assert import_function("o", "fresh_probe:build", folder)() == 1
    write(tmp_path, fresh_help="VALUE = 'another'")
    assert import_function("o", "fresh_probe:build", folder)() == "another"


def test_digests_follow_imports_within_the_folder_and_run_nothing(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        dig_probe="import json, dig_a\nfrom dig_pack import inner\nraise SystemExit",
        dig_a="def late():\n    import dig_b",
        dig_b="",
        dig_other="",
    )
    (tmp_path / "dig_pack").mkdir()
    write(tmp_path / "dig_pack", __init__="", inner="from . import deep", deep="")
    before = source_digests("o", "dig_probe:build", folder)
    assert sorted(before) == ["dig_a", "dig_b", "dig_pack", "dig_pack.deep", "dig_pack.inner", "dig_probe"]
    (tmp_path / "dig_pack" / "deep.py").write_text("x = 1", encoding="utf-8")
    after = source_digests("o", "dig_probe:build", folder)
    assert {name for name in after if after[name] != before[name]} == {"dig_pack.deep"}
    assert "dig_probe" not in sys.modules


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net", "write package.module:function"),
        ("gone_probe:build", "there is no module gone_probe in"),
        ("json:dumsp", "json has no dumsp; did you mean dump?"),
        ("json:__doc__", "is a str: name a function"),
        ("bad_probe:build", "importing bad_probe failed: ZeroDivisionError: division by zero (bad_probe.py, line 2)"),
        ("torn_probe:build", "importing torn_probe failed: SyntaxError"),
    ],
)
def test_refusals_are_one_line_that_names_the_option(name: str, words: str, tmp_path: Path) -> None:
    folder = write(tmp_path, bad_probe="\n1 / 0", torn_probe="def (")
    with pytest.raises(ConfigError) as refused:
        import_function("train.model", name, folder)
    assert words in str(refused.value)
    assert str(refused.value).startswith(f"train.model = '{name}'")
    assert "\n" not in str(refused.value)


def test_arguments_are_those_that_the_signature_takes() -> None:
    offered = {"a": 1, "b": 2}

    def takes_one(b: int, other: int = 3) -> None: ...
    def takes_all(**known: int) -> None: ...
    def takes_none() -> None: ...
    def needs_another(a: int, c: int) -> None: ...
    def by_place(a: int, /) -> None: ...

    assert arguments_for("o", "n", takes_one, offered) == {"b": 2}
    assert arguments_for("o", "n", takes_all, offered) == offered
    assert arguments_for("o", "n", takes_none, offered) == {}
    for function in (needs_another, by_place):
        with pytest.raises(
            ConfigError, match=r"needs an argument '[ac]', which it is not called with: .* \(it may take"
        ):
            arguments_for("o", "n", function, offered)


def test_an_error_is_told_with_the_line_of_the_users_file(tmp_path: Path) -> None:
    folder = write(tmp_path, err_probe="import json\ndef build():\n    json.loads('{')\n")
    with pytest.raises(ValueError, match="Expecting") as raised:
        import_function("o", "err_probe:build", folder)()
    assert explain(raised.value).startswith("JSONDecodeError: Expecting property name")
    assert explain(raised.value).endswith(" (err_probe.py, line 3)")
    assert explain(KeyError()) == "KeyError"
