"""A run on several processes: the losses of one, nothing that listens off loopback, and exact after a process has died."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_reviews import sentences, write_csv

from tunewright.pipeline import run
from tunewright.store.checkpoints import CheckpointStore
from tunewright.store.digest import sha256_file
from tunewright.store.events import EventLog

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes under /proc")
CLOSE = 1e-5
SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture
def options(tmp_path: Path, tiny_bert_folder: Path) -> list[str]:
    """A recipe without dropout: which row gets which dropout depends on the number of processes."""
    folder = tmp_path / "base"
    shutil.copytree(tiny_bert_folder, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config | quiet), encoding="utf-8")
    numerics = ["train.dtype=fp32", "train.threads=2", "train.lr=1e-3", "train.patience=0"]
    return [f"model={folder}", "task=classify", "train.batch_size=8", "train.epochs=2", *numerics]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "rows.csv", ("text", "label"), sentences(90))


def losses(folder: Path) -> list[list[float]]:
    """Of every step and every evaluation."""
    events = EventLog(folder / "events.jsonl")
    return [
        [event["loss"] for event in events.read("step")],
        [event["metrics"]["loss"] for event in events.read("evaluation")],
    ]


def processes(*words: str) -> list[int]:
    """The processes with these words in their command."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                command = (path / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if all(word in command for word in words):
                found.append(int(path.name))
    return found


def ranks_of(folder: Path) -> list[int]:
    """The ranks of a run, without torchrun's agent."""
    agents = set(processes("torch.distributed.run", str(folder)))
    return [pid for pid in processes("tunewright.joining", str(folder)) if pid not in agents]


