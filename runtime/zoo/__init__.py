"""The zoo: trained models that ship with the package, loaded by name."""

from .catalogue import Card, card, find_model, names, path

__all__ = ["Card", "card", "find_model", "names", "path"]
