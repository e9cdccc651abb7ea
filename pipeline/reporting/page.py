"""The page: Jinja2 puts what the sections found into the templates beside this file, and writes it whole."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...runtime.files import write_bytes
from ..paths import PAGE
from ..rundir import RunDir
from .classes import classes
from .engines import engines
from .facts import read_facts
from .features import features
from .figures import figures
from .layers import layers
from .origin import origin
from .pictures import restored
from .training import training
from .verdict import verdict

__all__ = ["write_report"]

_TEMPLATES = Path(__file__).parent / "templates"


def write_report(run: RunDir) -> None:
    """Write report.html of a run whose stages up to the check are complete. Raises :class:`StorageError`."""
    facts = read_facts(run)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        name=run.path.resolve().name,
        verdict=verdict(facts),
        training=training(facts),
        classes=classes(facts),
        restored=restored(facts),
        features=features(facts),
        layers=layers(facts),
        engines=engines(facts),
        figures=figures(facts),
        origin=origin(facts),
    )
    write_bytes(run.path / PAGE, page.encode())
