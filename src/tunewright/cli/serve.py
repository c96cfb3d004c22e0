"""``tunewright serve``: answer over HTTP until Ctrl-C."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tunewright.cli.render import Screen, print_json
from tunewright.cli.run import AsJson
from tunewright.server.limits import Limits

DEFAULTS = Limits.Config()


def serve(
    what: Annotated[
        str,
        Parameter(help="A run's folder or id, a model's folder, a name from `assets list`, or registry:NAME."),
    ],
    *,
    host: Annotated[str, Parameter(help="The address to listen on; any but loopback needs a key.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="The port; 0 takes a free one.")] = 8000,
    registry: Annotated[Path, Parameter(help="The registry's folder, for registry:NAME.")] = Path("registry"),
    key_file: Annotated[Path | None, Parameter(help="A file with the key; else TUNEWRIGHT_SERVER_KEY.")] = None,
    accept_terms: Annotated[bool, Parameter(negative="", help="Accept the terms of a base that has any.")] = False,
    limits: Annotated[Limits.Config, Parameter(name="*")] = DEFAULTS,
    json: AsJson = False,
) -> None:
    """Serve a model under OpenAI's routes until Ctrl-C."""
    from tunewright.server.listen import check_free, listening, read_key, require_extra

    screen = Screen(silent=json)
    key = read_key(key_file)
    require_extra()
    check_free(host, port, key)
    screen.note("loading libraries (about ten seconds) ...")
    from tunewright.server.following import opened
    from tunewright.server.served import Served

    with ExitStack() as stack:
        with screen.running() as watcher:
            model, follow = opened(what, registry, accept_terms=accept_terms, tell=watcher.tell)
        served = Served(model)
        stack.enter_context(follow(served))
        asked = stack.enter_context(_until_asked())
        address = stack.enter_context(listening(served, limits, host=host, port=port, key=key))
        if json:
            print_json({"address": address, "model": model.name, "needs_key": key is not None, "golden": model.checked})
        else:
            shown = example(model, address, needs_key=key is not None, key_file=key_file)
            screen.note(f"{model.name} answers at {address} (Ctrl-C ends it). For instance:\n{shown}")
        while not asked.wait(0.5):  # a wait without an end cannot be interrupted everywhere
            pass
    if not json:
        screen.note("The server has ended.")


def example(model: Any, address: str, *, needs_key: bool, key_file: Path | None) -> str:
    """A command that asks the model something; the key is read from where the person has it, never shown."""
    if model.tuned is not None:
        route, body = "classify", '{"input": ["a gripping film"]}'
    else:
        route, body = "chat/completions", '{"messages": [{"role": "user", "content": "Hello!"}]}'
    held = "$TUNEWRIGHT_SERVER_KEY" if key_file is None else f"$(cat {shlex.quote(str(key_file))})"
    header = f' -H "Authorization: Bearer {held}"' if needs_key else ""
    return f"  curl {address}/v1/{route} -H 'Content-Type: application/json'{header} -d '{body}'"


@contextmanager
def _until_asked() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a request to end sets; while it is waited for, they do nothing else."""
    asked = threading.Event()
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, was in before.items():
            signal.signal(number, was)
