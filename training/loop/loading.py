"""Reading back what a training run left in its folder."""

from pathlib import Path

from torch import nn

from ...runtime.errors import ConfigError, DataError
from ..models.catalogue import build_model
from .checkpoints import load_tensors, read_json

__all__ = ["load_network", "start_from"]


def load_network(folder: str | Path) -> nn.Module:
    """Rebuild the network that ``train`` left in ``folder``, in eval mode; DataError if its files do not fit.

    A network of the user's is built by his function again, imported from where it lay. ConfigError if it is gone.
    """
    folder = Path(folder)
    record = read_json(folder / "network.json")
    try:
        network = build_model(record["model"], code=record.get("code", ""), **record["options"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / 'network.json'} does not say how the network is built: train again") from error
    try:
        network.load_state_dict(load_tensors(folder / "network.pt"))
    except (RuntimeError, TypeError, AttributeError) as error:  # other shapes and names; no tensors at all
        raise DataError(
            f"{folder / 'network.pt'} does not fit the network that {record['model']} makes now: train again"
        ) from error
    return network.eval()


def start_from(network: nn.Module, folder: str | Path) -> None:
    """Copy the weights of the run in ``folder`` into ``network``; ConfigError if it is another network."""
    try:
        network.load_state_dict(load_network(folder).state_dict())
    except RuntimeError as error:
        raise ConfigError(
            f"train.start = {str(folder)!r} holds another network than train.model and its options build:"
            f" {str(error).splitlines()[-1].strip()}"
        ) from error
