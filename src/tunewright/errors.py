"""Every error that a person can meet.

    TunewrightError              where, given, allowed, hint
    ├── InputError        (2)    a file, an argument or a value that the user gave
    │   └── RecipeError   (2)    one or many problems in a recipe, reported together
    ├── GateError         (3)    a gate stopped the run; it can be overridden by a named switch
    ├── MachineError      (1)    the machine failed: disk full, file vanished, index unreachable
    │   └── CorruptError  (1)    a stored file does not match its recorded hash
    └── Interrupted     (130)    the user asked to stop; everything up to the last commit is kept

The number is the exit code of the command line. A message has four parts: *where* (``file:line`` or a path in the
recipe), what was *given*, what is *allowed*, and a *hint*: the next thing to type.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tunewright.words import typed


class TunewrightError(Exception):
    """The root of the tree. Raise one of its branches, never this class itself."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self, problem: str, *, where: str = "", given: object = None, allowed: str = "", hint: str = ""
    ) -> None:
        """Hold the four parts; ``problem`` is the sentence that says what is wrong."""
        super().__init__(problem)
        self.problem = problem
        self.where = where
        self.given = given
        self.allowed = allowed
        self.hint = hint

    def __str__(self) -> str:
        """Render the parts on separate lines, leaving out those that are empty."""
        lines = [f"{self.where}: {self.problem}" if self.where else self.problem]
        if self.given is not None:
            lines.append(f"  given:   {shorten(self.given)}")
        if self.allowed:
            lines.append(f"  allowed: {self.allowed}")
        if self.hint:
            lines.append(f"  try:     {self.hint}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """The same parts as a JSON object, the one shape of every error on every surface."""
        return {
            "error": type(self).__name__,
            "problem": self.problem,
            "where": self.where,
            "given": None if self.given is None else shorten(self.given),
            "allowed": self.allowed,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


class InputError(TunewrightError):
    """A file, an argument or a value that the user gave is at fault."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a recipe: where it stands, what was given, what is allowed, what to type."""

    where: str
    problem: str
    given: object = None
    allowed: str = ""
    hint: str = ""


class RecipeError(InputError):
    """All the problems of a recipe at once, in the order in which they stand in the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Hold every problem; the first one also fills the four parts of the base class."""
        first = problems[0]
        super().__init__(first.problem, where=first.where, given=first.given, allowed=first.allowed, hint=first.hint)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """Render every problem, each with its own four parts."""
        return "\n".join(
            str(InputError(p.problem, where=p.where, given=p.given, allowed=p.allowed, hint=p.hint))
            for p in self.problems
        )

    def as_json(self) -> dict[str, object]:
        """The first problem in the common shape, and all of them in ``problems``."""
        shape = super().as_json()
        shape["problems"] = [
            {
                "where": p.where,
                "problem": p.problem,
                "given": None if p.given is None else shorten(p.given),
                "allowed": p.allowed,
                "hint": p.hint,
            }
            for p in self.problems
        ]
        return shape


class GateError(TunewrightError):
    """A gate stopped the run. The hint names the switch that overrides it; the override is recorded."""

    exit_code = 3


class MachineError(TunewrightError):
    """The machine failed, not the input: disk full, permission denied, package index unreachable."""

    exit_code = 1


class CorruptError(MachineError):
    """A stored file does not match the hash or length in its manifest."""


class Interrupted(TunewrightError):
    """The user asked to stop. What was committed is kept and the same command goes on from there."""

    exit_code = 130


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that is most like ``name``, or None when nothing is close enough to suggest."""
    known = {candidate.lower(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return known[matches[0]] if matches else None


def shorten(value: object, limit: int = 200) -> str:
    """``value`` as one line of at most ``limit`` characters, so that a huge row cannot flood a message."""
    text = " ".join(typed(value).split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
