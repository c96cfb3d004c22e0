"""``tunewright chat``: talk with a tuned model in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from tunewright.cli.render import Screen, print_json
from tunewright.cli.run import AsJson

if TYPE_CHECKING:
    from tunewright.chatting import Talk

HELP = "An empty line or Ctrl-D ends, /new begins a new dialogue."


def chat(
    run: Annotated[str, Parameter(help="A run's folder or id.")],
    *message: Annotated[str, Parameter(help="What to say; without it you are asked line by line.")],
    base: Annotated[bool, Parameter(negative="", help="Let the untouched base answer beside the tuned model.")] = False,
    system: Annotated[str, Parameter(help="A system message, in place of the recipe's.")] = "",
    max_tokens: Annotated[int, Parameter(help="Longest answer, in tokens.")] = 256,
    temperature: Annotated[
        float | None, Parameter(help="0: always the most probable token; else drawn. Empty: as the run was judged.")
    ] = None,
    top_p: Annotated[float, Parameter(help="Draw from the most probable tokens with this share in sum.")] = 1.0,
    seed: Annotated[int, Parameter(help="The same seed draws the same answer.")] = 0,
    json: AsJson = False,
) -> None:
    """Talk with a tuned model; answers come as they are written."""
    screen = Screen(silent=json)
    screen.note("loading libraries (about ten seconds) ...")
    from tunewright.chatting import judged_temperature, open_talk, reply
    from tunewright.types import Sampling

    if temperature is None:
        temperature = judged_temperature(run)
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed)
    with screen.running() as watcher:
        talk = open_talk(run, sampling=sampling, system=system, with_base=base, tell=watcher.tell)
    try:
        if json:
            print_json({"answers": reply(talk, message)})
        elif message:
            for text in message:
                _answer(talk, text)
        else:
            _converse(talk, screen)
    finally:
        talk.close()


def _converse(talk: Talk, screen: Screen) -> None:
    screen.note(HELP)
    while True:
        try:
            text = input("\nyou    › " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if not text:
            return
        if text == "/new":
            talk.forget()
            screen.note("A new dialogue.")
            continue
        _answer(talk, text)


def _answer(talk: Talk, text: str) -> None:
    """Each speaker's answer, piece by piece; Ctrl-C stops the answer, not the dialogue."""
    console = Console(highlight=False, soft_wrap=True)
    for name in talk.speakers:
        console.print(Text(f"{name:<6} › ", style="cyan" if name == "tuned" else "dim"), end="")
        try:
            for piece in talk.say(name, text):
                console.print(Text(piece), end="")
        except KeyboardInterrupt:
            console.print(Text(" (stopped)", style="dim"), end="")
        console.print()
