"""Write a recipe for a data file: what was recognised is filled in, everything else shows its default."""

from __future__ import annotations

from pathlib import Path

from tunewright.adapt.choose import choose_task
from tunewright.config.load import with_automatic
from tunewright.config.schema import recipe_schema
from tunewright.config.write import to_yaml
from tunewright.data.inputs import look
from tunewright.recipe import Recipe, fillable, read_request
from tunewright.store.document import render_json
from tunewright.store.output import writing
from tunewright.types import Choice, Tell, tell_nobody

SCHEMA = "tunewright.schema.json"


def write_recipe(data: str, output: Path, tell: Tell = tell_nobody) -> tuple[Choice, ...]:
    """Write the recipe, and beside it the JSON Schema by which editors complete it; returns what was recognised."""
    request = read_request(data, (), {})
    profiles = look(request.recipe.data, None, tell).profiles
    task, chosen = choose_task(request.recipe.task, profiles, {})
    found = task.recognise(profiles)
    columns = [
        Choice(f"data.columns.{name}", column, found.reasons.get(name, "")) for name, column in found.columns.items()
    ]
    choices = (*chosen, *columns)
    loaded = with_automatic(request.loaded, fillable(request.loaded, choices))
    text = f"# yaml-language-server: $schema={SCHEMA}\n{to_yaml(loaded)}"
    with writing(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    with writing(output.with_name(SCHEMA)) as temporary:
        temporary.write_bytes(render_json(recipe_schema(Recipe)))
    return choices
