"""What others copy or read by machine: the citation, the workflow, issue forms, hooks, Dockerfiles.

There is no Docker where tests run: of a Dockerfile it is tested that each instruction is known, that what it installs
is there, and that what it runs is a command.
"""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from .source import CHECKOUT

PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
SCHEMAS = {
    "CITATION.cff": "vendor.citation-file-format",
    "examples/check-model.yml": "vendor.github-workflows",
    ".github/ISSUE_TEMPLATE/bug.yml": "vendor.github-issue-forms",
    ".github/ISSUE_TEMPLATE/wish.yml": "vendor.github-issue-forms",
}
INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "FROM", "RUN", "USER", "WORKDIR"}
DOCKERFILES = sorted((CHECKOUT / "docker").glob("*Dockerfile"))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_file_for_machines_is_what_its_schema_says(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("needs check-jsonschema")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[name]]
    done = subprocess.run([*check, str(CHECKOUT / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / Path(name).name
    broken.write_text("name: 3\njobs: none\nauthors: none\n")
    assert subprocess.run([*check, str(broken)], capture_output=True, check=False).returncode == 1


def test_the_citation_is_of_this_version() -> None:
    text = (CHECKOUT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", text, re.M) == [PYPROJECT["project"]["version"]]
    assert re.findall(r"^license: (.+)$", text, re.M) == [PYPROJECT["project"]["license"]]
    assert "https://arxiv.org/abs/2110.05850" in text


def instructions(file: Path) -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", file.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_dockerfile_installs_what_there_is_and_runs_a_command(file: Path) -> None:
    found = instructions(file)
    assert [name for name, _ in found if name not in INSTRUCTIONS] == []
    assert [name for name, _ in found if name == "FROM"] == [found[0][0]]
    assert dict(found)["FROM"].endswith("python:3.13-slim")
    extras = re.findall(r'pip install --no-cache-dir "/src\[(\w+)\]"', " ".join(rest for _, rest in found))
    assert len(extras) == 1
    assert extras[0] in PYPROJECT["project"]["optional-dependencies"]
    (program,), words = json.loads(dict(found)["ENTRYPOINT"]), json.loads(dict(found)["CMD"])
    assert program in PYPROJECT["project"]["scripts"]
    parse = "import sys; from latentbit.runtime.__main__ import make_parser; make_parser('').parse_args(sys.argv[1:])"
    if extras == ["train"]:
        pytest.importorskip("click")
        parse = (
            "import sys; from latentbit.pipeline.cli import cli; top = cli.make_context('', sys.argv[1:])\n"
            "name, command, rest = cli.resolve_command(top, sys.argv[1:]); command.make_context(name, rest, top)"
        )
    examples = [shlex.split(line.split(" latentbit-board ")[-1].split(" latentbit ")[-1]) for line in runs(file)]
    for line in (words, *examples):
        done = subprocess.run([sys.executable, "-c", parse, *line], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def runs(file: Path) -> list[str]:
    """Return the lines of the comment that run the image."""
    found = re.findall(r"^#   (docker run .+)$", file.read_text(encoding="utf-8"), re.M)
    assert found
    return list(found)


def test_the_hooks_are_what_tox_lints() -> None:
    hooks = re.findall(r"entry: (ruff \w+)", (CHECKOUT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    lint = (CHECKOUT / "tox.ini").read_text(encoding="utf-8").split("[testenv:lint]", 1)[1].split("\n[", 1)[0]
    assert hooks == re.findall(r"^    (ruff \w+)", lint, re.M)
