"""docs/networks.md from what was measured."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PAGE", "page", "write_page"]

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"

_SHORT = (
    (r"the first layer .*", "first layer"),
    (r"the last layer .*", "last layer"),
    (r"an? (\w+): packed kernels count over .*", r"\1"),
    (r"an? (\w+), for which there is no binary layer", r"\1"),
    (r"a parameter that (\w+) multiplies with itself.*", r"parameter of \1"),
    (r"its class (\w+), a subclass of \w+, has a forward of its own", r"\1 (forward of its own)"),
    (r"its weight is computed .*", "computed weight"),
    (r"a layer's weight, multiplied .*", "weight used twice"),
    (r"not called on the example", "layer that is not called"),
)

_COLUMNS = "| network | packed | difference | turned | MB | ms | stayed float |"
_HEAD = """# Networks of other people

Does any network go through? These are tried as they are: a network with random weights, `binarize(network, example)`,
`export_onnx`, `prove`. {summary}

    {command}                 # every network in a process of its own; tox -e networks
    {command} --timing        # the times
    {command} --page          # this page

- **packed**: share of the multiply-adds of all layers that packed layers do. Products of two activations, as in
  attention, have no weights and are not counted.
- **difference**: the largest one of any output to eager torch, over all inputs of
  [the proof](export.md#every-export-proves-itself) and both engines, beside the largest value that the network answers.
- **turned**: signs that only rounding turned, of all signs that packed layers read.
- **MB**: the float file of `torch.onnx.export`, and the packed one.
- **ms**: one sample on one thread. Stock onnxruntime on the float file, then latentbit on the packed one; median
  (best), by turns in one process, in CPU time; × is how many times faster.
- **stayed float**: what `binarize` left (`network.meta["latentbit.kept_float"]`), and binary layers that the file does
  not pack.

Random weights say what a network costs and whether its file is right, not how well it would learn.
"""


def write_page(entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the page."""
    PAGE.write_text(page(entries), encoding="utf-8")


def _speed(times: Sequence[Mapping[str, Sequence[float]]]) -> str:
    """Return a sentence about how many times faster packed networks are, by their medians."""
    if not times:
        return ""
    ratios = [float(np.median(one["onnxruntime float"]) / np.median(one["latentbit"])) for one in times]
    slower = sum(ratio < 1 for ratio in ratios)
    return (
        f"\nAgainst float onnxruntime {slower or 'none'} of {len(ratios)} is slower; the packed networks are"
        f" {min(ratios):.1f} to {max(ratios):.0f} times as fast, half of them more than {np.median(ratios):.1f} times."
    )


def page(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page: a summary, and a table for each family."""
    status = Counter(entry["status"] for entry in entries.values())
    through = status["right"]
    summary = f"{len(entries)} were tried, {through} go through ({100 * through / max(1, len(entries)):.0f}%)"
    summary += f"; {status['wrong'] or 'none'} of them answers wrong."
    summary += _speed([entry["times"] for entry in entries.values() if "times" in entry])
    lines = [_HEAD.format(summary=summary, command="python -m bench.any_network.networks")]
    for family in dict.fromkeys(entry["family"] for entry in entries.values()):
        rows = {name: entry for name, entry in entries.items() if entry["family"] == family}
        lines += [f"## {family[0].upper() + family[1:]}", ""]
        lines += [_COLUMNS, "|---|---|---|---|---|---|---|"]
        for name, entry in rows.items():
            size = "×".join(str(n) for n in entry.get("shape", [1])[1:])
            label = f"{name.removeprefix('timm ')}, {size}"
            if entry["status"] != "right":
                lines.append(f"| {label} | **{entry['status']}**: {_cell(entry['reason'])} | | | | | |")
            else:
                lines.append(f"| {label} | " + " | ".join(_cells(entry)) + " |")
        lines.append("")
    lines.append(_around(entries))
    return "\n".join(lines) + "\n"


def _cells(entry: Mapping[str, Any]) -> list[str]:
    share = f"{100 * entry['packed_macs'] / entry['macs']:.1f}%" if entry["macs"] else "–"
    difference = f"{entry['difference']:.1g} of {entry['largest']:.2g}"
    if entry["judged"] < entry["samples"]:
        difference += f" ({entry['judged']} of {entry['samples']} samples)"
    floats = f"{entry['float_bytes'] / 1e6:.2f}" if entry["float_bytes"] else "–"
    turned = f"{entry['turned']:,} of {entry['signs']:,}"
    return [share, difference, turned, f"{floats} → {entry['bytes'] / 1e6:.2f}", _times(entry), _stayed(entry)]


def _times(entry: Mapping[str, Any]) -> str:
    if "times" not in entry:
        return "–"
    theirs, ours = (np.array(entry["times"][name]) for name in ("onnxruntime float", "latentbit"))
    told = [f"{np.median(one):.3g} ({one.min():.3g})" for one in (theirs, ours)]
    return f"{told[0]} → {told[1]}, **{np.median(theirs) / np.median(ours):.2g}×**"


def _stayed(entry: Mapping[str, Any]) -> str:
    kept = Counter(_short(reason) for reason in entry["kept"].values())
    kept.update(f"unpacked: {reason}" for reason in entry["not_packed"].values())
    return _cell("; ".join(what if count == 1 else f"{count} × {what}" for what, count in kept.items()))


def _short(reason: str) -> str:
    for pattern, text in _SHORT:
        if re.fullmatch(pattern, reason):
            return re.sub(pattern, text, reason)
    return reason


def _cell(text: str) -> str:
    """Return text as a cell of a table; no more of it than one reads."""
    line = text.splitlines()[0].replace("|", "\\|") if text else ""
    return line if len(line) < 200 else line[:197] + "…"


def _around(entries: Mapping[str, Mapping[str, Any]]) -> str:
    versions = {
        f"{key} {entry[key]}" for entry in entries.values() for key in ("torch", "torchvision", "timm") if key in entry
    }
    days = {entry["date"] for entry in entries.values() if "date" in entry}
    told = f"Measured {', '.join(sorted(days))} with {', '.join(sorted(versions))}."
    return f"{told} {_timed(entries)}"


def _timed(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Tell where and when times were taken: the most rows last, without their names."""
    rows: dict[str, list[str]] = {}
    for name, entry in entries.items():
        if "times" in entry:
            rows.setdefault(f"{entry['cpu']}, {entry['timed']}", []).append(name.removeprefix("timm "))
    told = sorted(rows.items(), key=lambda row: len(row[1]))
    few, most = told[:-1], told[-1:]
    return " ".join(
        [
            *(f"Times of {', '.join(names)}: {when}." for when, names in few),
            *(f"Times of all {'others' if few else 'networks'}: {when}." for when, _ in most),
        ]
    )
