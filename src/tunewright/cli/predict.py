"""``tunewright predict``: answer new texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tunewright.cli.render import Screen, print_json, print_text, show_table
from tunewright.cli.run import AsJson
from tunewright.errors import InputError
from tunewright.words import counted

TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt")
"""A single word that ends like this is a file, also where it does not exist: then that is said."""


def predict(
    run: Annotated[str, Parameter(help="A run's folder or id.")],
    *what: Annotated[str, Parameter(help="One file of rows, or sentences.")],
    output: Annotated[
        Path | None,
        Parameter(name=["-o", "--output"], help="Where to write the answers (csv, tsv, jsonl, json, parquet)."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Answer the rows of a file, or sentences typed on the command line: with labels, spans, or text."""
    if not what:
        raise InputError(
            "nothing to answer",
            where="tunewright predict",
            given="no text",
            allowed="a file or sentences",
            hint=f'tunewright predict {run} "a gripping film"',
        )
    is_file = len(what) == 1 and (output is not None or Path(what[0]).is_file() or _looks_like_a_file(what[0]))
    file = Path(what[0]) if is_file else None
    if file is not None and output is None:
        raise InputError(
            "say where the answers go",
            where="tunewright predict",
            given=str(file),
            allowed="-o FILE (csv, tsv, jsonl, json, parquet)",
            hint=f"-o {file.stem}-answers.csv",
        )
    screen = Screen(silent=json)
    screen.note("loading libraries (about ten seconds) ...")
    from tunewright.answering import predict as answer
    from tunewright.answering import predict_file

    with screen.running() as watcher:
        if file is not None and output is not None:
            written = predict_file(run, file, output, tell=watcher.tell)
        else:
            answers = answer(run, what, tell=watcher.tell)
    if file is not None:
        if json:
            print_json(written)
        else:
            rows, without = counted(int(str(written["rows"])), "row"), f"{written['unanswered']:,} without an answer"
            screen.note(f"{rows} read ({without}): {written['out']}")
        return
    if json:
        pairs = zip(what, answers, strict=True)
        print_json({"answers": [{"text": text, **prediction} for text, prediction in pairs]})
    else:
        _show(what, answers)


def _show(texts: Sequence[str], answers: Sequence[Mapping[str, object]]) -> None:
    """A table whose last column is the one that may be long: what was asked, or what was written."""
    if "spans" in answers[0]:
        for text, prediction in zip(texts, answers, strict=True):
            print_text(_marked(text, prediction["spans"]))
    elif "label" in answers[0]:
        rows = [(_shown(p["label"]), _percent(p["confidence"]), text) for text, p in zip(texts, answers, strict=True)]
        show_table(("label", "confidence", "text"), rows, right=("confidence",))
    else:
        rows = [(text, str(p["finish"] or "-"), str(p["answer"] or "")) for text, p in zip(texts, answers, strict=True)]
        show_table(("text", "finish", "answer"), rows)


def _marked(text: str, spans: object) -> str:
    """The text with its spans in brackets, each with its label: ``[Ada|person] slept``."""
    shown, end = "", 0
    for span in spans if isinstance(spans, list) else ():
        shown += f"{text[end : span['start']]}[{span['text']}|{span['label']}]"
        end = span["end"]
    return shown + text[end:]


def _looks_like_a_file(text: str) -> bool:
    return Path(text).suffix.lower() in TABLES and not any(letter.isspace() for letter in text)


def _shown(label: object) -> str:
    if isinstance(label, list):
        return ", ".join(label) or "(none)"
    return "(no text)" if label is None else str(label)


def _percent(confidence: object) -> str:
    return f"{confidence:.1%}" if isinstance(confidence, float) else ""
