"""The terminal on which commands print."""

from rich.console import Console

__all__ = ["open_console"]

_LOG_WIDTH = 160


class _Console(Console):
    """A console that tells its caller when nobody reads any more; rich's own ends the process with 1."""

    def on_broken_pipe(self) -> None:
        raise  # rich calls this where it has caught the error


def open_console() -> Console:
    """Return stdout as a console; where nobody watches, wide enough for a digest or a reason in a table."""
    console = _Console()
    if not console.is_terminal:
        console.width = max(console.width, _LOG_WIDTH)
    return console
