"""``report.html``: one page with all figures of a run, complete in itself (no network, no script)."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.files import parse_json, write_bytes
from ..runtime.proof.report import Accuracy, CheckReport
from . import config as configuration
from .charts import bars, curve, image_source
from .page import STYLE
from .paths import HISTORY, MODEL, PAGE, REFERENCE, REPORT, STEPS
from .recording import read_answers
from .rundir import RunDir
from .summary import check_rows

if TYPE_CHECKING:
    from ..runtime.proof.reference import Reference

__all__ = ["write_report"]


def write_report(run: RunDir) -> None:
    """Write the page of a run whose stages up to the check are complete. Raises :class:`StorageError`."""
    import onnx

    from ..runtime.proof.reference import load_reference

    report = CheckReport.from_json(parse_json((run.path / REPORT).read_text(encoding="utf-8")))
    steps = parse_json((run.path / STEPS).read_text(encoding="utf-8"))["steps"]
    history = [parse_json(line) for line in (run.path / HISTORY).read_text(encoding="utf-8").splitlines()]
    model = onnx.load(run.path / MODEL)
    facts = {entry.key.removeprefix("latentbit."): parse_json(entry.value) for entry in model.metadata_props}
    reference = load_reference(run.path / REFERENCE)
    answers = read_answers(run, reference)
    name, dataset = escape(run.path.name), facts["dataset"]
    verdict = "passed" if report.passed else "failed"
    digest = f", data sha256 {dataset['sha256'][:12]}…" if dataset["sha256"] else ""
    body = [
        f'<header><h1>{name}</h1><p class="badge {verdict}">accuracy check {verdict}</p>'
        f"<p>{escape(report.meaning)}</p>"
        f"<p>{escape(run.config.train.model)} on {escape(dataset['name'])}: {dataset['train']:,} training and"
        f" {dataset['test']:,} test images{digest}</p></header>",
        _failures(report),
        _cards(report),
    ]
    if report.accuracy.deployed is not None:
        body.append(_section("Accuracy, from training to the deployed model", _accuracies(report.accuracy)))
    body += [
        _section("All figures", _table(("figure", "value", "of what"), check_rows(report))),
        _section("Training", _training(history)),
        _section("Layers", _layers(steps, report.agreement.flipped_signs)),
    ]
    if reference.labels is not None and reference.class_scores:
        labels, predicted = reference.labels, np.argmax(answers["logits"], axis=1)
        body.append(_section("Accuracy by class, deployed", _classes(labels, predicted, facts["labels"])))
        if (pictures := _pictures(reference.inputs, facts.get("input"))) is not None:
            shown = _images(pictures, labels, predicted, facts["labels"], run.config.report.images)
            body.append(_section("Images", shown))
    body += [_section("Images, before and after", shown) for shown in _restored(run, reference, answers)]
    body.append(_section("Made with", _settings(run, report.environment)))
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>latentbit: {name}</title><style>{STYLE}</style></head>'
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )
    write_bytes(run.path / PAGE, page.encode())


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _failures(report: CheckReport) -> str:
    if report.passed:
        return ""
    return f'<ul class="failures">{"".join(f"<li>{escape(line)}</li>" for line in report.failures)}</ul>'


def _cards(report: CheckReport) -> str:
    size, latency = report.size_bytes, report.latency_ms
    accuracy, difference = report.accuracy.deployed, report.agreement.max_abs_logit_difference_unflipped
    samples = f"{report.samples} reference images"
    cards = (
        (f"{100 * accuracy:.2f} %", "accuracy, deployed", samples)
        if accuracy is not None
        else ("none" if difference is None else f"{difference:.1e}", "largest difference of outputs", samples),
        (f"{report.agreement.oracle_integer_mismatches}", "wrong integers", "runtime against onnx.reference"),
        (f"{size.packed / 1024:.1f} KiB", "model file", f"{size.float / size.packed:.1f}× smaller than float"),
        (
            f"{latency.latentbit.median:.3f} ms",
            "one image, median",
            f"onnxruntime, same file in float: {latency.onnxruntime_fp32.median:.3f} ms",
        ),
    )
    inner = "".join(
        f'<div class="card"><b>{value}</b><span>{title}</span><small>{note}</small></div>'
        for value, title, note in cards
    )
    return f'<div class="cards">{inner}</div>'


def _accuracies(found: Accuracy) -> str:
    rows = (
        ("float latent stream", found.latent_test_accuracy),
        ("trained, binary", found.test_accuracy),
        ("folded", found.folded),
        ("deployed", found.deployed),
    )
    return bars([(title, share, f"{100 * share:.2f} %") for title, share in rows if share is not None])


def _training(history: list[dict[str, Any]]) -> str:
    loss = curve([line["loss"] for line in history], title="loss")
    accuracies = [line["accuracy"] for line in history if "accuracy" in line]
    right = curve(accuracies, title="training images right", percent=True) if accuracies else ""
    return f'<div class="pair">{loss}{right}</div>'


def _layers(steps: list[dict[str, Any]], flipped: Mapping[str, int]) -> str:
    rows = [
        (
            step["name"],
            step["kind"],
            ", ".join(step["ops"]),
            step["kernel"],
            step["reason"],
            str(flipped.get(step["name"], "")),
        )
        for step in steps
    ]
    return _table(("step", "kind", "fused operators", "kernel", "why this kernel", "flipped signs"), rows)


def _classes(labels: NDArray[np.int64], predicted: NDArray[np.int64], names: list[str]) -> str:
    rows = []
    for label, name in enumerate(names):
        members = labels == label
        if members.any():
            right = float(np.mean(predicted[members] == label))
            rows.append((name, right, f"{100 * right:.1f} % of {int(members.sum())}"))
    return bars(rows)


def _images(
    pictures: NDArray[np.float32],
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    names: list[str],
    count: int,
) -> str:
    """Return the wrong answers first, then right ones spread over the sample."""
    wrong = np.flatnonzero(predicted != labels)[: count // 2]
    right = np.flatnonzero(predicted == labels)
    spread = (
        right[np.linspace(0, len(right) - 1, min(count - len(wrong), len(right))).astype(int)] if len(right) else right
    )
    tiles = []
    for index in [*wrong, *spread]:
        answer, truth = names[predicted[index]], names[labels[index]]
        state, text = ("right", answer) if answer == truth else ("wrong", f"{answer}, is {truth}")
        source = image_source(pictures[index])
        tiles.append(
            f'<figure class="{state}"><img src="{source}" alt="{escape(truth)}">'
            f"<figcaption>{escape(text)}</figcaption></figure>"
        )
    errors = int(np.sum(predicted != labels))
    note = f"<p>Answers of the deployed model; {errors} of {len(labels)} are wrong and shown first.</p>"
    return f'{note}<div class="tiles">{"".join(tiles)}</div>'


def _restored(run: RunDir, reference: "Reference", answers: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Yield, of a network from image to image, what it read, what it answered, and the target."""
    from ..runtime.fidelity import psnr

    outputs, targets = list(answers.values()), reference.targets
    if len(outputs) != 1 or not isinstance(targets, np.ndarray) or targets.shape != outputs[0].shape:
        return
    if any(values.ndim != 4 or values.shape[1] not in (1, 3) for values in (reference.inputs, targets)):
        return
    tiles = []
    for index in range(min(len(targets), run.config.report.images // 3)):
        answer = f"answer, PSNR {psnr(outputs[0][index], targets[index], peak=float(targets.max())):.2f} dB"
        for values, text in ((reference.inputs, "input"), (outputs[0], answer), (targets, "target")):
            source = image_source(np.clip(values[index].astype(np.float32) / max(float(targets.max()), 1e-12), 0, 1))
            tiles.append(f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>')
    yield f'<div class="pair">{"".join(tiles)}</div>'


def _pictures(inputs: NDArray[Any], layout: dict[str, Any] | None) -> NDArray[np.float32] | None:
    """Return what the model read as images ``[N,C,H,W]`` of values from 0 to 1; None where it is no image.

    Without a layout, of inputs of the user's own, each is spread from its smallest to its largest value.
    """
    if layout is None:
        if inputs.ndim != 4 or inputs.shape[1] not in (1, 3):
            return None
        values = inputs.astype(np.float32)
        low = values.min(axis=(1, 2, 3), keepdims=True)
        return np.asarray((values - low) / np.maximum(values.max(axis=(1, 2, 3), keepdims=True) - low, 1e-12))
    if layout["layout"] == "NHWC":
        return inputs.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(layout["range"])
    mean, std = (np.asarray(layout[key], np.float32).reshape(-1, 1, 1) for key in ("mean", "std"))
    return np.asarray(inputs * std + mean)


def _settings(run: RunDir, environment: Mapping[str, Any]) -> str:
    settings = [
        (f"{section}.{key}", str(value))
        for section, values in configuration.to_mapping(run.config).items()
        for key, value in values.items()
    ]
    seconds = [(name, f"{record.seconds:.1f} s") for name, record in run.stages.items() if record.finished]
    versions = [(key, _text(value)) for key, value in environment.items()]
    return (
        f"<details open><summary>environment</summary>{_table(('what', 'value'), versions)}</details>"
        f"<details><summary>time of each stage</summary>{_table(('stage', 'time'), seconds)}</details>"
        f"<details><summary>configuration</summary>{_table(('key', 'value'), settings)}</details>"
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(entry)}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
