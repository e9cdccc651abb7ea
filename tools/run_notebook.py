"""Run a notebook from the first cell to the last, in the current folder, and save it with what it printed and drew.

    python tools/run_notebook.py examples/first_run.ipynb [-o COPY]

It wants nbclient and ipykernel (the group ``docs`` of pyproject.toml). Times of cells are not saved: two runs that
print the same give the same file.
"""

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main() -> None:
    """Run one notebook; a cell that raises ends the program with its traceback."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="where to save it (default: in its place)")
    arguments = parser.parse_args()
    notebook = nbformat.read(arguments.notebook, as_version=4)
    NotebookClient(notebook, timeout=600, record_timing=False).execute()
    nbformat.write(notebook, arguments.output or arguments.notebook)


if __name__ == "__main__":
    main()
