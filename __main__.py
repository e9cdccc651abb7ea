"""The console commands ``latentbit`` and ``pipeline``: the whole command line, or what an installation has of it.

With the extra ``train`` :mod:`latentbit.pipeline.cli` takes over, which knows every verb. Without it the verbs of a
device work (:mod:`latentbit.runtime.__main__`), and the others name the extra.
"""

import importlib.util
import sys


def main() -> None:
    """Run the command line."""
    missing = [name for name in ("click", "rich") if importlib.util.find_spec(name) is None]
    if not missing:
        from .pipeline.cli import main as cli

        return cli()
    from .runtime.__main__ import main as device
    from .runtime.commands.verbs import VERBS

    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    verbs = [verb.name for verb in VERBS]
    if asked is None or asked in verbs:
        sys.exit(device(program="latentbit"))
    sys.exit(
        f"error: {asked} needs {' and '.join(missing)}: pip install 'latentbit[train]'"
        f" (without the extra there are {', '.join(verbs)})"
    )


if __name__ == "__main__":
    main()
