"""How every command speaks: its answer for people or as JSON, signs of life while it works, output that nobody reads.

Answers go to stdout. Notes, progress and errors go to stderr, so that ``--json`` leaves nothing but JSON on stdout.
"""

import codecs
import contextlib
import io
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import LatentbitError, StorageError
from .files import MENDS

__all__ = [
    "Answer",
    "Step",
    "drop_output",
    "json_text",
    "no_progress",
    "output_errors",
    "plain_output",
    "verdict",
    "working",
]

Step = Callable[[int, int, str], None]
"""``step(done, total, message)``: how far a command is; ``total`` is 0 where that is not known."""


def no_progress(done: int, total: int, message: str) -> None:
    """Tell nobody: the :data:`Step` of a library call that nobody watches."""


_PLAIN = {"µ": "u", "×": "x", "±": "+-", "−": "-", "–": "-", "—": "-", "…": "...", "’": "'", "·": "."}
"""What stands for a character where the terminal does not know it; all others are a question mark."""

_FIRST, _AGAIN = 2.0, 0.5
"""Seconds until a command says on a terminal that it is at work, and between two updates of that line."""
_FIRST_LINE, _AGAIN_LINE = 60.0, 60.0
"""The same where stderr is a file or a pipe: there every update is a line of a log."""


@dataclass(frozen=True)
class Answer:
    """What a command found: ``figures`` are values of JSON, ``show`` prints the same for people.

    An iterator of ``figures`` is one line of JSON each, printed as they come. ``failure`` is raised after the answer: a
    check out of tolerance has figures too.
    """

    figures: Any
    show: Callable[[], None]
    failure: LatentbitError | None = None

    def give(self, as_json: bool) -> None:
        """Print the answer to stdout, then raise the failure if there is one."""
        if not as_json:
            self.show()
        elif isinstance(self.figures, Iterator):
            for each in self.figures:
                print(json_text(each, indent=None), flush=True)
        else:
            print(json_text(self.figures))
        if self.failure is not None:
            raise self.failure


def json_text(value: Any, indent: int | None = 2) -> str:
    """Return a value as JSON in ASCII, which every terminal can show; a number that is not finite is null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def working(what: str) -> Iterator[Step]:
    """Say on stderr that a command is at work, and for how long already, once the block has taken two seconds.

    On a terminal it is one line, which is gone when the block ends; elsewhere it is a line a minute. The block may
    tell how far it is through the :data:`Step` that it is given.
    """
    told, ended, started = "", threading.Event(), time.monotonic()
    # A bar of rich takes the place of stderr, and lets whole lines through, above it.
    alive = sys.stderr.isatty() and sys.stderr is sys.__stderr__

    def step(done: int, total: int, message: str) -> None:
        nonlocal told
        told = " ".join(filter(None, [f"{done}/{total}" if total else "", message]))

    def tell() -> None:
        wait, shown = _FIRST if alive else _FIRST_LINE, 0
        while not ended.wait(wait):
            line = f"{what}: {told or 'at work'}, {time.monotonic() - started:.0f} s"
            with contextlib.suppress(OSError, ValueError):  # the progress of a command is no reason for it to fail
                sys.stderr.write(f"\r{line:<{shown}}" if alive else f"{line}\n")
                sys.stderr.flush()
            wait, shown = _AGAIN if alive else _AGAIN_LINE, len(line)
        if alive and shown:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"\r{'':<{shown}}\r")
                sys.stderr.flush()

    teller = threading.Thread(target=tell, name="latentbit-progress", daemon=True)
    teller.start()
    try:
        yield step
    finally:
        ended.set()
        teller.join()


def verdict(text: str, passed: bool) -> str:
    """Return a line in green or red where stdout is a terminal that wants colour, and as it is elsewhere."""
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if plain else f"\x1b[1;3{2 if passed else 1}m{text}\x1b[0m"


def plain_output() -> None:
    """Let stdout and stderr write a similar character where their encoding lacks one, as ASCII terminals do."""
    codecs.register_error("latentbit", _similar)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="latentbit")


def _similar(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in missing), error.end


@contextlib.contextmanager
def output_errors() -> Iterator[None]:
    """Write out what a command has printed; :class:`StorageError` where that cannot be, as on a full disk behind ``>``.

    An OSError of a write to a file of its own carries a name, or is a StorageError already; these pass.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it, ``head`` for one, has enough
        raise
    except OSError as error:
        if error.filename is not None or error.errno not in MENDS:
            raise
        drop_output()
        raise StorageError(f"cannot write the output: {MENDS[error.errno]}") from None


def drop_output() -> None:
    """Let what is still to be printed go nowhere: or the exit of Python would flush it, and complain once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
