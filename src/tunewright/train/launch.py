"""Start the processes that train one model: torchrun, as a cluster's scheduler or this machine starts it.

On one machine nothing listens beyond loopback: torchrun's agent and the ranks meet at files in a private folder. The ranks
hang on this process by a pipe: when it ends, however it ends, they end; a word in it asks them to stop and keep what they have.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import GateError, InputError, Interrupted, MachineError, TunewrightError
from tunewright.store.run import RESULT, RunFolder
from tunewright.types import Choice, Watcher
from tunewright.words import counted

if TYPE_CHECKING:
    from tunewright.train.ranks import Alone

MEETING = "TUNEWRIGHT_MEETING"
"""The variable that names the file at which the ranks of one machine meet."""
OUTCOME = "ranks.json"
"""What the first rank leaves for the process that started it: its choices, and the error that ended it."""
LOOK_SECONDS = 0.5


class Launch:
    """How many processes train together, and where."""

    class Config(ComponentConfig):
        """Options of training on several processes or machines; torchrun starts them."""

        processes: int = Option(1, "Processes on each machine: one for each GPU.", ge=1, le=1024)
        nodes: int = Option(1, "Machines; the same command is given on each.", ge=1, le=10_000)
        rendezvous: str | None = Option(
            None,
            "Where several machines meet: one of them, as HOST:PORT. One machine needs none and listens on nothing.",
            pattern=r"^\S+:\d+$",
            examples=["10.0.0.1:29500"],
        )
        strategy: Literal["ddp", "fsdp"] = Option(
            "ddp", "ddp: each process holds the model; fsdp: each holds a part of weights, gradients and moments."
        )
        max_restarts: int = Option(
            3, "Restarts of all processes, from the last commit, after one of them has died.", ge=0, le=1000
        )


def rank_here() -> int | None:
    """This process's rank where torchrun has started it as one of several; None where it is alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    return int(os.environ["RANK"])


def needs_ranks(config: Launch.Config) -> bool:
    """Whether several processes are asked for and this is none of them."""
    return config.processes * config.nodes > 1 and rank_here() is None


def join(config: Launch.Config) -> Alone:
    """The ranks as torchrun's variables describe them; one process where there are none."""
    from tunewright.train.ranks import ALONE, Group

    rank = rank_here()
    if rank is None:
        return ALONE
    file = os.environ.get(MEETING)
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    place = "env://" if file is None else f"file://{file}-{restart}"
    return Group.meet(place, rank, int(os.environ["WORLD_SIZE"]), config.strategy)


def train_on_ranks(
    config: Launch.Config,
    folder: RunFolder,
    key: str,
    watcher: Watcher,
) -> list[Choice]:
    """Have the model of this run trained under ``key`` by several processes; the choices that they made.

    The stages up to the plan stand in ``folder``. Raises what the first rank raises, and what ``start_ranks`` does.
    """
    events = folder.events()
    last = len(events.read("evaluation"))

    def look() -> None:
        nonlocal last
        steps, evaluations = events.read("step"), events.read("evaluation")
        if steps:
            watcher.tell(
                f"training on {config.processes} processes", steps[-1]["step"], None, f"loss {steps[-1]['loss']}"
            )
        for number, evaluation in enumerate(evaluations[last:], last + 1):
            watcher.measured(number, float("nan") if evaluation["value"] is None else evaluation["value"])
        last = max(last, len(evaluations))

    leave(folder, None, ())
    try:
        start_ranks(config, [str(folder.folder), key], asked_to_stop=watcher.asked_to_stop, look=look)
    except MachineError:
        _raise_again(folder)
        raise
    _raise_again(folder)
    look()
    left: Any = folder.read_json(OUTCOME)
    return [Choice(**choice) for choice in left["choices"]]


def run_on_nodes(
    config: Launch.Config, out: str | Path | None, until: str, asked: Sequence[str], watcher: Watcher
) -> dict[str, Any]:
    """Start this machine's ranks of a run on several; ``asked`` is the recipe and its overrides. Returns the result.

    Raises InputError without a folder for the run, and what ``start_ranks`` does.
    """
    if config.rendezvous is None:
        raise InputError(
            "several machines need a place to meet",
            where=f"launch.nodes={config.nodes}",
            given="no launch.rendezvous",
            allowed="one of the machines, and a port that is free there",
            hint="launch.rendezvous=10.0.0.1:29500",
        )
    if out is None:
        raise InputError(
            "several machines need one folder for the run",
            where=f"launch.nodes={config.nodes}",
            given="no --out",
            allowed="a folder on a file system that every machine sees",
            hint="--out /shared/runs/NAME",
        )
    arguments = [str(out), until, *asked]
    start_ranks(config, arguments, asked_to_stop=watcher.asked_to_stop, look=lambda: None)
    return RunFolder.open(Path(out)).read_json(RESULT) or {}


@contextmanager
def leading(ranks: Alone) -> Iterator[None]:
    """Other ranks wait for what this one prepares; they are let go at the end."""
    try:
        yield
    finally:
        ranks.announce()
        ranks.end()


