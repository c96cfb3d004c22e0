"""From what the user names to files that can be read: found, hashed, their format recognised, watched for change."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunewright import extensions
from tunewright.data.encoding import HEAD_BYTES
from tunewright.data.source.base import BaseSource, Layout
from tunewright.errors import InputError, MachineError, nearest
from tunewright.store.digest import sha256_file
from tunewright.types import Record, SourceFile, Tell, tell_nobody

FAMILY = "data.source"
_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".txt", ".text")
_ALLOWED = "a file in csv, tsv, jsonl, json, parquet or txt, a list of such files, or asset:NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """A file's content at one moment: SHA-256, bytes and time of change in nanoseconds."""

    sha256: str
    num_bytes: int
    changed_nanoseconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file to read: the name as the user wrote it, where it lies, and what it held when it was first looked at."""

    name: str
    path: Path
    fingerprint: Fingerprint

    def verify_unchanged(self) -> None:
        """Raise InputError if the file is no longer what it was: size, time of change, then every byte."""
        try:
            found = fingerprint(self.path)
        except OSError:
            found = None
        if found != self.fingerprint:
            raise InputError(
                "the file changed while it was read",
                where=self.name,
                given="gone" if found is None else f"{found.num_bytes:,} bytes, {found.sha256[:12]}",
                allowed=f"{self.fingerprint.num_bytes:,} bytes, {self.fingerprint.sha256[:12]}, as at the start",
                hint="wait until nothing writes to it, then type the same command again",
            )


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """An input with the source that reads it and its layout."""

    input: InputFile
    format: str
    source: BaseSource
    layout: Layout

    def records(self) -> Iterator[Record]:
        """The rows; their origins carry the path. Raises InputError where the file cannot be parsed."""
        return self.source.read(self.input.path)

    def describe(self, num_rows: int) -> SourceFile:
        """The file as it was read, once it has been read."""
        layout, print_ = self.layout, self.input.fingerprint
        notes = [f"delimiter: {layout.delimiter}"] if layout.delimiter else []
        if layout.has_header is not None:
            notes.append("header: yes" if layout.has_header else "header: no")
        notes.extend(dict.fromkeys((*layout.notes, *self.source.notes)))
        return SourceFile(
            path=self.input.name,
            format=self.format,
            encoding=layout.encoding,
            sha256=print_.sha256,
            num_bytes=print_.num_bytes,
            num_rows=num_rows,
            notes=tuple(notes),
        )


def fingerprint(path: Path) -> Fingerprint:
    """The content of a file now. Raises OSError."""
    state = path.stat()
    return Fingerprint(sha256=sha256_file(path), num_bytes=state.st_size, changed_nanoseconds=state.st_mtime_ns)


def find_input(name: str, option: str = "data.path", tell: Tell = tell_nobody) -> InputFile:
    """The file of this name, or of this asset. Raises InputError for one that is missing, a folder, or empty."""
    path = _asset(name, tell) if name.startswith("asset:") else Path(name).expanduser()
    if path.is_dir():
        raise _folder(name, path, option)
    if not path.exists():
        raise _missing(name, path, option)
    if not path.is_file():
        raise InputError("this is not a plain file", where=option, given=name, allowed=_ALLOWED, hint=f"{option}=FILE")
    try:
        found = fingerprint(path)
    except PermissionError:
        raise InputError(
            "this file may not be read",
            where=option,
            given=name,
            allowed="a file you may read",
            hint=shlex.join(["chmod", "u+r", name]),
        ) from None
    except OSError as error:
        raise MachineError(
            "this file cannot be read",
            where=name,
            given=error.strerror,
            allowed="a file that opens",
            hint="copy it to another disk and name the copy",
        ) from error
    if found.num_bytes == 0:
        raise empty(name, "0 bytes")
    return InputFile(name=name, path=path, fingerprint=found)


def open_input(found: InputFile, wanted: str | Mapping[str, Any] = "auto", max_row_bytes: int = 1 << 20) -> OpenedFile:
    """The input with a source that can read it.

    ``wanted`` is ``auto``, the name of a format, or a mapping with ``name`` and the options of that source. Raises
    InputError for a format or an option that does not exist, and for a file that no source can read.
    """
    given: dict[str, Any] = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
    name = str(given.pop("name", "auto"))
    if name == "auto":
        name = recognise_format(found.path)
    loaded: Any = extensions.load(FAMILY, name)
    try:
        source: BaseSource = loaded(loaded.Config(**{"max_row_bytes": max_row_bytes, **given}))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            str(first["msg"]),
            where=f"data.format.{'.'.join(map(str, first['loc']))}",
            given=first.get("input"),
            allowed=f"options of {name}: {', '.join(loaded.Config.model_fields)}",
            hint=f"data.format={name}",
        ) from None
    return OpenedFile(found, name, source, source.layout(found.path))


def recognise_format(path: Path) -> str:
    """The name of the source that is surest of the file."""
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    names = extensions.names(FAMILY)
    sure = {name: extensions.load(FAMILY, name)().recognise(path, head) for name in names}
    return max(names, key=lambda name: (sure[name], name))


def empty(name: str, given: str = "", *, has_header: bool | None = False) -> InputError:
    """The error for a file without a single row."""
    return InputError(
        "there is no row in this file",
        where=name,
        given=given or ("a header and no rows" if has_header else "blank lines only"),
        allowed="at least one row of text below the header",
        hint="look at the file, or name another: data.path=FILE",
    )


def _asset(name: str, tell: Tell) -> Path:
    from tunewright import assets

    path: Path = assets.fetch_data(name.removeprefix("asset:"), tell)
    return path


def _missing(name: str, path: Path, option: str) -> InputError:
    folder = path.parent
    if not folder.is_dir():
        problem = "the folder of this file does not exist"
        return InputError(problem, where=option, given=name, allowed=_ALLOWED, hint=f"ls {_nearest_folder(folder)}")
    candidates = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    stems = {Path(entry).stem: entry for entry in candidates}
    close = stems.get(nearest(path.stem, stems) or "")
    tables = [entry for entry in candidates if entry.lower().endswith(_SUFFIXES)]
    return InputError(
        "there is no such file",
        where=option,
        given=name,
        allowed=f"in this folder: {', '.join((tables or candidates)[:12])}" if candidates else _ALLOWED,
        hint=f"did you mean {folder / close}?" if close else f"give the path of a file: {option}=FILE",
    )


def _nearest_folder(folder: Path) -> Path:
    """The innermost folder on the way to ``folder`` that exists."""
    return next((parent for parent in (folder, *folder.parents) if parent.is_dir()), Path())


def _folder(name: str, path: Path, option: str) -> InputError:
    tables = sorted(entry.name for entry in path.iterdir() if entry.name.lower().endswith(_SUFFIXES))
    by_role: dict[str, str] = {}
    for entry in tables:
        stem = entry.lower()
        role = "test_path" if "test" in stem else "validation_path" if "val" in stem or "dev" in stem else "path"
        by_role.setdefault(role, entry)
    typed = " ".join(
        f"data.{role}={path / by_role[role]}" for role in ("path", "validation_path", "test_path") if role in by_role
    )
    return InputError(
        "this is a folder; name the file in it",
        where=option,
        given=name,
        allowed=f"it holds {', '.join(tables[:12])}" if tables else _ALLOWED,
        hint=typed or f"{option}=FILE",
    )


def as_names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """One name or several as a tuple."""
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)
