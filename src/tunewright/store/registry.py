"""The shelf of tuned models: names, their versions, which one is live, and everything that was ever done to them.

    registry/
        registry.db         versions, and the log of events; the newest promotion or rollback of a name says what is live
        models/NAME/1/      a version's own files (`store/version.py`)
        .lock               held while files come and go

    add                   a row `adding` ─▶ files copied and synced ─▶ the row `kept`
    remove                the row `removed` ─▶ files taken away
    promote, rollback     one row in the log

Each row is one transaction. Files of a row that is not `kept` are taken away when the shelf is next opened, so a process
may be killed anywhere. What no row speaks of is never touched. The number of a version that was kept is not given again.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from tunewright.errors import GateError, InputError, MachineError, nearest
from tunewright.store import durable
from tunewright.store.database import WAIT_SECONDS, Database
from tunewright.store.document import render_line
from tunewright.store.events import now_utc
from tunewright.store.lock import locked
from tunewright.store.version import Version, copy_candidate, read_candidate, verify

DATABASE = "registry.db"
MODELS = "models"
LOCK = ".lock"

MIGRATIONS = (
    (
        """CREATE TABLE version (
            name TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL, digest TEXT NOT NULL, verdict TEXT NOT NULL,
            task TEXT NOT NULL, base TEXT NOT NULL, origin TEXT NOT NULL, created TEXT NOT NULL, note TEXT NOT NULL,
            PRIMARY KEY (name, number)) STRICT""",
        """CREATE TABLE event (
            id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, number INTEGER NOT NULL, action TEXT NOT NULL,
            back INTEGER REFERENCES event (id), reason TEXT NOT NULL, detail TEXT NOT NULL, moment TEXT NOT NULL,
            FOREIGN KEY (name, number) REFERENCES version (name, number)) STRICT""",
        "CREATE INDEX event_of_name ON event (name, action, id)",
    ),
)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NO_DETAIL: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that was done to a version: add, promote, rollback, remove, or keep (a challenger lost). Times are UTC."""

    number: int
    action: str
    reason: str
    detail: Mapping[str, Any]
    moment: str


