"""Open wheels (zip) and source archives (tar.gz) as what they are here: untrusted containers of bytes.

Nothing is installed, imported or run. Only the wanted members are written, under a plain name that the caller chooses.
An archive with a link, a device, an absolute or climbing name, or two entries of one name is refused whole.
"""

from __future__ import annotations

import errno
import gzip
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

from tunewright.errors import CorruptError, InputError

_CHUNK_BYTES = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class Readable(Protocol):
    """Something that gives bytes when it is asked for them."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold: entries, bytes once unpacked, and unpacked bytes for each byte of the archive."""

    max_entries: int = 20_000
    max_bytes: int = 8 << 30
    max_ratio: int = 200


def extract(
    archive: Path, patterns: Sequence[str], place: Callable[[str], Path], limits: Limits | None = None
) -> dict[str, Path]:
    """Write the members that match ``patterns`` to ``place(base name)``; name -> path, by pattern, then by name.

    ``*`` in a pattern stands for any characters but a slash. Raises InputError for an archive that is refused, and
    CorruptError for one that is damaged or lacks a wanted member.
    """
    guard = _Guard(archive, limits or Limits())
    matchers = [re.compile("[^/]*".join(map(re.escape, pattern.split("*")))) for pattern in patterns]
    written: dict[str, Path] = {}
    walk = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    try:
        with walk(archive, guard) as members:
            for name, stream in members:
                if any(matcher.fullmatch(name) for matcher in matchers):
                    written[name] = guard.write(stream, place(guard.base_name(name)))
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile) and error.errno != errno.EINVAL:
            raise
        raise CorruptError("not a readable archive", where=str(archive), given=error) from error
    found: dict[str, Path] = {}
    for pattern, matcher in zip(patterns, matchers, strict=True):
        matching = {name: written[name] for name in sorted(written) if matcher.fullmatch(name)}
        if not matching:
            raise CorruptError("the archive lacks a wanted member", where=str(archive), given=pattern)
        found |= matching
    return found


class _Guard:
    """Watches one archive while it is read: its names, the number of entries, and the bytes that come out of it."""

    def __init__(self, archive: Path, limits: Limits) -> None:
        self._archive = archive
        self._max_entries = limits.max_entries
        self._bytes_left = min(limits.max_bytes, limits.max_ratio * max(archive.stat().st_size, 4096))
        self._names: set[str] = set()
        self._base_names: set[str] = set()

    def refuse(self, problem: str, given: object) -> InputError:
        return InputError(
            f"the archive {problem}",
            where=str(self._archive),
            given=given,
            allowed="plain files and folders with relative names, each name once, within the limits of size",
            hint="nothing of it was used; fetch it again from an index that you trust",
        )

    def admit(self, name: str) -> None:
        """Check the name of an entry; called once for each, wanted or not."""
        parts = name.rstrip("/").split("/")
        if not name or "\\" in name or "\0" in name or ":" in parts[0] or any(part in ("", "..") for part in parts):
            raise self.refuse("holds a name that could lead outside", name)
        if name.rstrip("/") in self._names:
            raise self.refuse("holds two entries of one name", name)
        self._names.add(name.rstrip("/"))
        if len(self._names) > self._max_entries:
            raise self.refuse("holds too many entries", f"over {self._max_entries}")

    def base_name(self, name: str) -> str:
        """The last part of a wanted name, under which it is written; two of them must not meet."""
        base_name = name.rpartition("/")[2]
        if base_name.casefold() in self._base_names:
            raise self.refuse("holds two wanted members of one file name", name)
        self._base_names.add(base_name.casefold())
        return base_name

    def spend(self, num_bytes: int) -> None:
        self._bytes_left -= num_bytes
        if self._bytes_left < 0:
            raise self.refuse("unpacks to more bytes than it may", f"{self._archive.stat().st_size:,} bytes packed")

    def write(self, stream: Readable, target: Path) -> Path:
        with target.open("wb") as file:
            while chunk := stream.read(_CHUNK_BYTES):
                file.write(chunk)
        return target


@dataclass(slots=True)
class _Metered:
    """A stream whose bytes are spent from the guard's allowance as they are read."""

    stream: Readable
    guard: _Guard

    def read(self, size: int, /) -> bytes:
        chunk = self.stream.read(size)
        self.guard.spend(len(chunk))
        return chunk


@contextmanager
def _zip_members(archive: Path, guard: _Guard) -> Iterator[Iterator[tuple[str, Readable]]]:
    with zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
        for entry in entries:
            guard.admit(entry.orig_filename)
            if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise guard.refuse("holds a link or a device", entry.filename)

        def members() -> Iterator[tuple[str, Readable]]:
            for entry in entries:
                if not entry.is_dir():
                    with opened.open(entry) as stream:
                        yield entry.filename, _Metered(stream, guard)

        yield members()


@contextmanager
def _tar_members(archive: Path, guard: _Guard) -> Iterator[Iterator[tuple[str, Readable]]]:
    with gzip.open(archive) as unpacked:
        metered = _Metered(unpacked, guard)
        # Streaming mode reads every byte through the meter, headers included, and never seeks.
        with tarfile.open(fileobj=cast("IO[bytes]", metered), mode="r|") as opened:

            def members() -> Iterator[tuple[str, Readable]]:
                for entry in opened:
                    guard.admit(entry.name)
                    if entry.isdir():
                        continue
                    stream = opened.extractfile(entry) if entry.isreg() and not entry.issparse() else None
                    if stream is None:
                        raise guard.refuse("holds a link or a device", entry.name)
                    yield entry.name, stream
                while metered.read(_CHUNK_BYTES):  # the checksum stands behind the padding
                    pass

            yield members()
