"""Power cuts, kills and failing disks at every operation of every writer of the store."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from crashes import CrashState, Tree, crash_states, materialise
from recording import ALLOCATING, FailingDisk, Killed, Mark, RecordingDisk
from tunewright.errors import MachineError, TunewrightError
from tunewright.store.artifact import Draft, commit_artifact, open_artifact, recover_folder
from tunewright.store.checkpoints import CheckpointStore
from tunewright.store.disk import Operation, disk, using
from tunewright.store.durable import replace_document
from tunewright.store.events import EventLog
from tunewright.store.run import RunFolder

Tell = Callable[[str, object], None]
"""A workload tells ``begin`` and ``done`` of each thing that it saves."""


@pytest.fixture(autouse=True)
def counted_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Private names are counted instead of drawn, so that each run of the tests sees the same states."""
    numbers = itertools.count(1)
    monkeypatch.setattr("secrets.token_hex", lambda size: f"{next(numbers):0{2 * size}x}")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder in memory where the machine has one: thousands of small trees come and go."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


# ---------------------------------------------------------------------------------------------------------- workloads
#
# Each saves a sequence of numbered things; `read` finds the number of what is there (0: nothing) and proves it whole.


def content(number: int) -> bytes:
    """Bytes over several sectors that tell their number."""
    return b"".join(f"{number}:{line:04d} 电影\n".encode() for line in range(60))


def fill(number: int) -> Callable[[Draft], None]:
    def write(draft: Draft) -> None:
        draft.write_bytes("权重.bin", content(number))
        draft.path("foreign.txt").write_text(f"{number}" * 600, encoding="utf-8")
        draft.write_json("number.json", {"number": number})

    return write


def check_filled(folder: Path, number: int) -> None:
    assert (folder / "权重.bin").read_bytes() == content(number)
    assert (folder / "foreign.txt").read_text(encoding="utf-8") == f"{number}" * 600
    assert json.loads((folder / "number.json").read_bytes()) == {"number": number}


def save_artifacts(root: Path, tell: Tell) -> None:
    standing = open_artifact(root / "cache" / "data")
    for number in range(1 if standing is None else int(standing.key.removeprefix("key ")), 4):
        tell("begin", number)
        commit_artifact(root / "cache" / "data", f"key {number}", fill(number), {"number": number})
        tell("done", number)


def read_artifact(root: Path) -> int:
    found = open_artifact(root / "cache" / "data")
    if found is None:
        return 0
    number = found.facts["number"]
    assert isinstance(number, int)
    assert found.key == f"key {number}"
    check_filled(found.folder, number)
    recover_folder(root / "cache")
    assert (again := open_artifact(root / "cache" / "data")) is not None
    assert again.digest == found.digest
    assert [path.name for path in (root / "cache").iterdir()] == ["data"]
    return number


METRICS = (0.0, 0.5, 0.9, 0.7, 0.7, 0.95, 0.6, 0.5, 0.8, 0.97, 0.4, 0.5, 0.3, 0.99, 0.6, 0.98, 0.9)


def save_checkpoints(root: Path, tell: Tell, last: int = 6) -> None:
    store = CheckpointStore(root / "checkpoints", identity="run")
    store.recover()
    latest = store.latest()
    for step in range(1 if latest is None else latest.step + 1, last + 1):
        tell("begin", step)
        store.commit(step, fill(step), {"seed": 7, "step": step}, METRICS[step])
        tell("done", step)


def read_checkpoints(root: Path) -> int:
    store = CheckpointStore(root / "checkpoints", identity="run")
    store.recover()
    latest, best = store.latest(), store.best()
    assert store.findings() == ()
    assert not list((root / "checkpoints").glob(".*")) if (root / "checkpoints").exists() else latest is None
    if latest is None:
        assert best is None
        return 0
    check_filled(latest.folder, latest.step)
    assert latest.position == {"seed": 7, "step": latest.step}
    assert best is not None
    assert best.metric == max(METRICS[1 : latest.step + 1]), "the best commit was lost"
    check_filled(best.folder, best.step)
    return latest.step


def save_documents(root: Path, tell: Tell) -> None:
    for number in range(read_document(root) + 1, 5):
        tell("begin", number)
        replace_document(root / "result.json", content(number))
        tell("done", number)


def read_document(root: Path) -> int:
    path = root / "result.json"
    found = path.read_bytes() if path.exists() else b"0:"
    number = int(found.partition(b":")[0])
    assert found == (content(number) if number else b"0:")
    return number


