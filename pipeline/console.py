"""The terminal on which commands print."""

from rich.console import Console

__all__ = ["open_console"]

_LOG_WIDTH = 160


def open_console() -> Console:
    """Return stdout as a console; where nobody watches, wide enough for a digest or a reason in a table."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _LOG_WIDTH)
    return console
