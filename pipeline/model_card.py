"""``latentbit card``: a model as a folder that can be pushed to Hugging Face, its card with metadata among it.

Front matter and card are made by huggingface_hub (extra ``card``): the hub's own code knows which metadata it reads.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ..runtime.errors import MissingExtraError, ModelError, StorageError
from ..runtime.files import atomic_path, make_folder, parse_json, sha256_file, write_bytes
from ..runtime.metrics import current_names
from ..runtime.proof.report import CheckReport
from ..runtime.zoo.catalogue import FOLDER, card
from .paths import MODEL, REFERENCE, REPORT
from .rundir import RunDir
from .summary import check_rows, read_report

__all__ = ["ModelFolder", "write_model_folder"]

_TEMPLATE = """\
---
{{ card_data }}
---

# {{ name }}

A binary neural network: one bit for each weight and activation of its {{ layers }} binary layers. It was packed by
latentbit {{ version }}{% if network %}; the network is `{{ network }}`{% endif %}\
{% if data != 'unknown' %}, trained on {{ data }}{% endif %}\
{% if train %} ({{ "{:,}".format(train) }} training samples){% endif %}.
{% if rows %}
| figure | value | of what |
|---|---|---|
{% for row in rows -%}
| {{ row | join(" | ") }} |
{% endfor %}{% endif %}
## Use

```
latentbit info model.onnx               # what runs packed on which kernel, and why
{% if labels %}latentbit classify model.onnx IMAGE     # what is on an image
{% endif %}{% if checked %}latentbit check .                       # does this machine answer as recorded?
{% endif %}```

```python
from latentbit.runtime import InferenceSession

session = InferenceSession("model.onnx")
outputs = session.run(None, {session.get_inputs()[0].name: array})
```

Stock onnxruntime runs the same file, in float: its operators are carried along as functions.

{% if labels %}Labels, in the order of the outputs: {{ labels | join(", ") }}.

{% endif %}{% if terms %}Terms of the training data: {{ terms }}.

{% endif %}{% if recipe %}Settings of the training:

```json
{{ recipe | tojson(indent=2) }}
```

{% endif %}sha256 of `model.onnx`: `{{ sha256 }}`.
"""


@dataclass(frozen=True)
class ModelFolder:
    """What was written: the folder, its files, and the metadata of the card as the hub reads them."""

    folder: Path
    files: tuple[str, ...]
    metadata: Mapping[str, Any]


def write_model_folder(model: Path, output: Path, *, name: str, licence: str | None) -> ModelFolder:
    """Write README.md, model.onnx and what else is known of a model to a new folder.

    model: a run directory whose stages up to ``export`` are complete, or a ``.onnx`` file. A run gives its report and
    its reference too, a model of the zoo the figures of its card.
    name: what the card calls it. licence: an identifier of the hub, as in ``apache-2.0``; None: none is stated.

    Raises :class:`ModelError` where there is no model, :class:`StorageError` where ``output`` exists,
    :class:`MissingExtraError` without huggingface_hub.
    """
    try:
        from huggingface_hub import EvalResult, ModelCard, ModelCardData
    except ImportError:
        raise MissingExtraError("card needs huggingface_hub: pip install 'latentbit[card]'") from None
    run = RunDir.open(model) if model.is_dir() else None
    file = model / MODEL if run is not None else model
    if not file.is_file():
        raise ModelError(f"there is no model {file}: give a .onnx file, zoo:NAME, or a run that has been exported")
    if output.exists():
        raise StorageError(f"{output} exists: name another place with -o, or remove it")
    facts = _stated(file)
    report = None if run is None else read_report(run)
    results = _results(facts, report)
    labels, data = facts.get("labels", []), facts.get("dataset", {}).get("name", "unknown")
    task = "image-classification" if labels and "input" in facts else None
    details: dict[str, Any] = {
        "license": licence,
        "library_name": "latentbit",
        "pipeline_tag": task,
        "tags": ["onnx", "binary-neural-network", "quantization", "latentbit"],
        "metrics": list(results) or None,
        "model_name": name if results else None,
        "eval_results": [
            EvalResult(
                task_type=task or "other", dataset_type=data, dataset_name=data, metric_type=kind, metric_value=value
            )
            for kind, value in results.items()
        ]
        or None,
    }
    written = ModelCard.from_template(
        ModelCardData(**details),
        template_str=_TEMPLATE,
        name=name,
        version=metadata.version("latentbit"),
        layers=facts["layers"],
        network=facts.get("recipe", {}).get("model"),
        data=data,
        train=facts.get("dataset", {}).get("train"),
        rows=[(kind, f"{value:.4g}", data) for kind, value in results.items()]
        if report is None
        else check_rows(report),
        checked=report is not None,
        labels=labels,
        terms=_terms(file),
        recipe=facts.get("recipe"),
        sha256=sha256_file(file),
    )
    make_folder(output)
    copied = {"model.onnx": file}
    if run is not None and report is not None:
        copied |= {"reference.npz": model / REFERENCE, "report.json": model / REPORT}
    for place, source in copied.items():
        with atomic_path(output / place) as part:
            shutil.copyfile(source, part)
    write_bytes(output / "README.md", str(written).encode())
    return ModelFolder(output, ("README.md", *copied), written.data.to_dict())


def _stated(file: Path) -> dict[str, Any]:
    """Return what the file itself says: dataset, labels, metrics, recipe, task, input. Raises :class:`ModelError`."""
    from ..runtime.session.session import InferenceSession

    session = InferenceSession(file)
    entries = session.get_modelmeta().custom_metadata_map
    try:
        facts = {key.removeprefix("latentbit."): parse_json(text) for key, text in entries.items()}
        facts["metrics"] = current_names(facts.get("metrics", {}))
    except (ValueError, AttributeError):
        raise ModelError(f"the metadata of {file} are none of latentbit: export it again") from None
    return facts | {"layers": sum(step.kind == "binary" for step in session.get_steps())}


def _results(facts: Mapping[str, Any], report: CheckReport | None) -> dict[str, float]:
    """Return the figures of the deployed model by name; without a report those of the folded network, its reference."""
    if report is not None and report.accuracy.deployed is not None:
        return {"accuracy": report.accuracy.deployed}
    if report is not None and report.metrics.get("deployed"):
        return dict(report.metrics["deployed"])
    accuracy = facts["metrics"].get("folded")
    return {"accuracy": accuracy} if accuracy is not None else dict(facts.get("task", {}).get("folded") or {})


def _terms(file: Path) -> str | None:
    """Return the terms of the data of a model of the zoo; None where they are not known."""
    return card(file.stem).data_terms if file.parent == FOLDER else None
