"""model.select: dataset facts, the name that the recipe gives -> Base.

A name has one of these forms, each a file of ``model/source``: a model of the catalogue, a folder, a GGUF file, a model on a
hub (``org/name``, ``modelscope:org/name``), the model of an earlier run (``run:ID``). ``auto`` chooses by script.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tunewright import extensions
from tunewright.assets import catalogue
from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import InputError, nearest
from tunewright.model.inspect import read_folder
from tunewright.model.source.base import ModelSource, Order
from tunewright.types import Base, Facts, Tell, tell_nobody

AUTO = "auto"
_LATIN_MODEL = "minilm-l6"
_ANY_SCRIPT_MODEL = "multilingual-e5-small"
_DIALOGUE_MODEL = "smollm2-135m-instruct"
_MOSTLY = 0.9
"""From this share of Latin letters on, the English encoder is chosen: it is five times smaller."""

_FAMILY = "model.source"
_FORMS = "auto; a name from `tunewright assets list`; a folder; a file that ends in .gguf; org/name; modelscope:org/name; run:ID"


class Select:
    """The options of the stage."""

    class Config(ComponentConfig):
        """The pretrained model to start from."""

        shorthand = "name"

        name: str = Option(AUTO, f"The model: {_FORMS}.", min_length=1)
        accept_terms: bool = Option(False, "Accept the terms of a model that has any; the acceptance is recorded.")


def select(
    config: Select.Config,
    facts: Facts | None,
    *,
    needs: Literal["any", "decoder"] = "any",
    base_run: str | None = None,
    runs: Path | None = None,
    tell: Tell = tell_nobody,
) -> Base:
    """The Base that ``config`` names, fetched and read; ``needs`` is the kind of base that the task can use.

    ``base_run`` (``run:ID``) takes the place of the name, ``runs`` is the folder in which runs are looked for. Raises
    InputError for a name or folder that cannot be used, GateError for terms not accepted, MachineError when a source cannot
    be reached.
    """
    name, reason = _name(config, facts, base_run, needs)
    order = Order(name=name, accept_terms=config.accept_terms, runs=runs, tell=tell)
    fetched = find_source(name).fetch(order)
    portrait = read_folder(fetched.folder, fetched.verified, tell)
    return Base(
        name=name,
        folder=fetched.folder,
        architecture=portrait.architecture,
        kind=portrait.kind,
        num_parameters=portrait.num_parameters,
        max_positions=portrait.max_positions,
        vocabulary_size=portrait.vocabulary_size,
        licence=fetched.licence or portrait.licence,
        source=fetched.source,
        digest=portrait.digest,
        reason=reason,
        notes=(*fetched.notes, *portrait.notes),
    )


def find_source(name: str) -> ModelSource:
    """The source that is surest of ``name``. Raises InputError with every form where none recognises it."""
    sources: list[ModelSource] = [extensions.load(_FAMILY, file)() for file in extensions.names(_FAMILY)]
    best = max(sources, key=lambda source: source.recognise(name))
    if best.recognise(name) > 0:
        return best
    suggestion = nearest(name, [AUTO, *(asset.name for asset in catalogue() if asset.kind == "model")])
    raise InputError(
        "this names no model",
        where="model.name",
        given=name,
        allowed=_FORMS,
        hint=f"did you mean {suggestion}?" if suggestion else "tunewright assets list",
    )


def choose_model(facts: Facts | None, needs: Literal["any", "decoder"] = "any") -> tuple[str, str]:
    """The starter model for data in these scripts, and why: an encoder, or a decoder where the task writes text."""
    if needs == "decoder":
        return _choose_decoder(facts)
    scripts = facts.scripts if facts is not None else {}
    total = sum(scripts.values())
    if total <= 0:
        return _ANY_SCRIPT_MODEL, "the script of the texts is not known: the multilingual encoder reads any"
    latin = scripts.get("Latin", 0.0) / total
    if latin >= _MOSTLY:
        return (
            _LATIN_MODEL,
            f"{latin:.1%} of the letters are Latin: the small English encoder; for other languages name another",
        )
    script, share = max(scripts.items(), key=lambda item: item[1])
    others = f"{share / total:.1%} are {script}" if script != "Latin" else "the rest is in other scripts"
    return _ANY_SCRIPT_MODEL, f"{latin:.1%} of the letters are Latin, {others}: the multilingual encoder"


def _choose_decoder(facts: Facts | None) -> tuple[str, str]:
    """The dialogue model that ships without terms to accept; it was taught English."""
    scripts = facts.scripts if facts is not None else {}
    latin = scripts.get("Latin", 0.0) / (sum(scripts.values()) or 1.0)
    if latin >= _MOSTLY or not scripts:
        return _DIALOGUE_MODEL, "the small dialogue model for English"
    others = f"{1 - latin:.0%} of the letters are not Latin"
    better = "gemma-3-270m reads them better (model='{name: gemma-3-270m, accept_terms: true}')"
    return _DIALOGUE_MODEL, f"the dialogue model without terms to accept; {others}: {better}"


def _name(
    config: Select.Config, facts: Facts | None, base_run: str | None, needs: Literal["any", "decoder"]
) -> tuple[str, str]:
    if base_run is not None:
        return base_run, "the recipe goes on from this run"
    if config.name == AUTO:
        return choose_model(facts, needs)
    return config.name, "named in the recipe"
