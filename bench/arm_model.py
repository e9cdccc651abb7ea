"""What our kernels would take on ARM cores, by LLVM's models of them: predicted, not measured.

    python -m bench.arm_model --mca LLVM/bin/llvm-mca [--out bench/results]

The loops are those that LLVM makes of our kernels for each core, read from their assembly; beside them stand the loops
that a float and an int8 engine could run at best (arm_peers.py). llvm-mca tells how many cycles a turn takes when all
data lie in L1, and how many its ports alone would take in any order. A second table does the same for the kernels that
do not count: the exact stem, packing, the epilogue and others (arm_others.py).
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from latentbit.runtime.kernels.build import write_ir
from latentbit.runtime.machine.environment import environment
from latentbit.runtime.machine.objects import link

from .arm_others import ROWS, Row, loop_of
from .arm_peers import PEERS, Loop
from .harness.report import RESULTS, command_line

CORES = {
    "cortex-a53": ("Cortex-A53 (Pi 3)", "int8, smlal"),
    "cortex-a55": ("Cortex-A55", "int8, sdot"),
    "cortex-a72": ("Cortex-A72 (Pi 4)", "int8, smlal"),
    "neoverse-n1": ("Neoverse N1; its sister is the A76 (Pi 5)", "int8, sdot"),
}
"""LLVM's name -> the name in the table, and the best that the core has for int8."""

OURS = {"ctp": ("cnt", 16), "tbl": ("tbl", 24)}
"""Module -> the instruction that counts, 128 products each, and how many of them the main loop has in a turn."""

DOTS = {cpu for cpu, (_, int8) in CORES.items() if "sdot" in int8}
"""The cores with dot products."""

TRIPLE = "aarch64-unknown-linux-gnu"
_LABEL = re.compile(r"^(\.?\w+):")
_BACK = re.compile(r"^\s+(?:b\.\w+|cbn?z\s+\w+,)\s+(\.?\w+)\s*$")


