"""``run:ID`` or ``run:PATH``: the tuned model of an earlier run."""

from __future__ import annotations

from pathlib import Path

from tunewright.assets import read_provenance
from tunewright.errors import InputError
from tunewright.infer.card import CARD
from tunewright.model.source.base import Description, Fetched, Order
from tunewright.store.document import parse_object
from tunewright.store.runs import locate_run

_PREFIX = "run:"


class Run:
    """The folder ``model`` of a run."""

    def recognise(self, name: str) -> float:
        """Sure of what begins with ``run:``."""
        return float(name.startswith(_PREFIX))

    def describe(self, name: str) -> Description:
        """The run's name; its licence is known once its folder is read."""
        return Description(title=f"the model of {name}", licence="", download_bytes=0)

    def fetch(self, order: Order) -> Fetched:
        """The folder as it is. Raises InputError for a run that is not there or has no finished model."""
        run = _folder(order)
        model = run / "model"
        if not (model / "config.json").is_file():
            raise InputError(
                "this run has no finished model",
                where="base",
                given=order.name,
                allowed="a run that was trained to its end",
                hint=f"type the command of that run again to finish it; it is written in {run}",
            )
        return Fetched(
            folder=model,
            source=f"run {run.name}",
            licence=_licence(model),
            notes=(f"goes on from the run {run.name}",),
        )


def _folder(order: Order) -> Path:
    rest = order.name.removeprefix(_PREFIX)
    path = Path(rest).expanduser()
    if rest and path.is_dir():
        return path.absolute()
    return locate_run(rest, order.runs or Path("runs"))


def _licence(model: Path) -> str:
    """The licence of what the run started from, as the run wrote it down."""
    provenance = read_provenance(model)
    if provenance is not None:
        return str(provenance.get("licence", ""))
    try:
        return str(parse_object((model / CARD).read_bytes()).get("licence", ""))
    except (OSError, ValueError):
        return ""
