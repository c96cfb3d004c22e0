"""``tunewright export``: hand a tuned model over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tunewright.cli.render import Screen, print_json, show_table
from tunewright.cli.run import AsJson
from tunewright.deploy.certificate import Certify
from tunewright.words import size

DEFAULTS = Certify.Config()


def export(
    run: Annotated[str, Parameter(help="A run's folder or id.")],
    *,
    output: Annotated[Path, Parameter(name=["-o", "--output"], help="The folder to write; it must not exist yet.")],
    format: Annotated[str, Parameter(help="transformers (the whole model) or adapter (for peft).")] = "transformers",  # noqa: A002
    language: Annotated[Literal["en", "zh"], Parameter(help="The language of the model card.")] = "en",
    certificate: Annotated[Certify.Config, Parameter(name="*")] = DEFAULTS,
    json: AsJson = False,
) -> None:
    """Write a tuned model as a folder that transformers or peft loads, certified to answer as the run does."""
    screen = Screen(silent=json)
    screen.note("loading libraries (about ten seconds) ...")
    from tunewright.deploying import export as write

    with screen.running() as watcher:
        made = write(run, output, format=format, language=language, certificate=certificate, tell=watcher.tell)
    if json:
        print_json(made)
        return
    found = made["certificate"]
    rows = [
        ("folder", f"{made['folder']} ({size(made['num_bytes'])})"),
        ("rows compared", f"{found['num_rows']:,} of {found['num_available']:,} validation rows"),
        ("equal token ids", f"{found['rows_with_equal_tokens']:,} rows"),
        ("largest logit gap", f"{found['largest_gap']:.3g} (limit {found['limit']:.3g})"),
        ("same likeliest answer", f"{found['top1_agreement']:.2%}"),
    ]
    show_table(("", "exported"), rows)
    screen.note(f"The card: {made['folder']}/README.md")
