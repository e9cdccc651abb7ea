"""Progress on a terminal: a bar for each stage that moves with its steps; plain lines where nobody watches."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..runtime.terminal import Step

__all__ = ["StageProgress"]

_QUIET_SECONDS = 2.0
"""Plain lines come at most this often: a log of a long training stays readable."""


class StageProgress:
    """Shows the stages of a run on ``console``."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def fresh(self, name: str) -> None:
        """Say that a stage need not run."""
        self._line(name, "fresh")

    @contextmanager
    def stage(self, name: str, reason: str) -> Iterator[Step]:
        """Show a stage while the block runs; the block reports through the :data:`Step` that it is given."""
        started = time.perf_counter()
        if self.console.is_terminal:
            with self._bar(name) as step:
                yield step
        else:
            self._line(name, f"starts ({reason})")
            with self._lines(name) as step:
                yield step
        self._line(name, f"done in {time.perf_counter() - started:.1f} s")

    def _line(self, name: str, text: str) -> None:
        self.console.print(f"{name:<7} {text}", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _bar(self, name: str) -> Iterator[Step]:
        columns = (
            TextColumn("{task.fields[stage]:<7}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task("", total=None, stage=name)

            def step(done: int, total: int, message: str) -> None:
                bars.update(task, completed=done, total=total, description=message)

            yield step

    @contextmanager
    def _lines(self, name: str) -> Iterator[Step]:
        printed, pending, shown = time.perf_counter(), "", ""

        def step(done: int, total: int, message: str) -> None:
            nonlocal printed, pending, shown
            pending = message
            if message != shown and time.perf_counter() - printed >= _QUIET_SECONDS:
                self._line(name, message)
                printed, shown = time.perf_counter(), message

        yield step
        if pending != shown:
            self._line(name, pending)