def leave(folder: RunFolder, error: TunewrightError | None, choices: Sequence[Choice]) -> None:
    """Write the outcome of a training for the process that started the ranks."""
    told = None if error is None else error.as_json()
    folder.write_document(OUTCOME, {"error": told, "choices": [asdict(choice) for choice in choices]})


def _raise_again(folder: RunFolder) -> None:
    left: Any = folder.read_json(OUTCOME)
    if left["error"] is not None:
        kinds = {kind.__name__: kind for kind in (InputError, GateError, MachineError, Interrupted)}
        parts = {name: left["error"][name] for name in ("problem", "where", "given", "allowed", "hint")}
        raise kinds.get(left["error"]["error"], MachineError)(parts.pop("problem"), **parts)


def start_ranks(
    config: Launch.Config, arguments: Sequence[str], *, asked_to_stop: Callable[[], bool], look: Callable[[], None]
) -> None:
    """Start torchrun, which starts ``python -m tunewright.joining ARGUMENTS`` as every rank, and wait for the end.

    ``look`` is called now and then. Raises MachineError where a rank fails more often than ``max_restarts``.
    """
    with tempfile.TemporaryDirectory(prefix="tunewright-ranks-") as private, tempfile.TemporaryFile(dir=private) as log:
        place = Path(private)
        agent = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "torch.distributed.run",
                *_meeting(config, place),
                *_ranks(config, place, arguments),
            ],
            env={**os.environ, **_environment(config, place)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            encoding="utf-8",
            start_new_session=True,  # an interruption is for this process, which asks the ranks to stop
        )
        try:
            _wait(agent, asked_to_stop, look)
        finally:
            assert agent.stdin is not None
            with suppress(BrokenPipeError):
                agent.stdin.close()  # the ranks end
            if agent.poll() is None:
                agent.terminate()
                agent.wait()
        log.seek(0)
        said = log.read().decode("utf-8", "replace")
    if agent.returncode:
        raise MachineError(
            f"a process of the training failed, {counted(config.max_restarts + 1, 'time')}",
            where=f"launch.processes={config.processes}",
            given=_last_error(said),
            allowed=f"{config.processes * config.nodes} processes that reach the end",
            hint="the same command goes on from the last commit; launch.processes=1 shows the failure by itself",
        )


def _wait(agent: subprocess.Popen[str], asked_to_stop: Callable[[], bool], look: Callable[[], None]) -> None:
    """Until the agent ends."""
    has_asked = False
    while True:
        try:
            agent.wait(timeout=LOOK_SECONDS)
            return
        except subprocess.TimeoutExpired:
            look()
            if asked_to_stop() and not has_asked and agent.stdin is not None:
                has_asked = True
                with suppress(BrokenPipeError):
                    agent.stdin.write("stop\n")
                    agent.stdin.flush()


def _meeting(config: Launch.Config, private: Path) -> list[str]:
    """Where the agents meet: a file on one machine, the named address on several."""
    if config.rendezvous is not None:
        own, there = _addresses(config.rendezvous)
        found = [f"--rdzv-endpoint={config.rendezvous}", f"--local-addr={own}", f"--rdzv-conf=is_host={own == there}"]
        return [f"--nnodes={config.nodes}", "--rdzv-backend=c10d", *found]
    return ["--nnodes=1", "--rdzv-backend=c10d", "--rdzv-conf=store_type=file", f"--rdzv-endpoint={private / 'agents'}"]


def _addresses(rendezvous: str) -> tuple[str, str]:
    """This machine's address on the way to the meeting place, and that of the place; nothing is sent."""
    host, _, port = rendezvous.rpartition(":")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0]), str(address[0])
    except OSError as error:
        raise MachineError(
            "the machine where all meet cannot be reached",
            where="launch.rendezvous",
            given=f"{rendezvous}: {error}",
            allowed="HOST:PORT of one of the machines",
        ) from error


def _ranks(config: Launch.Config, private: Path, arguments: Sequence[str]) -> list[str]:
    restarts = [f"--max-restarts={config.max_restarts}", "--rdzv-id=tunewright", f"--log-dir={private}"]
    return [f"--nproc-per-node={config.processes}", *restarts, "-m", "tunewright.joining", *arguments]


def _environment(config: Launch.Config, private: Path) -> Mapping[str, str]:
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // config.processes)))
    chosen = {"OMP_NUM_THREADS": threads}  # torchrun would say 1
    if config.nodes > 1:
        return chosen
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return chosen | {
        MEETING: str(private / "ranks"),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "GLOO_SOCKET_IFNAME": loopback,
    }


def _last_error(said: str) -> str:
    """The last line of a rank's traceback, without torchrun's own."""
    lines = [line.split("]:")[-1].strip() for line in said.splitlines()]
    errors = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception"))]
    own = [line for line in errors if "ChildFailedError" not in line]
    return own[-1] if own else (lines[-1] if lines else "no word")
