"""Machine code of kernels: ``python disassembly.py MODULE`` prints the assembly of what this machine loads of them.

Imported it finds the inner loops.
"""

import importlib
import re
import sys

__all__ = ["inner_loops"]

_LABEL = re.compile(r"^(\.?\w+):")
_BRANCH = re.compile(r"^\s+(?:b(?:\.\w+)?|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\d+,)\s+(\.?\w+)\s*$")


def inner_loops(assembly: str) -> list[list[str]]:
    """Return the instructions of every innermost loop of AArch64 assembly: label to backward branch, no loop within."""
    lines = assembly.splitlines()
    labels = {match[1]: number for number, line in enumerate(lines) if (match := _LABEL.match(line))}
    loops = []
    for number, line in enumerate(lines):
        match = _BRANCH.match(line)
        if match and labels.get(match[1], number) < number:
            loops.append((labels[match[1]], number))
    inner = [loop for loop in loops if not any(o != loop and loop[0] <= o[0] and o[1] <= loop[1] for o in loops)]
    return [[text.strip() for text in lines[first : last + 1] if text.startswith("\t")] for first, last in inner]


if __name__ == "__main__":
    from latentbit.runtime.machine import jit
    from latentbit.runtime.machine.objects import kernel_ir, link

    machine = jit._machine()
    kernels = kernel_ir(importlib.import_module(f"latentbit.runtime.kernels.{sys.argv[1]}"))
    sys.stdout.write(machine.emit_assembly(link(kernels, machine, 0, {})))
