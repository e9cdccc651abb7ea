"""Every error that latentbit expects, under one root.

::

    LatentbitError              exit code 1
    ├── ModelError              a model file is missing, corrupt, of an unknown op or op version
    ├── InputError              an input has the wrong name, rank, dtype or size, or holds NaN      (exit code 2)
    ├── DataError               a data set or a reference file is missing, incomplete or altered
    ├── StorageError            a file cannot be written: full disk, read-only folder
    ├── RunDirError             a run directory is of another version, incomplete or in use
    ├── ConfigError             an unknown key, a wrong type or an impossible value                 (exit code 2)
    ├── UnsupportedError        a network has a layer that cannot be read, folded or exported
    ├── MissingExtraError       a package of an extra is not installed
    └── CheckFailed             a check or the proof of an export ran: out of tolerance

The message is one line: what was wrong, where, and how to mend it. The command line prints it without a traceback and
exits with ``exit_code``; any other exception is a defect of ours and keeps its traceback.
"""

__all__ = [
    "CheckFailed",
    "ConfigError",
    "DataError",
    "InputError",
    "LatentbitError",
    "MissingExtraError",
    "ModelError",
    "RunDirError",
    "StorageError",
    "UnsupportedError",
    "first_line",
]


class LatentbitError(Exception):
    """Root of all expected errors; ``exit_code`` is what the command line exits with."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message in one line: names that it quotes from a damaged file may hold line breaks."""
        return " ".join(super().__str__().splitlines())


class ModelError(LatentbitError):
    """A model file is missing, corrupt, or holds an op, op version or attribute that is not known."""


class InputError(LatentbitError):
    """An input or an output name does not fit the model: name, rank, dtype, size, or NaN values."""

    exit_code = 2


class DataError(LatentbitError):
    """A data set or a reference file is missing, incomplete, or not what its digest says."""


class StorageError(LatentbitError):
    """A file or folder cannot be written."""


class RunDirError(LatentbitError):
    """A run directory is of another version, incomplete, or used by another process."""


class ConfigError(LatentbitError):
    """A configuration has an unknown key, a wrong type or an impossible value."""

    exit_code = 2


class UnsupportedError(LatentbitError):
    """A network has a layer that cannot be read, folded or exported; the message names it by its path."""


class MissingExtraError(LatentbitError):
    """A package that belongs to an extra is not installed; the message names the pip command."""


class CheckFailed(LatentbitError):
    """The accuracy check, or the proof of an export, found that a file does not answer as it should."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text without the stop at its end, or the error's type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".:") if lines else type(error).__name__