def save_events(root: Path, tell: Tell) -> None:
    with EventLog(root / "events.jsonl", batch_size=1000, flush_seconds=1e9, now=lambda: "2026-01-01") as log:
        standing = max((event["step"] for event in log.read("step")), default=0)
        for step in range(standing + 1, 6):
            tell("begin", step)
            log.append("step", step=step, loss=1 / step, note="损失" * 50)
            log.append("evaluation", step=step, accuracy=0.5)
            log.flush()
            tell("done", step)


def read_events(root: Path) -> int:
    log = EventLog(root / "events.jsonl")
    steps = [event["step"] for event in log.read("step")]
    evaluations = [event["step"] for event in log.read("evaluation")]
    assert all(event["note"] == "损失" * 50 for event in log.read("step"))
    assert steps == list(range(1, len(steps) + 1))
    assert evaluations[: len(steps) - 1] == steps[:-1], "an acknowledged event was lost"
    log.append("note", text="after the crash")
    log.flush()
    assert [event["step"] for event in EventLog(root / "events.jsonl").read("step")] == steps
    assert EventLog(root / "events.jsonl").read("note")[0]["text"] == "after the crash"
    return len(steps)


def save_stages(root: Path, tell: Tell) -> None:
    """Two runs; the second takes over the stage that the first has made."""
    for number in (1, 2):
        tell("begin", number)
        run = RunFolder.open(root / "runs" / f"run-{number}", create=True, identity=f"identity {number}")
        with run.lock():
            if run.read_json("result.json") is None:
                run.commit_stage("data", "key", fill(1), {"number": 1})
                run.write_document("recipe.yaml", f"配方: {number}\n")
                run.write_document("result.json", {"id": number})
        tell("done", number)


def read_stages(root: Path) -> int:
    finished = 0
    for number in (1, 2):
        folder = root / "runs" / f"run-{number}"
        if not (folder / "run.json").exists():
            break
        run = RunFolder.open(folder, identity=f"identity {number}")
        with run.lock():
            result = run.read_json("result.json")
            assert not list(folder.glob(".tmp-*"))
            artifact = open_artifact(run.stage("data"), "key")
        if result is None:
            break
        assert result == {"id": number}
        assert artifact is not None
        check_filled(artifact.folder, 1)
        assert run.document("recipe.yaml").read_text(encoding="utf-8") == f"配方: {number}\n"
        finished = number
    return finished


@dataclass(frozen=True)
class Workload:
    """``last`` is the number of its last save; ``num_states`` how many crash states must at least be met."""

    save: Callable[[Path, Tell], None]
    read: Callable[[Path], int]
    last: int
    num_states: int


WORKLOADS = {
    "artifacts": Workload(save_artifacts, read_artifact, 3, 850),
    "checkpoints": Workload(save_checkpoints, read_checkpoints, 6, 1800),
    "documents": Workload(save_documents, read_document, 4, 38),
    "events": Workload(save_events, read_events, 5, 38),
    "stages": Workload(save_stages, read_stages, 2, 230),
}
each_workload = pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)


def record(workload: Workload, root: Path, recorder: RecordingDisk) -> list[Operation | Mark]:
    root.mkdir(parents=True, exist_ok=True)
    with using(recorder):
        workload.save(root, lambda *note: recorder.mark(note))
    return recorder.log


def judge(tree: Tree, marks: Sequence[object], read: Callable[[Path], int], folder: Path) -> str:
    """What is wrong after recovery from a crash; empty if nothing is. ``folder`` is made for it."""
    folder.mkdir(parents=True)
    materialise(tree, folder)
    verdict = judge_folder(marks, read, folder)
    shutil.rmtree(folder)
    return verdict


def judge_folder(marks: Sequence[object], read: Callable[[Path], int], folder: Path) -> str:
    """Before or after, never torn, and no acknowledged save is lost."""
    notes = [note for note in marks if isinstance(note, tuple)]
    done = max((number for what, number in notes if what == "done"), default=0)
    begun = max((number for what, number in notes if what == "begin"), default=0)
    try:
        with using(RecordingDisk()):
            found = read(folder)
    except (TunewrightError, AssertionError, ValueError, KeyError, OSError) as error:
        return f"torn: {error}"
    return "" if done <= found <= begun else f"found {found}, acknowledged {done}, begun {begun}"


def wrongs(states: Iterable[CrashState], read: Callable[[Path], int], folder: Path) -> tuple[list[str], int]:
    """What went wrong after any of the crashes, and how many there were."""
    found = [judge(state.tree, state.marks, read, folder / str(number)) for number, state in enumerate(states)]
    return [verdict for verdict in found if verdict], len(found)


# -------------------------------------------------------------------------------------------------------- power cuts


