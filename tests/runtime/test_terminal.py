"""Answers for people and programs, and the line that says that a command is at work."""

import io
import json
import time

import pytest

from latentbit.runtime import terminal
from latentbit.runtime.errors import CheckFailed
from latentbit.runtime.terminal import Answer, json_text, working


class Screen(io.StringIO):
    """A stderr that is a terminal, or a file."""

    def __init__(self, alive: bool) -> None:
        super().__init__()
        self.alive = alive

    def isatty(self) -> bool:
        return self.alive


def wait_for(screen: Screen, words: str) -> None:
    end = time.monotonic() + 30
    while words not in screen.getvalue() and time.monotonic() < end:
        time.sleep(0.005)
    assert words in screen.getvalue()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FIRST", "_AGAIN", "_FIRST_LINE", "_AGAIN_LINE"):
        monkeypatch.setattr(terminal, name, 0.01)


@pytest.mark.usefixtures("quick")
def test_a_terminal_has_one_line_which_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(alive=True)
    for name in ("sys.stderr", "sys.__stderr__"):
        monkeypatch.setattr(name, screen)
    with working("bundle") as step:
        wait_for(screen, "\rbundle: at work, 0 s")
        step(1, 4, "compiles for aarch64")
        wait_for(screen, "\rbundle: 1/4 compiles for aarch64, 0 s")
    told = screen.getvalue()
    assert "\n" not in told
    *_, blanks, rest = told.split("\r")
    assert rest == ""
    assert blanks.strip() == ""
    assert len(blanks) >= len("bundle: 1/4 compiles for aarch64, 0 s")


@pytest.mark.usefixtures("quick")
def test_a_file_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(alive=False)
    monkeypatch.setattr("sys.stderr", screen)
    with working("convert"):
        wait_for(screen, "convert: at work, 0 s\nconvert: at work, 0 s\n")
    assert "\r" not in screen.getvalue()


def test_what_is_quick_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(alive=True)
    for name in ("sys.stderr", "sys.__stderr__"):
        monkeypatch.setattr(name, screen)
    with working("convert") as step:
        step(1, 2, "half")
    assert screen.getvalue() == ""


def test_an_answer_comes_before_its_failure(capsys: pytest.CaptureFixture[str]) -> None:
    def show() -> None:
        raise AssertionError("JSON was asked for")

    with pytest.raises(CheckFailed, match="out of tolerance"):
        Answer({"psnr": float("inf")}, show, CheckFailed("out of tolerance")).give(as_json=True)
    assert json.loads(capsys.readouterr().out) == {"psnr": None}
    Answer(iter([{"image": "a"}, {"image": "b"}]), show).give(as_json=True)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"image": "a"}, {"image": "b"}]


def test_json_is_ascii_and_has_no_word_that_is_none_of_json() -> None:
    text = json_text({"times": [1.0, float("nan")], "unit": "µs", 3: (True, None)})
    assert text.isascii()
    assert json.loads(text) == {"times": [1.0, None], "unit": "µs", "3": [True, None]}
