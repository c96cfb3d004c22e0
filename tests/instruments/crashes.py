"""From a log of disk operations, the states that a power cut may leave on the drive (the method of ALICE).

    RecordingDisk.log ─▶ crash_states ─▶ CrashState ─▶ materialise ─▶ the program under test recovers, and is judged

What was synced is there. Of what was not: each change of a folder's entries (create, rename, link, unlink) may be there
or not, in any combination, until that folder is synced; bytes added to a file may be there, missing, cut, or zero, until
that file is synced. A sync of a file does not make its name durable (POSIX promises no more).
Source: Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014, section 3 (abstract persistence model).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recording import Mark
from tunewright.store.disk import Operation

Tree = Mapping[str, bytes | None]
"""Relative path to content; None for a folder."""

_SECTOR_BYTES = 512
_EXHAUSTIVE = 4

Change = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class CrashState:
    """What is on the drive after a crash behind entry ``position`` of the log, and the marks made before it."""

    tree: Tree
    marks: tuple[object, ...]
    position: int


@dataclass(slots=True)
class _Folder:
    """Entries by name to inode number: as the program sees them, as the drive has them, and the changes in between."""

    live: dict[str, int] = field(default_factory=dict)
    durable: dict[str, int] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def change(self, *entries: tuple[str, int | None]) -> None:
        self.pending.append(entries)
        _apply(self.live, entries)

    def sync(self) -> None:
        self.durable, self.pending = dict(self.live), []

    def variants(self) -> list[dict[str, int]]:
        """The entries under each choice of pending changes; the first has all of them, the second none."""
        number = len(self.pending)
        if number <= _EXHAUSTIVE:
            choices = sorted(itertools.product((True, False), repeat=number), key=lambda c: (not all(c), any(c)))
        else:
            every = range(number)
            choices = [(True,) * number, (False,) * number]
            choices += [tuple(i < cut for i in every) for cut in range(1, number)]
            choices += [tuple(i >= cut for i in every) for cut in range(1, number)]
            choices += [tuple((i == one) is kept for i in every) for one in every for kept in (True, False)]
        found = []
        for choice in dict.fromkeys(choices):
            entries = dict(self.durable)
            for change in itertools.compress(self.pending, choice):
                _apply(entries, change)
            found.append(entries)
        return found


@dataclass(slots=True)
class _File:
    """Bytes: those that the drive surely has, and those added since."""

    durable: bytes = b""
    pending: bytes = b""

    def sync(self) -> None:
        self.durable, self.pending = self.durable + self.pending, b""

    def variants(self) -> list[bytes]:
        """The contents that a crash may leave; the first is whole, the second has nothing that was not synced."""
        added, half = self.pending, len(self.pending) // 2
        sectors = len(added) // _SECTOR_BYTES * _SECTOR_BYTES
        tails = [
            added,
            b"",
            added[:half],
            added[:_SECTOR_BYTES],
            added[:sectors],
            bytes(len(added)),
            added[:half] + bytes(len(added) - half),
            bytes(half) + added[half:],
        ]
        return [self.durable + tail for tail in dict.fromkeys(tails)]


class _Volume:
    """A small model of a file system: inodes, what is cached, what is durable."""

    def __init__(self, root: Path, tree: Tree) -> None:
        self.root = root
        self.folders = {0: _Folder()}
        self.files: dict[int, _File] = {}
        self._numbers = itertools.count(1)
        for path, content in sorted(tree.items()):
            self._create(root / path, content)
        for folder in self.folders.values():
            folder.sync()
        for file in self.files.values():
            file.sync()

    def apply(self, operation: Operation) -> None:
        path, target = operation.path, operation.target
        match operation.kind:
            case "mkdir":
                self._create(path, None)
            case "create":
                self._create(path, b"")
            case "write":
                self.files[self._inode(path)].pending += operation.content
            case "sync_file":
                self.files[self._inode(path)].sync()
            case "sync_folder":
                if path.is_relative_to(self.root):
                    self.folders[self._inode(path)].sync()
            case "rename":
                assert target is not None, operation
                assert target.parent == path.parent, operation
                self._parent(path).change((path.name, None), (target.name, self._inode(path)))
            case "link":
                assert target is not None, operation
                self._parent(target).change((target.name, self._inode(path)))
            case "unlink" | "rmdir":
                self._parent(path).change((path.name, None))

    def foreign(self, operation: Operation) -> list[Operation]:
        """The operations of another library that must have gone before a sync for the file to be as it is."""
        known = self._parent(operation.path).live.get(operation.path.name)
        before = b"" if known is None else self.files[known].durable + self.files[known].pending
        assert operation.content.startswith(before), f"written in place: {operation.path}"
        made = [] if known is not None else [Operation("create", operation.path)]
        added = operation.content[len(before) :]
        return made + ([Operation("write", operation.path, content=added)] if added else [])

    def trees(self, limit: int, generator: random.Random) -> Iterator[Tree]:
        """The trees of at most ``limit`` choices: all of them where that suffices; else all kept, all lost, random ones."""
        open_folders = [(number, node.variants()) for number, node in self.folders.items() if node.pending]
        open_files = [(number, node.variants()) for number, node in self.files.items() if node.pending]
        variants = [len(found) for _, found in open_folders] + [len(found) for _, found in open_files]
        for choice in _choices(variants, limit, generator):
            chosen = iter(choice)
            entries = {number: found[next(chosen)] for number, found in open_folders}
            contents = {number: found[next(chosen)] for number, found in open_files}
            yield self._tree(entries, contents)

    def _tree(self, entries: Mapping[int, dict[str, int]], contents: Mapping[int, bytes]) -> Tree:
        tree: dict[str, bytes | None] = {}
        waiting = [("", 0)]
        while waiting:
            prefix, number = waiting.pop()
            for name, inode in entries.get(number, self.folders[number].durable).items():
                if inode in self.files:
                    tree[prefix + name] = contents.get(inode, self.files[inode].durable)
                else:
                    tree[prefix + name] = None
                    waiting.append((f"{prefix}{name}/", inode))
        return tree

    def _create(self, path: Path, content: bytes | None) -> None:
        number = next(self._numbers)
        if content is None:
            self.folders[number] = _Folder()
        else:
            self.files[number] = _File(pending=content)
        self._parent(path).change((path.name, number))

    def _parent(self, path: Path) -> _Folder:
        return self.folders[self._inode(path.parent)]

    def _inode(self, path: Path) -> int:
        number = 0
        for part in path.relative_to(self.root).parts:
            number = self.folders[number].live[part]
        return number


def crash_states(
    log: Iterable[Operation | Mark], root: Path, *, before: Tree | None = None, limit: int = 48, seed: int = 0
) -> Iterator[CrashState]:
    """Every distinct state that a power cut during ``log`` may leave under ``root``, which then held ``before``.

    Behind each operation all combinations are tried if there are at most ``limit``; else ``limit`` of them, among which
    are everything kept, everything lost, and each single choice of the rest lost or kept; ``seed`` draws the others.
    """
    generator = random.Random(seed)
    volume = _Volume(root, before or {})
    marks: tuple[object, ...] = ()
    seen: set[tuple[int, int]] = set()
    for position, entry in _expand(log, volume):
        if isinstance(entry, Mark):
            marks = (*marks, entry.note)
        else:
            volume.apply(entry)
        for tree in volume.trees(limit, generator):
            key = (hash(frozenset(tree.items())), len(marks))
            if key not in seen:
                seen.add(key)
                yield CrashState(tree, marks, position)


def materialise(tree: Tree, folder: Path) -> None:
    """Write a tree into an empty folder."""
    for path, content in sorted(tree.items()):
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)


def read_tree(folder: Path) -> Tree:
    """The tree in a folder."""
    paths = sorted(folder.rglob("*"))
    return {p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() else None for p in paths}


def _expand(log: Iterable[Operation | Mark], volume: _Volume) -> Iterator[tuple[int, Operation | Mark]]:
    """The log with its positions, and before a sync what another library must have done to the file."""
    for position, entry in enumerate(log):
        if isinstance(entry, Operation) and entry.kind == "sync_file":
            for made in volume.foreign(entry):
                yield position, made
        yield position, entry


def _choices(variants: list[int], limit: int, generator: random.Random) -> list[tuple[int, ...]]:
    if math.prod(variants) <= limit:
        return list(itertools.product(*map(range, variants)))
    kept = [0] * len(variants)
    lost = [1] * len(variants)
    single = [
        (*base[:place], variant, *base[place + 1 :])
        for place, number in enumerate(variants)
        for variant in range(number)
        for base in (kept, lost)
    ]
    generator.shuffle(single)
    drawn = [tuple(generator.randrange(number) for number in variants) for _ in range(limit)]
    return list(dict.fromkeys([tuple(kept), tuple(lost), *single[: limit * 2 // 3], *drawn]))[:limit]


def _apply(entries: dict[str, int], change: Change) -> None:
    for name, inode in change:
        if inode is None:
            entries.pop(name, None)
        else:
            entries[name] = inode