def listeners(pids: list[int]) -> Iterator[str]:
    """Addresses off loopback on which these processes listen, in the kernel's hexadecimal form."""
    sockets = set()
    for pid in pids:
        try:
            sockets |= {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
        except OSError:
            continue
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            address = fields[1].rpartition(":")[0]
            own = (address.endswith("7F") and len(address) == 8) or (
                address.endswith("01000000") and len(address) == 32
            )
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets and not own:
                yield fields[1]


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "waited too long"
        time.sleep(0.02)


def test_two_processes_on_this_machine_train_as_one_and_listen_to_nobody(
    tmp_path: Path, options: list[str], rows: Path, start_process: Callable[..., Any]
) -> None:
    alone, together = tmp_path / "a" / "run", tmp_path / "b" / "run"
    options = [*options, "train.epochs=1"]  # the only commit is the last: all ranks wait for it
    command = ("-m", "tunewright", "train", rows, *options, "launch.processes=2", "--out", together)
    started = start_process(sys.executable, *command)
    found: set[str] = set()
    seen: set[int] = set()
    while started.poll() is None:
        pids = [started.pid, *processes("tunewright.joining", str(together))]
        seen |= set(pids)
        found |= set(listeners(pids))
        time.sleep(0.1)
    assert started.returncode == 0, started.communicate()
    assert len(seen) >= 4, "the command, torchrun's agent and two ranks"
    assert found == set()
    run(str(rows), out=alone, overrides=options, until="train")
    for ours, expected in zip(losses(together), losses(alone), strict=True):
        assert ours == pytest.approx(expected, rel=0, abs=CLOSE)


def test_a_torchrun_that_somebody_else_has_started_is_joined(
    tmp_path: Path, options: list[str], rows: Path, start_process: Callable[..., Any]
) -> None:
    """As Slurm, Kubernetes, Ray and SkyPilot start it: the ranks are there before the command is."""
    alone, together = tmp_path / "a" / "run", tmp_path / "b" / "run"
    options = [*options, "train.epochs=1"]
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--local-addr=127.0.0.1")
    command = ("-m", "tunewright", "train", rows, *options, "--out", together)
    started = start_process(sys.executable, *torchrun, *command)
    _, said = started.communicate(timeout=200)
    assert started.returncode == 0, said
    run(str(rows), out=alone, overrides=options, until="train")
    for ours, expected in zip(losses(together), losses(alone), strict=True):
        assert ours == pytest.approx(expected, rel=0, abs=CLOSE)


LONG = ("train.epochs=40", "train.commit_seconds=0.1", "launch.processes=2")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_whoever_dies_the_run_ends_with_the_same_bits(
    tmp_path: Path, options: list[str], rows: Path, start_process: Callable[..., Any], strategy: str
) -> None:
    asked = [*options, *LONG, f"launch.strategy={strategy}"]
    undisturbed, hurt = tmp_path / "a" / "run", tmp_path / "b" / "run"
    checkpoints = CheckpointStore(hurt / "checkpoints")

    def start(folder: Path) -> Any:
        return start_process(sys.executable, "-m", "tunewright", "train", rows, *asked, "--out", folder)

    def has_gone_on(step: int) -> bool:
        return any(commit.step > step for commit in checkpoints.commits())

    first = start(undisturbed)
    assert first.wait(300) == 0, first.communicate()
    second = start(hurt)
    wait_for(lambda: has_gone_on(0))
    before = ranks_of(hurt)
    assert len(before) == 2
    os.kill(before[1], signal.SIGKILL)
    wait_for(lambda: not set(before) & set(ranks_of(hurt)), seconds=10)  # noticed, and all have ended
    step = checkpoints.commits()[-1].step
    wait_for(lambda: has_gone_on(step))

    left = ranks_of(hurt)
    second.kill()  # the command itself: its ranks must not outlive it
    second.wait()
    wait_for(lambda: not set(left) & set(ranks_of(hurt)), seconds=30)
    third = start(hurt)
    step = checkpoints.commits()[-1].step
    wait_for(lambda: has_gone_on(step))
    third.send_signal(signal.SIGINT)
    assert third.wait(60) == 130, third.communicate()
    last = start(hurt)
    assert last.wait(300) == 0, last.communicate()
    assert losses(hurt) == losses(undisturbed)
    assert sha256_file(hurt / "model" / "model.safetensors") == sha256_file(undisturbed / "model" / "model.safetensors")


@pytest.fixture
def two_hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a cable, 10.77.0.1 and 10.77.0.2."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the command ip")
    one, two = (f"tunewright{os.getpid()}{end}" for end in "ab")
    steps = [f"ip netns add {one}", f"ip netns add {two}"]
    steps += [f"ip -n {one} link add cable1 type veth peer name cable2 netns {two}"]
    for number, name in ((1, one), (2, two)):
        steps += [f"ip -n {name} addr add 10.77.0.{number}/24 dev cable{number}"]
        steps += [f"ip -n {name} link set cable{number} up", f"ip -n {name} link set lo up"]
    try:
        for step in steps:
            done = audited(step)
            if done.returncode:
                pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
        yield one, two
    finally:
        for name in (one, two):
            audited(f"ip netns delete {name}")


def audited(command: str) -> subprocess.CompletedProcess[str]:
    import audit_hook

    done: subprocess.CompletedProcess[str] = audit_hook.start(
        subprocess.run, command.split(), capture_output=True, encoding="utf-8", check=False
    )
    return done


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hosts_train_as_one(
    tmp_path: Path, options: list[str], rows: Path, start_process: Callable[..., Any], two_hosts: tuple[str, str]
) -> None:
    alone, together = tmp_path / "a" / "run", tmp_path / "b" / "run"
    nodes = ("launch.processes=1", "launch.nodes=2", "launch.rendezvous=10.77.0.1:29517", "--out", together)
    command = (sys.executable, "-m", "tunewright", "train", rows, *options, *nodes)
    started = []
    for number, host in enumerate(two_hosts, 1):
        # the two speak over a network of their own, so the watch over this machine's connections is not theirs
        environment = {"PYTHONPATH": str(SOURCE), "GLOO_SOCKET_IFNAME": f"cable{number}"}
        started.append(start_process("ip", "netns", "exec", host, *command, environment=environment))
    for process in started:
        _, said = process.communicate(timeout=500)
        assert process.returncode == 0, said
    run(str(rows), out=alone, overrides=options, until="train")
    for ours, expected in zip(losses(together), losses(alone), strict=True):
        assert ours == pytest.approx(expected, rel=0, abs=CLOSE)
