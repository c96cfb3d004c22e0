"""What it takes to understand and repeat the run: choices, configuration, machine, hashes, timings, the command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from tunewright.report.blocks import (
    bullets,
    code,
    command,
    facts,
    fold,
    paragraph,
    part,
    section,
    share_bar,
    table,
)
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node, in_order
from tunewright.report.wording import large, signed, whole
from tunewright.words import counted, duration, shown, size

STAGES = ("recognise", "prepare", "select", "fetch", "encode", "adapt", "train", "evaluate", "report")
LICENCE_UNKNOWN = "not stated"


def choices(result: Node) -> Markup:
    """What was chosen for the user, and why; the model first."""
    groups = (("Choices", result["choices"].items()), ("Choices of the start-up probe", result["plan"].items()))
    tables = []
    for caption, found in groups:
        rows = [
            [code(one["path"].text()), code(shown(one["value"].value)), datum(one["reason"].text())]
            for one in found
            if one["path"]
        ]
        if rows:
            tables.append(table(caption, ["Setting", "Value", "Why"], rows, class_="reasons"))
    probed = fold("What the start-up probe decided", tables[-1]) if groups[1][1] and tables else None
    return section(
        "choices", "Chosen for you, and why", _model(result["model"]), *(tables[:1] if groups[0][1] else []), probed
    )


def _model(found: Node) -> Markup | None:
    parameters, positions = found["num_parameters"].number(), found["max_positions"].number()
    kind = " ".join(part for part in (found["architecture"].text(), found["kind"].text()) if part)
    entries: list[tuple[str, str]] = [
        ("Model", datum(found["name"].text()) if found["name"] else ""),
        ("Architecture", datum(kind) if kind else ""),
        ("Parameters", large(parameters) if parameters else ""),
        ("Positions", counted(positions, "token") if positions else ""),
        ("Licence", datum(found["licence"].text() or LICENCE_UNKNOWN)),
        ("Source", datum(found["source"].text()) if found["source"] else ""),
        ("Why", datum(found["reason"].text()) if found["reason"] else ""),
    ]
    if not found:
        return None
    return join((facts(entries), bullets([datum(note.text()) for note in found["notes"].items() if note])))


def configuration(result: Node) -> Markup:
    """Every setting with where its value came from; the defaults folded away."""
    origins = {path: node.text() for path, node in result["config"]["origins"].pairs()}
    rows: list[tuple[bool, list[str]]] = []
    for path, node in result["config"]["values"].leaves():
        origin = _origin(path, origins)
        rows.append((origin == "default", [code(path), code(shown(node.value)), datum(origin)]))
    heads = ["Setting", "Value", "Set by"]
    given = [row for is_default, row in rows if not is_default]
    defaults = [row for is_default, row in rows if is_default]
    return section(
        "config",
        "Configuration",
        table("Settings that are not defaults", heads, given, class_="reasons") if given else None,
        fold(
            f"{counted(len(defaults), 'setting')} at {'its' if len(defaults) == 1 else 'their'} default",
            table("Settings at their default", heads, defaults, class_="reasons"),
        )
        if defaults
        else None,
    )


def _origin(path: str, origins: dict[str, str]) -> str:
    """The origin of the path, or of the nearest setting above it."""
    while path:
        if path in origins:
            return origins[path]
        path = path.rpartition(".")[0]
    return ""


def machine(result: Node) -> Markup:
    """Where the time went, where it ran, and the hashes of all that went in."""
    found = result["environment"]
    threads, peak = found["threads"].count(), result["peak_memory_bytes"].number()
    entries: list[tuple[str, str]] = [
        ("Processor", datum(found["cpu"].text()) if found["cpu"] else ""),
        ("Threads", whole(threads) if threads else ""),
        ("System", datum(found["platform"].text()) if found["platform"] else ""),
        ("Python", datum(found["python"].text()) if found["python"] else ""),
        ("Peak memory", size(peak) if peak and peak > 0 else ""),
        ("CPU features", datum(found["cpu_features"].text()) if found["cpu_features"] else ""),
    ]
    packages = [
        [datum(name), code(node.text())] for name, node in sorted(found["packages"].pairs(), key=lambda pair: pair[0])
    ]
    hashes = [[datum(name), code(node.text())] for name, node in result["hashes"].pairs() if node]
    return section(
        "machine",
        "Time, machine, hashes",
        part("Time", _timings(in_order(result["timings"].pairs(), STAGES))),
        part("Forecast and fact", *_forecast(result["forecast"])),
        part("Machine", facts(entries) or None),
        fold("Versions of packages", table("Versions", ["Package", "Version"], packages)) if packages else None,
        fold("Hashes of everything that went in", table("Hashes", ["Of", "SHA-256"], hashes, class_="hashes"))
        if hashes
        else None,
    )


def _timings(pairs: Sequence[tuple[str, Node]]) -> Markup | None:
    known = [(name, seconds) for name, node in pairs if (seconds := node.number()) is not None and seconds >= 0]
    stages = [(name, seconds) for name, seconds in known if name != "total"]
    most = max((seconds for _, seconds in stages), default=0.0)
    rows = [
        [datum(name), join((duration(seconds), share_bar(seconds / most if most else 0.0)))] for name, seconds in stages
    ]
    rows += [
        [element("b", "total"), join((element("b", duration(seconds)), share_bar(0.0)))]
        for name, seconds in known
        if name == "total"
    ]
    return table("Time of each stage", ["Stage", "Time"], rows, numeric=(1,), class_="timings") if rows else None


def _forecast(found: Node) -> list[Markup | None]:
    """What the rehearsal before the first step said of the training, and what it took."""
    rows = []
    kinds = (
        ("Training time", "train_seconds", duration),
        ("Peak memory", "memory_bytes", size),
        ("Disk", "disk_bytes", size),
        ("Updates", "num_updates", whole),
    )
    for name, key, worded in kinds:
        told, fact = found["forecast"][key].number(), found["fact"][key].number()
        if told is not None and told >= 0:
            error = f"{signed(100 * (told / fact - 1), 0)} %" if fact and fact > 0 else ""
            rows.append([name, worded(told), worded(fact) if fact is not None and fact >= 0 else "not known", error])
    if not rows:
        return []
    why = [datum(each.text()) for each in found["told"].items()[1:] if each]
    heads = ["Of the training", "Forecast", "Fact", "Forecast off by"]
    return [*(paragraph(each) for each in why), table("Forecast and fact", heads, rows, numeric=(1, 2, 3))]


def _typed(name: str) -> str:
    """The name as it can be typed into a shell."""
    return name if re.fullmatch(r"[\w.-]+", name) else shlex.quote(name)


def repeat(result: Node) -> Markup:
    """The command that repeats the run, and the one that made it."""
    name, made = result["id"].text(), result["command"].text()
    again = join(
        (
            paragraph("This rebuilds the run from its recorded data, configuration and plan, and compares:"),
            command(f"tunewright replay {_typed(name)}"),
        )
    )
    first = join((paragraph("It was made by:"), command(made)))
    is_run = bool(name) and not result["search"]  # a search is issued again: what it has is taken as it is
    return section("repeat", "Repeat this run", again if is_run else None, first if made else None)
