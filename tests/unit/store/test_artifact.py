"""Artefacts: whole or not at all, and every damaged byte is noticed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tunewright.errors import CorruptError, MachineError
from tunewright.store.artifact import Artifact, Draft, commit_artifact, link_artifact, open_artifact, recover_folder
from tunewright.store.disk import LocalDisk, Operation, using
from tunewright.store.manifest import MANIFEST


def fill(draft: Draft) -> None:
    draft.write_bytes("模型.bin", bytes(range(256)))
    draft.write_json("a.json", {"文": 1, "b": [1.5, None]})
    draft.path("foreign.txt").write_text("written by a library", encoding="utf-8")


def made(folder: Path, key: str = "key") -> Artifact:
    return commit_artifact(folder / "art", key, fill, {"rows": 3, "名": "电影"})


def test_what_was_committed_is_opened(tmp_path: Path) -> None:
    artifact = made(tmp_path / "not" / "there")
    assert open_artifact(artifact.folder) == open_artifact(artifact.folder, "key", verify=False) == artifact
    assert artifact.facts == {"rows": 3, "名": "电影"}
    assert artifact.num_bytes == sum(p.stat().st_size for p in artifact.folder.iterdir() if p.name != MANIFEST)
    assert (artifact.folder / "a.json").read_text(
        encoding="utf-8"
    ) == '{\n  "b": [\n    1.5,\n    null\n  ],\n  "文": 1\n}\n'
    assert [path.name for path in artifact.folder.parent.iterdir()] == ["art"]


def test_a_scratch_file_is_no_part_of_what_is_committed(tmp_path: Path) -> None:
    def fill_by_way_of_scratch(draft: Draft) -> None:
        with draft.scratch() as scratch:
            scratch.write(bytes(range(256)))
            scratch.seek(0)
            draft.write_bytes("模型.bin", scratch.read())

    artifact = commit_artifact(tmp_path / "art", "key", fill_by_way_of_scratch)
    assert {path.name for path in artifact.folder.iterdir()} == {"模型.bin", MANIFEST}
    assert (artifact.folder / "模型.bin").read_bytes() == bytes(range(256))


def test_the_manifest_holds_the_hashes_of_an_independent_reading(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    files = json.loads((artifact.folder / MANIFEST).read_bytes())["files"]
    contents = {p.name: p.read_bytes() for p in artifact.folder.iterdir() if p.name != MANIFEST}
    assert files == {n: {"length": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in contents.items()}


def test_equal_content_has_an_equal_digest_and_another_content_another(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a"), made(tmp_path / "b")
    other = commit_artifact(tmp_path / "c" / "art", "key", fill, {"rows": 4})
    assert first.digest == second.digest != other.digest


def test_absent_and_other_keys_are_none(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    assert open_artifact(tmp_path / "absent") is None
    assert open_artifact(tmp_path / "no" / "parent") is None
    assert open_artifact(artifact.folder, "other") is None


def test_the_same_key_is_not_filled_again(tmp_path: Path) -> None:
    artifact = made(tmp_path)

    def never(draft: Draft) -> None:
        raise AssertionError(draft)

    assert commit_artifact(artifact.folder, "key", never) == artifact


def test_another_key_replaces_and_leaves_nothing(tmp_path: Path) -> None:
    made(tmp_path)
    replaced = commit_artifact(
        tmp_path / "art", "new", lambda draft: draft.write_bytes("x", b"1"), lambda: {"late": True}
    )
    assert open_artifact(tmp_path / "art") == replaced
    assert replaced.facts == {"late": True}
    assert [path.name for path in tmp_path.iterdir()] == ["art"]
    assert sorted(path.name for path in replaced.folder.iterdir()) == [MANIFEST, "x"]


def test_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    (artifact.folder / "模型.bin").write_bytes(b"broken")
    assert made(tmp_path) == artifact
    assert open_artifact(artifact.folder) == artifact


# ----------------------------------------------------------------------------------------------------------- damage


def test_each_flipped_bit_of_the_manifest_is_found(tmp_path: Path) -> None:
    small = commit_artifact(tmp_path / "art", "key", lambda draft: draft.write_bytes("字", b"1"), {"n": 1})
    path = small.folder / MANIFEST
    sound = path.read_bytes()
    for place in range(len(sound)):
        for bit in range(8):
            path.write_bytes(sound[:place] + bytes([sound[place] ^ (1 << bit)]) + sound[place + 1 :])
            with pytest.raises(CorruptError):
                open_artifact(path.parent, verify=False)
    path.write_bytes(sound)
    assert open_artifact(path.parent) is not None


def test_each_cut_of_the_manifest_is_found(tmp_path: Path) -> None:
    path = made(tmp_path).folder / MANIFEST
    sound = path.read_bytes()
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        with pytest.raises(CorruptError):
            open_artifact(path.parent, verify=False)


def test_a_flip_in_each_byte_of_a_payload_is_found_and_named(tmp_path: Path) -> None:
    path = made(tmp_path).folder / "模型.bin"
    sound = path.read_bytes()
    bits = random.Random(1)
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ (1 << bits.randrange(8))]) + sound[place + 1 :])
        with pytest.raises(CorruptError, match="damaged") as caught:
            open_artifact(path.parent)
        assert caught.value.where == str(path)
        assert "SHA-256" in caught.value.allowed
        assert "same command again" in caught.value.hint


@pytest.mark.parametrize("length", [0, 1, 100, 255, 257])
def test_another_length_is_found_without_hashing(tmp_path: Path, length: int) -> None:
    path = made(tmp_path).folder / "模型.bin"
    path.write_bytes(bytes(range(256)).ljust(257)[:length])
    with pytest.raises(CorruptError, match="damaged"):
        open_artifact(path.parent, verify=False)


def remove(path: Path) -> None:
    path.unlink()


def link_elsewhere(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def swap(path: Path) -> None:
    path.write_bytes((path.parent / "a.json").read_bytes())


def add_stranger(path: Path) -> None:
    (path.parent / "pytorch_model.bin").write_bytes(b"")


def remove_manifest(path: Path) -> None:
    (path.parent / MANIFEST).unlink()


def fatten_manifest(path: Path) -> None:
    with (path.parent / MANIFEST).open("r+b") as file:
        file.truncate(17 << 20)


def deepen_manifest(path: Path) -> None:
    (path.parent / MANIFEST).write_bytes(b'{"a":' * 200_000)


@pytest.mark.parametrize(
    "damage", [remove, link_elsewhere, swap, add_stranger, remove_manifest, fatten_manifest, deepen_manifest]
)
def test_other_damage_is_found(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = made(tmp_path).folder
    damage(folder / "模型.bin")
    with pytest.raises(CorruptError):
        open_artifact(folder)


def test_a_manifest_cannot_reach_outside_its_folder(tmp_path: Path) -> None:
    folder = made(tmp_path).folder
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"]["../secret"] = manifest["files"].pop("a.json")
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(CorruptError, match="damaged"):
        open_artifact(folder)


def test_hidden_files_of_the_system_are_no_strangers(tmp_path: Path) -> None:
    folder = made(tmp_path).folder
    (folder / ".DS_Store").write_bytes(b"macOS")
    assert open_artifact(folder) is not None


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/a", "a\\b", "a\0b", "C:x", "a\n", MANIFEST, ".tmp-1", ".old-1", "a.", "a ", "字" * 90],
)
def test_names_with_a_path_in_them_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="safe file name"):
        Draft(tmp_path).path(name)


def test_a_folder_inside_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plain files"):
        commit_artifact(tmp_path / "art", "key", lambda draft: (draft.folder / "sub").mkdir())
    assert list(tmp_path.iterdir()) == []


def test_nan_in_json_or_facts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        commit_artifact(tmp_path / "art", "key", lambda draft: draft.write_json("a.json", {"x": float("nan")}))
    with pytest.raises(ValueError, match="JSON"):
        commit_artifact(tmp_path / "art", "key", fill, {"loss": float("inf")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, FileNotFoundError])
def test_what_fill_raises_passes_through_and_nothing_is_left(tmp_path: Path, error: type[BaseException]) -> None:
    def stopped(draft: Draft) -> None:
        draft.write_bytes("half", b"1")
        raise error

    with pytest.raises(error):
        commit_artifact(tmp_path / "art", "key", stopped)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError(f"Error while serializing: I/O error: No space left on device (os error {errno.ENOSPC})"),
    ],
)
def test_a_full_disk_met_by_another_library_is_told_in_four_parts(tmp_path: Path, error: Exception) -> None:
    def full(draft: Draft) -> None:
        raise error

    with pytest.raises(MachineError, match="the disk is full") as caught:
        commit_artifact(tmp_path / "art", "key", full)
    assert caught.value.where == str(tmp_path / "art")
    assert str(caught.value.given).startswith("ENOSPC")
    assert "MB are free now" in caught.value.allowed
    assert "same command again" in caught.value.hint


@pytest.mark.parametrize("content", [None, "somebody's own text"])
def test_what_is_not_an_artefact_is_never_replaced(tmp_path: Path, content: str | None) -> None:
    target = tmp_path / "art"
    if content is None:
        target.mkdir()
        (target / "thesis.txt").write_text("years of work", encoding="utf-8")
        (target / MANIFEST).write_text('{"name": "a web page"}', encoding="utf-8")
    else:
        target.write_text(content, encoding="utf-8")
    with pytest.raises(MachineError, match="not an artefact"):
        made(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["art"]
    assert target.is_file() or (target / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_the_faster_of_two_writers_wins_and_both_get_the_same(tmp_path: Path) -> None:
    found: list[Artifact] = []

    def slow(draft: Draft) -> None:
        fill(draft)
        found.append(made(tmp_path))

    late = commit_artifact(tmp_path / "art", "key", slow, {"rows": 3, "名": "电影"})
    assert late == found[0]
    assert [path.name for path in tmp_path.iterdir()] == ["art"]


def test_the_slower_writer_of_another_key_replaces(tmp_path: Path) -> None:
    def slow(draft: Draft) -> None:
        fill(draft)
        made(tmp_path, "first")

    assert commit_artifact(tmp_path / "art", "second", slow).key == "second"
    opened = open_artifact(tmp_path / "art")
    assert opened is not None
    assert opened.key == "second"


# ---------------------------------------------------------------------------------------------- links and recovery


class WithoutLinks(LocalDisk):
    def step(self, operation: Operation) -> None:
        if operation.kind == "link":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def test_linking_shares_the_bytes_and_verifies_them(tmp_path: Path) -> None:
    source = made(tmp_path / "a")
    linked = link_artifact(source, tmp_path / "b" / "art")
    assert linked.digest == source.digest
    assert (linked.folder / "模型.bin").samefile(source.folder / "模型.bin")
    assert open_artifact(linked.folder, "key") == linked


def test_without_links_the_bytes_are_copied(tmp_path: Path) -> None:
    source = made(tmp_path / "a")
    with using(WithoutLinks()):
        linked = link_artifact(source, tmp_path / "b" / "art")
    assert not (linked.folder / "模型.bin").samefile(source.folder / "模型.bin")
    assert open_artifact(linked.folder, "key") == linked


def test_a_damaged_source_is_not_linked(tmp_path: Path) -> None:
    source = made(tmp_path / "a")
    (source.folder / "模型.bin").write_bytes(bytes(256))
    with pytest.raises(CorruptError):
        link_artifact(source, tmp_path / "b" / "art")
    assert list((tmp_path / "b").iterdir()) == []


def test_one_moved_aside_is_found_and_brought_back(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    artifact.folder.rename(tmp_path / ".old-art-0123456789abcdef")
    (tmp_path / ".tmp-0123456789abcdef").mkdir()
    (tmp_path / ".tmp-0123456789abcdef" / "half").write_bytes(b"")
    (tmp_path / ".tmp-mine").write_bytes(b"somebody else's name")
    found = open_artifact(artifact.folder)
    assert found is not None
    assert found.digest == artifact.digest
    recover_folder(tmp_path)
    assert open_artifact(artifact.folder) == artifact
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-mine", "art"]