class Registry:
    """The shelf in a folder. Any number of processes may use it at once; use it as a context manager."""

    def __init__(self, folder: Path, *, create: bool = False, wait_seconds: float = WAIT_SECONDS) -> None:
        """Open the shelf, or make it with ``create``; wait so long for others who write.

        Raises InputError where there is none, MachineError.
        """
        self.folder = folder
        if create:
            with durable.reported(folder):
                durable.make_folders(folder)
        self._wait_seconds = wait_seconds
        path = _database_path(folder, create)
        self._database = Database(path, MIGRATIONS, create=create, wait_seconds=wait_seconds)
        with suppress(MachineError), locked(folder / LOCK):  # whoever holds it cleans up by itself
            self._clean_up()

    def __enter__(self) -> Self:
        """The registry itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the database."""
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def changes(self) -> int:
        """A number that is another one after somebody else has changed the shelf; cheap to ask."""
        return self._database.version()

    # -------------------------------------------------------------------------------------------------------- looking

    def versions(self, name: str | None = None) -> tuple[Version, ...]:
        """The versions under a name (or all names), removed ones left out, the newest first.

        Raises InputError for a name that is not there.
        """
        if name is not None:
            self._require_name(name)
        rows = self._database.read(
            "SELECT * FROM version WHERE state = 'kept' AND (? IS NULL OR name = ?) ORDER BY name, number DESC",
            name,
            name,
        )
        return tuple(map(self._as_version, rows))

    def version(self, name: str, number: int) -> Version:
        """One version, removed or not. Raises InputError for one that never was."""
        self._require_name(name)
        rows = self._database.read(
            "SELECT * FROM version WHERE name = ? AND number = ? AND state != 'adding'", name, number
        )
        if not rows:
            numbers = ", ".join(str(each.number) for each in self.versions(name)[:10])
            raise _refusal("there is no such version", f"{name} {number}", numbers or "none: all are removed")
        return self._as_version(rows[0])

    def live(self, name: str) -> Version | None:
        """The version that is live, None where none has been promoted yet. Raises InputError for an unknown name."""
        self._require_name(name)
        pointer = self._pointer(name)
        return None if pointer is None else self.version(name, pointer["number"])

    def current(self, name: str) -> Version:
        """The version that is live. Raises InputError where there is none."""
        live = self.live(name)
        if live is None:
            number = self.versions(name)[0].number if self.versions(name) else "VERSION"
            hint = f"tunewright registry promote {name} {number}"
            raise InputError("no version is live", where="registry", given=name, allowed="a promoted name", hint=hint)
        return live

    def history(self, name: str) -> tuple[Event, ...]:
        """All that was done under a name, the newest first. Raises InputError for an unknown name."""
        self._require_name(name)
        rows = self._database.read("SELECT * FROM event WHERE name = ? ORDER BY id DESC", name)
        return tuple(
            Event(number=row["number"], action=row["action"], reason=row["reason"], detail=json.loads(row["detail"]),
                  moment=row["moment"])
            for row in rows
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------------- changing

    def add(self, name: str, run: Path, *, note: str = "", accept_verdict: bool = False) -> Version:
        """Put a copy of a finished run under ``name``; one that is there already, byte for byte, is returned as it is.

        Raises InputError for an unfit name or an unfinished run, GateError where the verdict is not ``better``, unless
        that is accepted (and logged); CorruptError for damaged files, MachineError.
        """
        _check_name(name)
        candidate = read_candidate(run)
        verdict = str(candidate.result.get("verdict", {}).get("outcome", "none"))
        if verdict != "better" and not accept_verdict:
            raise GateError(
                "the run has not been shown to be better than what there was",
                where=str(run),
                given=f"verdict: {verdict}",
                allowed="verdict: better",
                hint=f"to accept it all the same: tunewright registry add {name} {run} --accept-verdict",
            )
        with locked(self.folder / LOCK, self._wait_seconds):
            self._clean_up()
            for row in self._database.read(
                "SELECT * FROM version WHERE name = ? AND digest = ? AND state = 'kept'", name, candidate.digest
            ):
                return self._as_version(row)
            number = self._next_number(name)
            made = (name, number, candidate.digest, verdict, *candidate.described, str(run), now_utc(), note)
            with self._database.change() as change:
                change.execute("INSERT INTO version VALUES (?, ?, 'adding', ?, ?, ?, ?, ?, ?, ?)", made)
            try:
                copy_candidate(candidate, self._place(name, number))
            except BaseException:
                with suppress(MachineError):  # what stays is taken away when the shelf is next opened
                    self._clean_up()
                raise
            with self._database.change() as change:
                _mark(change, name, number, "kept")
                _log(change, name, number, "add", "" if verdict == "better" else f"accepted with verdict: {verdict}")
        return self.version(name, number)

    def promote(
        self,
        name: str,
        number: int,
        *,
        reason: str = "",
        detail: Mapping[str, object] = _NO_DETAIL,
        instead_of: int | None = None,
    ) -> Version:
        """Make a version live, once its files are verified; the one that is live stays live otherwise.

        With ``instead_of``, only if that version is still the live one. Raises InputError for a version that is not there,
        GateError where another one has become live, CorruptError, MachineError.
        """
        verify(self._require_present(self.version(name, number)))
        with self._database.change() as change:
            self._require_present(self.version(name, number))  # again: it may have been removed meanwhile
            pointer = self._pointer(name)
            if instead_of is not None and (pointer is None or pointer["number"] != instead_of):
                raise _overtaken(name, instead_of, pointer and pointer["number"])
            if pointer is None or pointer["number"] != number:
                _log(change, name, number, "promote", reason, detail, pointer and pointer["id"])
        return self.current(name)

    def rollback(self, name: str, *, reason: str = "") -> Version:
        """Make the version live that was live before this one; versions removed since are passed over.

        Raises InputError where there is none, CorruptError where its files are damaged, MachineError.
        """
        live = self.current(name)
        pointer = self._pointer(name)
        before = self._before(pointer)
        if before is None:
            raise _refusal("no other version has been live before", name, "a name with two promotions")
        verify(self.version(name, before["number"]))
        with self._database.change() as change:
            self._require_present(self.version(name, before["number"]))
            if self._pointer(name)["id"] != pointer["id"]:
                raise _overtaken(name, live.number, self._pointer(name)["number"])
            _log(change, name, before["number"], "rollback", reason, back=before["back"])
        return self.current(name)

    def keep(self, name: str, reason: str, detail: Mapping[str, object] = _NO_DETAIL) -> None:
        """Write down that a challenger was not promoted, and why."""
        with self._database.change() as change:
            _log(change, name, self.current(name).number, "keep", reason, detail)

    def remove(self, name: str, number: int) -> Version:
        """Take a version's files away; its number and its history stay. Raises InputError for the one that is live."""
        with locked(self.folder / LOCK, self._wait_seconds):
            with self._database.change() as change:
                version = self._require_present(self.version(name, number))
                if version.state == "live":
                    raise InputError(
                        "this version is live",
                        where=name,
                        given=f"version {number}",
                        allowed="a version that is not live",
                        hint=f"tunewright registry promote {name} another version, or tunewright registry rollback {name}",
                    )
                _mark(change, name, number, "removed")
                _log(change, name, number, "remove")
            self._clean_up()
        return replace(version, state="removed")

    # --------------------------------------------------------------------------------------------------------- inside

    def _place(self, name: str, number: int) -> Path:
        return self.folder / MODELS / name / str(number)

    def _next_number(self, name: str) -> int:
        found = self._database.read("SELECT max(number) FROM version WHERE name = ?", name)[0][0]
        place = self.folder / MODELS / name
        standing = [int(path.name) for path in place.iterdir() if path.name.isdecimal()] if place.is_dir() else []
        return 1 + max((found or 0, *standing))

    def _pointer(self, name: str) -> Any:
        rows = self._database.read(
            "SELECT * FROM event WHERE name = ? AND action IN ('promote', 'rollback') ORDER BY id DESC LIMIT 1", name
        )
        return rows[0] if rows else None

    def _before(self, pointer: Any) -> Any:
        """The promotion to go back to from ``pointer``, None where there is none."""
        event = pointer
        while event is not None and event["back"] is not None:
            event = self._database.read("SELECT * FROM event WHERE id = ?", event["back"])[0]
            number = event["number"]
            if number != pointer["number"] and self.version(event["name"], number).state != "removed":
                return event
        return None

    def _as_version(self, row: sqlite3.Row) -> Version:
        found = {key: row[key] for key in row.keys()}  # noqa: SIM118 - not a mapping
        pointer = self._pointer(row["name"])
        if pointer is not None and pointer["number"] == row["number"]:
            found["state"] = "live"
        return Version(folder=self._place(row["name"], row["number"]), **found)

    def _require_name(self, name: str) -> None:
        known = [row["name"] for row in self._database.read("SELECT DISTINCT name FROM event ORDER BY name")]
        if name not in known:
            close = nearest(name, known)
            hint = f"did you mean {close}?" if close else f"tunewright registry add {name} RUN"
            raise _refusal("there is no model of this name", name, ", ".join(known[:10]) or "nothing is here yet", hint)

    def _require_present(self, version: Version) -> Version:
        if version.state == "removed":
            numbers = ", ".join(str(each.number) for each in self.versions(version.name)[:10])
            raise _refusal("this version has been removed", f"{version.name} {version.number}", numbers or "none")
        return version

    def _clean_up(self) -> None:
        """Finish what a killed process left, under the lock: an addition is undone, a removal is done."""
        for row in self._database.read("SELECT * FROM version WHERE state != 'kept'"):
            place = self._place(row["name"], row["number"])
            with durable.reported(place):
                if place.exists():
                    durable.remove_atomically(place)
                if place.parent.is_dir():
                    durable.remove_orphans(place.parent)
            if row["state"] == "adding":
                with self._database.change() as change:
                    change.execute("DELETE FROM version WHERE name = ? AND number = ?", (row["name"], row["number"]))


def _database_path(folder: Path, create: bool) -> Path:
    path = folder / DATABASE
    if not create and not path.is_file():
        raise _refusal(
            "there is no registry here", str(folder), "the folder of a registry", "tunewright registry add NAME RUN"
        )
    return path


def _mark(change: Any, name: str, number: int, state: str) -> None:
    change.execute("UPDATE version SET state = ? WHERE name = ? AND number = ?", (state, name, number))


def _log(
    change: Any,
    name: str,
    number: int,
    action: str,
    reason: str = "",
    detail: Mapping[str, object] = _NO_DETAIL,
    back: int | None = None,
) -> None:
    change.execute(
        "INSERT INTO event (name, number, action, back, reason, detail, moment) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (name, number, action, back, reason, render_line(dict(detail)).decode(), now_utc()),
    )


def _overtaken(name: str, expected: int, found: int | None) -> GateError:
    return GateError(
        "another version has become live meanwhile",
        where=name,
        given="none" if found is None else f"version {found}",
        allowed=f"version {expected}, as it was when this began",
        hint=f"look at it, then decide again: tunewright registry show {name}",
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        allowed = "lower-case letters, digits, . _ -; at most 64 characters, the first a letter or digit"
        raise _refusal("this cannot be the name of a model", name, allowed, "tunewright registry add reviews RUN")


def _refusal(problem: str, given: str, allowed: str, hint: str = "tunewright registry list") -> InputError:
    return InputError(problem, where="registry", given=given, allowed=allowed, hint=hint)