def assembly(path: Path, cpu: str) -> str:
    """Return the assembly that LLVM makes of a kernel's IR for a core, as a library for that core would hold it."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(cpu=cpu, opt=3, reloc="pic", codemodel="default")
    text: str = machine.emit_assembly(link({path.suffixes[0][1:]: path.read_text()}, machine, 3, {}))
    return text


def counting_loop(text: str, counts: str, number: int) -> Loop:
    """Return the innermost loop of assembly that has ``number`` counting instructions; loops for tails have others."""
    label, block = "", list[str]()
    for line in text.splitlines():
        if match := _LABEL.match(line):
            label, block = match[1], []
        elif re.match(r"\t[a-z]", line):
            block.append(line.strip())
            ends = (match := _BACK.match(line)) is not None and match[1] == label
            if ends and sum(one.startswith(f"{counts}\t") for one in block) == number:
                return Loop((*block[:-1], re.sub(r"\.?\w+$", "L", block[-1])), 128 * number)
    sys.exit(f"no loop has {number} {counts}: the kernel is another one now")


def cycles(mca: str, loop: Loop, cpu: str) -> tuple[float, float]:
    """Return cycles for 1024 products: in the order of the loop, and by its ports alone."""
    turns = 200
    command = [mca, "-mtriple=aarch64", f"-mcpu={cpu}", f"-mattr={loop.needs}", f"-iterations={turns}"]
    done = subprocess.run(command, input="L:\n" + "\n".join(loop.lines), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"llvm-mca failed for {cpu}: {(done.stderr.strip() or 'no message').splitlines()[0]}")
    total, ports = (
        float(re.search(rf"{name}:\s+([\d.]+)", done.stdout)[1])  # type: ignore[index]
        for name in ("Total Cycles", "Block RThroughput")
    )
    return total / turns * 1024 / loop.products, ports * 1024 / loop.products


def model(mca: str) -> dict[str, dict[str, Any]]:
    """Return by core and loop: cycles for 1024 products, those of the ports, instructions and those on the stack."""
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        write_ir(Path(scratch), list(OURS))
        for cpu, (_, int8) in CORES.items():
            loops = {
                name: counting_loop(assembly(Path(scratch, f"{name}.conv_{name}.ll"), cpu), *OURS[name])
                for name in OURS
            }
            loops |= {"fp32": PEERS["fp32"], int8: PEERS[int8]}
            figures[cpu] = {}
            for name, loop in loops.items():
                ordered, ports = cycles(mca, loop, cpu)
                figures[cpu][name] = {
                    "cycles": ordered,
                    "ports": ports,
                    "instructions": len(loop.lines),
                    "stack": sum("[sp" in line for line in loop.lines),
                    "products": loop.products,
                }
    return figures


def table(figures: dict[str, dict[str, Any]], version: str) -> str:
    """Return the Markdown table."""
    heads = ["Predicted, not measured: cycles for 1024 products", *OURS, "fp32", "int8"]
    heads += ["best of ours to fp32", "best of ours to int8"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for cpu, (name, int8) in CORES.items():
        rows = figures[cpu]
        cells = [f"{rows[loop]['cycles']:.1f} ({rows[loop]['ports']:.1f})" for loop in (*OURS, "fp32", int8)]
        cells[-1] += f" by {int8.split()[-1]}"
        ours = min(rows[loop]["cycles"] for loop in OURS)
        cells += [f"{rows[peer]['ports'] / ours:.1f}×" for peer in ("fp32", int8)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    end = f"In brackets the ports alone. Ratios: the peer's ports alone to our loop as it stands. {version}; "
    return "\n".join([*lines, "", f"{end}{datetime.date.today().isoformat()}; `{command_line()}`", ""])


def model_others(mca: str) -> dict[str, dict[str, Any]]:
    """Return by row and core: cycles for what it counts, those of the ports, instructions and those on the stack."""
    figures: dict[str, dict[str, Any]] = {row.name: {} for row in ROWS}
    with tempfile.TemporaryDirectory() as scratch:
        write_ir(Path(scratch), sorted({row.file.split(".")[0] for row in ROWS}))
        for cpu in CORES:
            texts = dict[str, str]()
            for row in ROWS:
                if row.needs and cpu not in DOTS:
                    continue
                if row.file not in texts:
                    texts[row.file] = assembly(Path(scratch, f"{row.file}.ll"), cpu)
                figures[row.name][cpu] = _figures(mca, row, loop_of(row, texts[row.file]), cpu)
    return figures


def _figures(mca: str, row: Row, loop: Loop | None, cpu: str) -> dict[str, Any] | None:
    if loop is None:
        return None  # LLVM unrolls or splits it otherwise for this core
    scale = row.unit[0] / 1024
    ordered, ports = cycles(mca, loop, cpu)
    stack = sum("[sp" in line for line in loop.lines)
    return {"cycles": ordered * scale, "ports": ports * scale, "instructions": len(loop.lines), "stack": stack}


def table_of_others(figures: dict[str, dict[str, Any]], version: str) -> str:
    """Return the Markdown table of the kernels that do not count."""
    heads = ["Predicted, not measured: cycles", "for", *(name for name, _ in CORES.values()), "a turn on the last"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in ROWS:
        found = [figures[row.name].get(cpu) for cpu in CORES]
        cells = ["–" if one is None else f"{one['cycles']:.1f} ({one['ports']:.1f})" for one in found]
        last = found[-1]
        cells.append("–" if last is None else f"{last['instructions']} instructions, {last['stack']} on the stack")
        lines.append(f"| {row.name} | {row.unit[0]} {row.unit[1]} | " + " | ".join(cells) + " |")
    end = f"In brackets the ports alone; – where a core has no such loop. {version}; "
    return "\n".join([*lines, "", f"{end}{datetime.date.today().isoformat()}; `{command_line()}`", ""])


def main() -> None:
    """Ask llvm-mca, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mca", default="llvm-mca", help="the program llvm-mca, of LLVM 19 or later")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for arm_model and arm_others, .json and .md")
    options = parser.parse_args()
    told = subprocess.run([options.mca, "--version"], capture_output=True, text=True, check=True).stdout
    version = "llvm-mca " + (re.search(r"version (\S+)", told) or ["", "?"])[1]
    options.out.mkdir(parents=True, exist_ok=True)
    for name, ask, show in (("arm_model", model, table), ("arm_others", model_others, table_of_others)):
        figures = ask(options.mca)
        text = show(figures, version)
        print(text)
        whole = {"date": datetime.date.today().isoformat(), "command": command_line(), "environment": environment()}
        whole |= {"model": version, "figures": figures}
        (options.out / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
        (options.out / f"{name}.md").write_text(text)


if __name__ == "__main__":
    main()
