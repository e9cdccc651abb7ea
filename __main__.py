"""The console commands ``pipeline`` and ``latentbit``: hand over to :mod:`latentbit.pipeline.cli`."""

import importlib.util
import sys


def main() -> None:
    """Run the command line; without the extra ``train`` say in one line how to get it."""
    missing = [name for name in ("click", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(
            f"error: the pipeline needs {' and '.join(missing)}: pip install 'latentbit[train]'"
            " (on a device use: python -m latentbit.runtime)"
        )
    from .pipeline.cli import main as cli

    cli()


if __name__ == "__main__":
    main()
