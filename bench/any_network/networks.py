"""Networks of other people, made binary and exported: what goes through, how much of it is packed, what it costs.

    python -m bench.any_network.networks                 # what has no entry yet; a process and at most 15 minutes each
    python -m bench.any_network.networks --only resnet18 --only lstm
    python -m bench.any_network.networks --timing        # the second pass, on a quiet machine: times of all files
    python -m bench.any_network.networks --page          # docs/networks.md anew from what was measured

Every network has random weights of seed 0, also where it would begin with zeros. Its batch norms get the statistics
of two samples of noise, before ``binarize`` and after it. ``prove`` compares the exported file with eager torch. Files
stay in runs/networks for ``--timing``.
"""

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..harness.report import RESULTS
from .catalogue import NETWORKS
from .page import write_page

STORED = RESULTS / "networks.json"
COMMAND = "python -m bench.any_network.networks"


def stored() -> dict[str, Any]:
    """Return what was measured before, by network, in the order of the page."""
    entries = json.loads(STORED.read_text(encoding="utf-8"))["networks"] if STORED.is_file() else {}
    return {name: entries[name] for name in NETWORKS if name in entries}


def store(name: str, entry: dict[str, Any]) -> None:
    """Put one network's entry to the others."""
    entries = {**stored(), name: entry}
    whole = {"command": COMMAND, "networks": {name: entries[name] for name in NETWORKS if name in entries}}
    STORED.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def in_a_process(name: str, folder: Path, what: str, limit: float) -> dict[str, Any]:
    """Return what a process of its own finds, or how it ended."""
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.any_network.networks", "--inside", what, "--only", name]
    try:
        done = subprocess.run([*command, "--folder", str(folder)], timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"status": "crash", "reason": f"took longer than {limit:.0f} s"}
    if not answer.is_file():
        return {"status": "crash", "reason": f"the process ended with {done.returncode}"}
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def inside(name: str, folder: Path, what: str) -> None:
    """Do the work of the process."""
    import logging

    import torch

    from latentbit.runtime.machine.environment import environment

    from .measuring import go_through, take_times

    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    if what == "times":
        around = environment()
        found = {
            "times": take_times(name, folder),
            "cpu": around["cpu"],
            "features": around["features"],
            "timed": datetime.date.today().isoformat(),
        }
    else:
        found = go_through(name, folder)
        found |= {"date": datetime.date.today().isoformat(), "torch": torch.__version__.split("+")[0]}
        for package in ("torchvision", "timm"):
            if package in sys.modules:
                found[package] = sys.modules[package].__version__
    (folder / "answer.json").write_text(json.dumps(found), encoding="utf-8")


def main() -> None:
    """Measure what is asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="a network by name; all without it")
    parser.add_argument("--again", action="store_true", help="also what has an entry")
    parser.add_argument("--timing", action="store_true", help="take times of the files that are there")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for a network")
    parser.add_argument("--folder", type=Path, default=Path("runs/networks"))
    parser.add_argument("--inside", choices=("networks", "times"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.only or list(NETWORKS)
    if unknown := set(names) - set(NETWORKS):
        parser.error(f"no such network: {', '.join(sorted(unknown))}; there are {', '.join(NETWORKS)}")
    if options.inside:
        inside(names[0], options.folder, options.inside)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in [] if options.page else names:
        known = stored().get(name, {})
        if options.timing:
            if known.get("status") == "right" and known.get("float_bytes"):
                found = in_a_process(name, options.folder, "times", options.limit)
                store(name, known | found if "times" in found else known | {"untimed": found["reason"]})
        elif options.again or options.only or not known:
            found = in_a_process(name, options.folder, "networks", options.limit)
            store(name, {"family": NETWORKS[name].family, **found})
        print(f"{name}: {json.dumps(stored().get(name, {}))[:300]}", flush=True)
    write_page(stored())


if __name__ == "__main__":
    main()
