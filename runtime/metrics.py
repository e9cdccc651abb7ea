"""The names under which accuracies travel from training to the deployed model, and figures of the user's own metric.

``test_accuracy`` is that of the binary network on the test images, ``latent_test_accuracy`` that of its latent stream
there, ``validation_accuracy`` and ``latent_validation_accuracy`` the same on held-out training images.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .errors import ConfigError
from .imported import explain

__all__ = ["Metric", "current_names", "figures"]

Metric = Callable[[Any, Any], Any]
"""A metric of the user's: ``metric(outputs, targets)`` -> a number, or several by name.

Both are NumPy arrays of all samples, ``[S, …]``, or arrays by name where there are several.
"""

_Value = TypeVar("_Value")

_FORMER = {
    "training": "test_accuracy",
    "latent_stream": "latent_test_accuracy",
    "validation": "validation_accuracy",
    "validation_latent_stream": "latent_validation_accuracy",
}
"""Names of files that were written before 0.1.0 was released; the models of the zoo are such files."""


def current_names(metrics: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return ``metrics`` as read from a file, under today's names; other names are kept as they are."""
    return {_FORMER.get(name, name): value for name, value in metrics.items()}


def figures(name: str, metric: Metric, outputs: Mapping[str, Any], targets: Any) -> dict[str, float]:
    """Return what a metric finds of outputs beside their targets: figures by name.

    An only output is handed over bare. A number without a name gets that of the function, the end of ``name``. Raises
    :class:`ConfigError` where the metric fails or gives no numbers.
    """
    given = next(iter(outputs.values())) if len(outputs) == 1 else dict(outputs)
    try:
        found = metric(given, targets)
    except Exception as error:
        raise ConfigError(f"the metric {name} failed: {explain(error)}") from error
    named = found if isinstance(found, Mapping) else {re.split(r"[:.]", name)[-1]: found}
    try:
        return {str(key): float(value) for key, value in named.items()}
    except (TypeError, ValueError):
        raise ConfigError(f"the metric {name} gave a {type(found).__name__}: return numbers, one or by name") from None