@each_workload
def test_every_state_after_a_power_cut_recovers(workload: Workload, scratch: Path) -> None:
    log = record(workload, scratch / "root", RecordingDisk())
    wrong, number = wrongs(crash_states(log, scratch / "root", limit=200), workload.read, scratch / "states")
    assert wrong == []
    assert number >= workload.num_states


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_thousand_states_recover(scratch: Path) -> None:
    total = 0
    longer = Workload(partial(save_checkpoints, last=16), read_checkpoints, 16, 0)
    for name, workload in {**WORKLOADS, "checkpoints": longer}.items():
        log = record(workload, scratch / name, RecordingDisk())
        states = crash_states(log, scratch / name, limit=24_000, seed=1)
        wrong, number = wrongs(states, workload.read, scratch / f"states-{name}")
        assert wrong == []
        total += number
    assert total >= 50_000


def cut_after_kills(workload: Workload, kills: Sequence[int], folder: Path, every: int) -> tuple[list[str], int]:
    """Kill at the operations of these numbers, counted from each start; then finish; then judge power cuts of that."""
    recorder = RecordingDisk()
    for kill_at in kills:
        recorder.kill_at, recorder.num_operations = kill_at, 0
        with suppress(Killed):
            record(workload, folder / "root", recorder)
    recorder.kill_at = None
    resumed = len(recorder.log)
    log = record(workload, folder / "root", recorder)
    with using(RecordingDisk()):
        assert workload.read(folder / "root") == workload.last
    states = [state for state in crash_states(log, folder / "root", limit=2) if state.position >= resumed]
    promised = [state for state in states if isinstance(log[state.position], Mark)]
    return wrongs([*promised, *states[kills[0] % every :: every]], workload.read, folder / "states")


