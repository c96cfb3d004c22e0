"""What a person sees in the terminal: progress bars, choices with reasons, results, errors. The only place that prints."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from tunewright.errors import Interrupted, TunewrightError
from tunewright.types import Choice
from tunewright.words import shown

if TYPE_CHECKING:
    from tunewright.pipeline import Watcher

REFRESH_SECONDS = 0.1

PIPED_SECONDS = 30.0
"""Between two lines of progress where nobody can see a bar move."""
TAKEN = 34
"""Columns of the terminal that spinner, bar, share, both times and the gaps take; name and note get the rest."""

COMMITTING = "training"
"""While this label runs, Ctrl-C waits for a commit; everywhere else nothing is lost by stopping at once."""


def _fixed(width: int) -> Column:
    """A column of this width: times and shares are never cut, names and notes at their end."""
    return Column(width=width, no_wrap=True, overflow="ellipsis")


def show_error(error: TunewrightError) -> None:
    """The four parts on standard error."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    style = "yellow" if isinstance(error, Interrupted) else "red"
    name = "Stopped" if isinstance(error, Interrupted) else "Error"
    console.print(Text.assemble((f"{name}: ", f"bold {style}"), str(error)))


def print_text(text: str) -> None:
    """A line of text on standard output, as it is."""
    print(text, flush=True)


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON value on standard output and nothing else."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False), flush=True)  # a server goes on after it


class Screen:
    """Progress and choices while a command runs; silent under ``--json``."""

    def __init__(self, *, silent: bool) -> None:
        """Standard error carries progress, so that standard output can be piped."""
        self.silent = silent
        self.console = Console(stderr=True, highlight=False)
        room = max(24, self.console.width - TAKEN)
        name = min(42, room // 2)
        self.progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", table_column=_fixed(name)),
            BarColumn(bar_width=8, table_column=_fixed(8)),
            TextColumn("{task.percentage:>3.0f}%", table_column=_fixed(4)),
            TimeElapsedColumn(table_column=_fixed(7)),
            TimeRemainingColumn(table_column=_fixed(7)),
            TextColumn("{task.fields[note]}", table_column=_fixed(room - name)),
            console=self.console,
            disable=silent or not self.console.is_terminal,
            refresh_per_second=1 / REFRESH_SECONDS,
        )
        self._tasks: dict[str, TaskID] = {}
        self._label = ""
        self._drawn = 0.0
        self._asked = False

    @contextmanager
    def running(self) -> Iterator[Watcher]:
        """Draw while the block runs; the first Ctrl-C asks to stop, the second insists."""
        from tunewright.pipeline import Watcher

        before = signal.getsignal(signal.SIGINT)
        before_term = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._interrupt)
        try:
            with self.progress:
                yield Watcher(tell=self.tell, say=self.say, asked_to_stop=lambda: self._asked)
                self._finish_all()
        finally:
            signal.signal(signal.SIGINT, before)
            signal.signal(signal.SIGTERM, before_term)

    def tell(self, label: str, done: float, total: float | None, note: str) -> None:
        """Progress of one stretch of work; a new label finishes the one before."""
        if self._asked and label != COMMITTING:
            raise Interrupted("stopped on request; finished stages are kept")
        now = time.monotonic()
        if not self.silent and not self.console.is_terminal:
            self._tell_in_lines(label, done, total, note, now)
            return
        total = total or None  # rich takes a total of nothing for done, and shows 0 %
        if label == self._label and done != total and now - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = now
        if label != self._label:
            self._finish_all()
            self._label = label
        if label not in self._tasks:
            self._tasks[label] = self.progress.add_task(label, total=total, note=note)
        self.progress.update(self._tasks[label], completed=done, total=total, note=note)

    def _tell_in_lines(self, label: str, done: float, total: float | None, note: str, now: float) -> None:
        """The same for a file or a pipe: a line for each stretch, and one every half minute while it lasts."""
        if label == self._label and now - self._drawn < PIPED_SECONDS:
            return
        share = f" {100 * done / total:.0f} %" if total and label == self._label else ""
        told = f" {note}" if note and label == self._label else ""
        self.console.print(f"{label} ...{share}{told}", soft_wrap=True)
        self._label, self._drawn = label, now

    def say(self, choice: Choice) -> None:
        """A choice that was made for the user, with its reason."""
        if self.silent:
            return
        line = Text.assemble(
            ("  · ", "dim"), (choice.path, "cyan"), " = ", (shown(choice.value), "bold"), (f"  {choice.reason}", "dim")
        )
        self.console.print(line, soft_wrap=True)

    def note(self, text: str) -> None:
        """A plain line."""
        if not self.silent:
            self.console.print(text, soft_wrap=True)

    def _finish_all(self) -> None:
        for task in self.progress.tasks:
            if not task.finished:
                self.progress.update(task.id, total=max(1.0, task.completed), completed=max(1.0, task.completed))
                self.progress.stop_task(task.id)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        if not self.silent:
            self.console.print(
                "[yellow]Stopping: what is under way is finished first (Ctrl-C again to stop at once).[/]",
                soft_wrap=True,
            )


def show_summary(result: Mapping[str, Any]) -> None:
    """The end of a run: the verdict first, then what it was compared with, the diagnosis, and what to type next."""
    from tunewright.report.terminal import summary

    shown = summary(result, report=str(result.get("report", "")))
    console = Console(highlight=False)
    colours = {"good": "green", "bad": "red", "unsure": "yellow"}
    if shown.outcome:
        console.print(Text.assemble("\n", (shown.headline, f"bold {colours[shown.style]}")))
        console.print(Text(shown.sentence), soft_wrap=True)
    if shown.lines:
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for column in ("", shown.metric, "difference", "95 % interval", "p"):
            table.add_column(column, justify="left" if not column else "right")
        for line in shown.lines:
            name = f"{line.system} *" if line.required else line.system
            table.add_row(
                *map(Text, (name, line.score)),
                Text(line.difference, colours[line.style]),
                *map(Text, (line.interval, line.p)),
            )
        console.print(table)
        if any(line.required for line in shown.lines):
            console.print(Text(f"* decides the verdict. Judged on {shown.judged}.", style="dim"))
    for sentence in shown.scope:
        console.print(Text(sentence), soft_wrap=True)
    for check in shown.checks:
        word, colour = ("passed", "green") if check.passed else ("failed", "red")
        console.print(Text.assemble((f"{word}  ", colour), f"{check.name}: {check.value}"), soft_wrap=True)
    if shown.cause:
        console.print(
            Text.assemble("\n", "Diagnosis: ", (shown.cause, "bold"), *(f"\n  - {each}" for each in shown.evidence)),
            soft_wrap=True,
        )
    _show_ledger(console, result)
    console.print(Text.assemble("Report: ", (shown.report, "bold")), soft_wrap=True)
    for index, command in enumerate(shown.next_commands):
        console.print(Text.assemble("Next:   " if index == 0 else "        ", (command, "cyan")), soft_wrap=True)


def _show_ledger(console: Console, result: Mapping[str, Any]) -> None:
    ledger = result.get("ledger")
    if ledger:
        counts = ", ".join(f"{ledger[name]:,} {name}" for name in ("used", "truncated", "duplicate", "rejected"))
        console.print(Text(f"Rows:   {ledger['total']:,} in all: {counts}"), soft_wrap=True)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """A plain table on standard output."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        is_last = column == columns[-1]
        table.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=not is_last)
    for row in rows:
        table.add_row(*[Text(str(cell)) for cell in row])  # Text: no markup is read from a name
    Console(highlight=False).print(table)
