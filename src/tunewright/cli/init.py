"""``tunewright init``: a recipe for a data file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tunewright.cli.render import Screen, print_json
from tunewright.cli.run import AsJson
from tunewright.errors import InputError


def init(
    data: Annotated[str, Parameter(help="A data file, or asset:NAME.")],
    *,
    output: Annotated[Path, Parameter(name=["-o", "--output"], help="Where to write the recipe.")] = Path(
        "recipe.yaml"
    ),
    json: AsJson = False,
) -> None:
    """Write a recipe for a data file: every option, with where its value comes from. An existing file is not touched."""
    if output.exists():
        raise InputError(
            "this file exists already",
            where="-o",
            given=str(output),
            allowed="a new file",
            hint=f"-o {output.stem}-2.yaml",
        )
    screen = Screen(silent=json)
    from tunewright.starting import write_recipe

    with screen.running() as watcher:
        choices = write_recipe(data, output, tell=watcher.tell)
    for choice in choices:
        screen.say(choice)
    if json:
        print_json(
            {
                "recipe": str(output),
                "choices": [{"path": c.path, "value": c.value, "reason": c.reason} for c in choices],
            }
        )
    else:
        screen.note(f"{output} is written. Next: tunewright run {output}")
