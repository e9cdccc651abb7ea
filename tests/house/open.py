"""OPEN: what the laws of this folder still excuse, each with its reason.

It is the only such table. An entry that is no longer needed fails its test: delete it. None is meant to stay.
"""

__all__ = ["OPEN", "excused"]

CUT = "issue 11 cuts it in the wing's own branch"
UNREAD = "nobody imports it: take it out of __all__ when the branch that rewrites its file is merged"

# ---------------------------------------------------------------------------------------------------------------------
# OPEN: delete an entry as soon as its test says that it is no longer needed.
# ---------------------------------------------------------------------------------------------------------------------
OPEN: dict[str, str] = {}


def excused(kind: str) -> set[str]:
    """Return what is excused of one kind: "arrow", "circle", "floor" or "name"."""
    return {entry.removeprefix(f"{kind} ") for entry in OPEN if entry.startswith(f"{kind} ")}