@each_workload
def test_killed_at_any_operation_then_resumed_then_cut_off(workload: Workload, scratch: Path) -> None:
    """What a killed process had not yet synced, the next one must not build upon unsynced."""
    num_operations = sum(isinstance(entry, Operation) for entry in record(workload, scratch / "0", RecordingDisk()))
    num_states = 0
    kills = sorted({*range(1, 13), *range(1, num_operations + 1, 1 + num_operations // 40)})
    for kill_at in kills:
        wrong, number = cut_after_kills(workload, [kill_at], scratch / str(kill_at), every=12)
        assert wrong == []
        num_states += number
    assert num_states > num_operations


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each_workload
def test_killed_three_times_then_cut_off(workload: Workload, scratch: Path) -> None:
    num_operations = sum(isinstance(entry, Operation) for entry in record(workload, scratch / "0", RecordingDisk()))
    generator = random.Random(3)
    for history in range(1, 301):
        kills = [generator.randint(1, num_operations) for _ in range(3)]
        wrong, _ = cut_after_kills(workload, kills, scratch / str(history), every=7)
        assert wrong == [], kills
        shutil.rmtree(scratch / str(history))


# ------------------------------------------------------------------------------------------------------ wrong protocols


def is_caught(log: Sequence[Operation | Mark], folder: Path, read: Callable[[Path], int]) -> bool:
    """Whether any crash during the log of a wrong protocol goes wrong."""
    states = enumerate(crash_states(log, folder / "root", limit=24))
    return any(judge(state.tree, state.marks, read, folder / "states" / str(number)) for number, state in states)


def without(kind: str, *names: str) -> Callable[[Operation | Mark], bool]:
    """Keeps every entry of a log but the operations of one kind on files or folders of these names."""
    return lambda entry: not (isinstance(entry, Operation) and entry.kind == kind and entry.path.name in names)


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        ("artifacts", without("sync_file", "权重.bin")),
        ("artifacts", without("sync_file", "manifest.json")),
        ("artifacts", without("sync_folder", "cache")),
        ("checkpoints", without("sync_file", "number.json")),
        ("checkpoints", without("sync_folder", "checkpoints")),
        ("checkpoints", without("sync_folder", "root")),
        ("documents", without("sync_folder", "root")),
        ("events", without("sync_file", "events.jsonl")),
        ("events", without("sync_folder", "root")),
        ("stages", without("sync_folder", "run-1")),
    ],
)
def test_a_protocol_that_leaves_out_one_kind_of_sync_is_caught(
    name: str, keep: Callable[[Operation | Mark], bool], scratch: Path
) -> None:
    workload = WORKLOADS[name]
    log = record(workload, scratch / "root", RecordingDisk())
    weaker = [entry for entry in log if keep(entry)]
    assert len(weaker) < len(log)
    assert is_caught(weaker, scratch, workload.read)


def rename_first(path: Path, content: bytes) -> None:
    disk().write_new(path.with_suffix(".new"), content, sync=False)
    disk().rename(path.with_suffix(".new"), path)
    disk().sync_file(path)
    disk().sync_folder(path.parent)


def remove_first(path: Path, content: bytes) -> None:
    disk().write_new(path.with_suffix(".new"), content)
    if path.exists():
        disk().unlink(path)
    disk().rename(path.with_suffix(".new"), path)
    disk().sync_folder(path.parent)


def write_again(path: Path, content: bytes) -> None:
    if path.exists():
        disk().unlink(path)
    disk().write_new(path, content)
    disk().sync_folder(path.parent)


@pytest.mark.parametrize("replace", [rename_first, remove_first, write_again])
def test_a_protocol_in_another_order_is_caught(replace: Callable[[Path, bytes], None], scratch: Path) -> None:
    def save(root: Path, tell: Tell) -> None:
        for number in (1, 2):
            tell("begin", number)
            replace(root / "result.json", content(number))
            tell("done", number)

    log = record(Workload(save, read_document, 2, 0), scratch / "root", RecordingDisk())
    assert is_caught(log, scratch, read_document)


# ---------------------------------------------------------------------------------------------------- order of syncing


@each_workload
def test_syncs_stand_before_and_after_every_rename(workload: Workload, scratch: Path) -> None:
    """File sync before, folder sync after; the log line only then; pruning only after the log line is synced."""
    log = record(workload, scratch / "root", RecordingDisk())
    operations = [entry for entry in log if isinstance(entry, Operation)]
    unsynced: set[Path] = set()
    synced: set[Path] = set()
    num_renames = 0
    for number, operation in enumerate(operations):
        path, kind = operation.path, operation.kind
        is_private = any(part.startswith(".tmp-") for part in path.relative_to(scratch).parts)
        if kind == "rename":
            num_renames += 1
            assert not [dirty for dirty in unsynced if dirty.is_relative_to(path)], operation
            after = operations[number + 1]
            assert (after.kind, after.path) == ("sync_folder", path.parent)
            moved = {old for old in synced if old.is_relative_to(path)}
            synced = (synced - moved) | {operation.target / old.relative_to(path) for old in moved if operation.target}
        elif kind == "sync_file":
            unsynced.discard(path)
            synced.add(path)
        elif kind == "sync_folder":
            unsynced.discard(path)
        elif kind in ("unlink", "rmdir"):
            assert is_private, "removed under its public name"
            assert not unsynced - {path.parent} - {p for p in unsynced if ".tmp-" in str(p)}, "removed too early"
            unsynced.discard(path)
        elif kind == "write" and path.name == "COMMITS.log":
            assert unsynced <= {path, path.parent}, "acknowledged before the commit is on the drive"
            unsynced.add(path)
        elif kind == "write":
            unsynced.add(path)
        else:
            unsynced.add((operation.target or path).parent)
    assert num_renames > 0 or workload is WORKLOADS["events"]
    stored = {path for path in (scratch / "root").rglob("*") if path.is_file() and path.name != ".lock"}
    linked = {entry.target for entry in operations if entry.kind == "link"}
    assert {path for path in stored if path not in linked} <= synced


@each_workload
def test_everything_is_made_private(workload: Workload, scratch: Path) -> None:
    """Folders 0700, files 0600, those that other libraries wrote included."""
    record(workload, scratch / "root", RecordingDisk())
    made = list((scratch / "root").rglob("*"))
    assert made
    assert not [path for path in made if path.stat().st_mode & 0o077]


# ------------------------------------------------------------------------------------------------------- failing disks


@pytest.mark.parametrize("persistent", [False, True], ids=["once", "persistent"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
@each_workload
def test_a_failure_of_any_operation_harms_nothing(
    workload: Workload, error: int, persistent: bool, scratch: Path
) -> None:
    kinds = ALLOCATING if error == errno.ENOSPC and persistent else None
    for fail_at in itertools.count(1):
        root = scratch / str(fail_at)
        root.mkdir()
        failing = FailingDisk(fail_at, error, persistent=persistent, kinds=kinds)
        marks: list[object] = []
        raised: bool | None = None
        try:
            with using(failing):
                workload.save(root, lambda *note, marks=marks: marks.append(note))
        except MachineError as failure:
            raised = all((failure.where, failure.given, failure.allowed, failure.hint))
        if failing.num_failures == 0:
            break
        assert raised is not False, "a part of the error is missing"
        if raised and (kinds or not persistent):
            assert not list(root.rglob(".tmp-*"))
        assert judge_folder(marks, workload.read, root) == ""
        if kinds:  # space was freed, and the same command is given again
            with using(RecordingDisk()):
                workload.save(root, lambda *_: None)
            assert workload.read(root) == workload.last
    assert fail_at > 6
