"""The code blocks of a page, in order, as one shell script that runs them as they are written.

| a block | does |
|---|---|
| ```` ```bash ```` | runs: its lines are typed in the folder of the page |
| ```` ```python title="x.py" ````, ```` ```toml title="x.toml" ```` | is written to that file |
| ```` ```python ```` | runs; blocks without a shell block between them are one program |
| ```` ```text ```` and others | are shown |

A comment above a block excuses it, ``<!-- not run: a board is needed -->``. A comment in a page says that the page is
slow (``<!-- slow: it trains -->``), or that it goes on where another page ended (``<!-- after: first_run.md -->``).
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCS", "Block", "after", "blocks", "is_slow", "perform", "script"]

DOCS = Path(__file__).parents[2] / "docs"

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<excuse>.+?) -->\n)?"
    r"(?P<indent>[ ]*)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^(?P=indent)```$",
    re.S | re.M,
)


@dataclass(frozen=True)
class Block:
    """One block: its language, the file that it is, its lines, and the line of the page where it begins."""

    language: str
    title: str
    code: str
    line: int
    excuse: str

    @property
    def runs(self) -> bool:
        return not self.excuse and (self.language in ("bash", "python") or bool(self.title))


def blocks(text: str) -> list[Block]:
    """Return all blocks of a page, those that are only shown too."""
    found = []
    for match in _BLOCK.finditer(text):
        code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.M)
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(match["language"], match["title"] or "", code, line, match["excuse"] or ""))
    return found


def is_slow(text: str) -> bool:
    return bool(re.search(r"^<!-- slow: .+? -->$", text, re.M))


def after(text: str) -> str:
    """Return the page whose folder this one goes on in, empty for none."""
    found = re.search(r"^<!-- after: (\S+) -->$", text, re.M)
    return found.group(1) if found else ""


def script(text: str, name: str, place: Path) -> str:
    """Return a shell script of the blocks that run; their code is written below ``place``, where it is read from."""
    place.mkdir(parents=True)
    lines, programs = ["set -euo pipefail"], 0
    running = [block for block in blocks(text) if block.runs]
    for number, block in enumerate(running):
        file = place / f"{number}.{block.language}"
        before = running[number - 1] if number else None
        joins = before is not None and _is_program(block) and _is_program(before)
        if joins:
            file = place / f"{programs}.python"
            file.write_text(file.read_text(encoding="utf-8") + "\n" + block.code, encoding="utf-8")
            continue
        file.write_text(block.code, encoding="utf-8")
        lines.append(f"echo '{name}, line {block.line}' >&2")
        if block.title:
            lines.append(f"mkdir -p '{Path(block.title).parent}' && cp '{file}' '{block.title}'")
        elif block.language == "python":
            programs = number
            lines.append(f"python - < '{file}'")
        else:
            lines.append(block.code)
    return "\n".join(lines) + "\n"


def perform(text: str, name: str, folder: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run the blocks of a page in a folder. ``latentbit`` and ``pipeline`` are those of this checkout's package."""
    commands = scratch / "bin"
    commands.mkdir(parents=True)
    for command, words in (("python", ""), ("latentbit", "-m latentbit"), ("pipeline", "-m latentbit")):
        (commands / command).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n', encoding="utf-8")
        (commands / command).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", str(scratch)),
    }
    return subprocess.run(
        ["bash", "-c", script(text, name, scratch / "code")],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _is_program(block: Block) -> bool:
    return block.language == "python" and not block.title
