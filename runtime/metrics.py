"""The names under which accuracies travel from training to the deployed model.

``test_accuracy`` is that of the binary network on the test images, ``latent_test_accuracy`` that of its latent stream
there, ``validation_accuracy`` and ``latent_validation_accuracy`` the same on held-out training images.
"""

from collections.abc import Mapping
from typing import TypeVar

__all__ = ["current_names"]

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
