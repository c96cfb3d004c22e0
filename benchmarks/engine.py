"""The training engine beside its peers, on the same tokens in the same batches: writes docs/benchmarks.md.

    python benchmarks/engine.py --peers .venv-peers/bin/python [--jobs a b c] [--banking77 FOLDER] [--avx2] [--smoke]

a  every weight of SmolLM2-135M, on conversations: Tunewright, TRL, the Trainer of transformers
b  every weight of MiniLM-L6 with a fresh head, on BANKING77: Tunewright, the Trainer of transformers
c  LoRA of rank 16 on every projection of SmolLM2-135M: Tunewright, peft with TRL, peft with the Trainer

Each measurement is a process of its own and ends within ten minutes; its result is a file under runs/benchmarks/engine. What has
its file is not measured again: Tunewright's own results belong to its source code, the peers' to benchmarks/peers.txt. The peers
are searched on a short slice; the quickest few and their defaults are then measured on the long one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import _engine_search as searching
import _meter
import _page

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SECONDS = 600.0
THREADS = 2
FINALISTS = 3
"""How many of each class go on from the short slice to the long one."""

OURS = ("_ours_train.py", "_ours_gemm.py")
SLOW_MACHINE = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
"""What makes torch compute as on a laptop without AVX-512."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained, on how many rows, and how far first losses may be apart."""

    title: str
    kind: str
    unit: str
    batch_size: int
    num_long: int
    num_short: int
    warm_long: int
    warm_short: int
    bound: float


LANGUAGE = {
    "kind": "language", "unit": "useful tokens/s", "batch_size": 8, "num_long": 96, "num_short": 24, "warm_long": 3,
    "warm_short": 1, "bound": 0.02,
}  # fmt: skip
JOBS: Mapping[str, Job] = {
    "a": Job(title="SmolLM2-135M, every weight", **LANGUAGE),
    "b": Job(
        title="MiniLM-L6 on BANKING77, every weight", kind="classify", unit="examples/s", batch_size=32, num_long=9_984,
        num_short=640, warm_long=10, warm_short=5, bound=0.05,
    ),
    "c": Job(title="SmolLM2-135M, LoRA", **LANGUAGE),
}  # fmt: skip


class Bench:
    """One job on this machine: measures what is not measured yet, and writes its tables."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.job, self.options = name, JOBS[name], options
        self.variant = "-avx2" if options.avx2 else ""
        self.folder = ROOT / "runs" / "benchmarks" / f"engine{self.variant}{'-smoke' * options.smoke}" / name
        self.num_long = 2 * self.job.batch_size if options.smoke else self.job.num_long
        self.num_short = self.num_long if options.smoke else self.job.num_short
        self.warm_long = 1 if options.smoke else self.job.warm_long
        self.warm_short = 1 if options.smoke else self.job.warm_short

    # -- measuring

    def inputs(self, number: int) -> Path:
        """The rows, made once."""
        path = self.folder / f"inputs-{number}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"draft-{path.name}")
            program = [sys.executable, str(HERE / "_engine_inputs.py"), self.name, str(number), str(draft)]
            subprocess.run([*program, str(self.options.banking77)], check=True, env=environment(THREADS))
            head = draft.with_suffix(".head.safetensors")
            if head.is_file():
                head.replace(path.with_suffix(".head.safetensors"))
            draft.replace(path)
        return path

    def measure(
        self, program: str, setting: Mapping[str, Any], number: int, seconds: float = SECONDS
    ) -> dict[str, Any]:
        """The result of one process, from its file where it has one; it is stopped after so many seconds."""
        is_ours = program in OURS
        word = (
            f"{program.strip('_').removesuffix('.py')}-{setting.get('order', 'all')}"
            if is_ours
            else searching.name(setting)
        )
        inputs = self.inputs(number)
        path = self.folder / str(number) / f"{word}-{stamp(inputs, is_ours=is_ours)}.json"
        if not path.is_file():
            print(f"{self.name}: {number} rows, {word}", flush=True)
            python = sys.executable if is_ours else str(self.options.peers)
            extra = SLOW_MACHINE if self.options.avx2 else {}
            command = [python, str(HERE / program), str(inputs), json.dumps(dict(setting))]
            found = run(command, environment(setting["threads"], extra, is_ours=is_ours), min(seconds, SECONDS))
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".draft")
            draft.write_text(json.dumps({"setting": dict(setting), **found}, indent=1), encoding="utf-8")
            draft.replace(path)
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if is_ours and "error" in result:
            path.unlink()
            raise SystemExit(f"Tunewright itself failed:\n{result['error']}")
        return result

    def peer(self, setting: Mapping[str, Any], number: int, seconds: float = SECONDS) -> dict[str, Any]:
        """A peer's result; a compiled one reads twice as many rows of the short slice, so that it may settle."""
        twice = setting["compiled"] and number == self.num_short < self.num_long
        return self.measure("_peer_train.py", setting, 2 * number if twice else number, seconds)

    # -- reading results

    def warm(self, result: Mapping[str, Any], warm: int) -> int:
        """Updates before the steady state: as told, or the first half where everything is compiled."""
        return max(warm, len(result["read"]) // 2) if result["setting"].get("compiled") else warm

    def rate(self, result: Mapping[str, Any], warm: int, last: int | None = None) -> float:
        """Useful tokens, or examples, a second between the end of update ``warm`` and that of update ``last``."""
        ends = result["ends"][:last]
        if len(ends) <= warm:
            return 0.0
        read = result["read"] if self.job.kind == "language" else [self.job.batch_size] * len(result["read"])
        return float(sum(read[warm : len(ends)]) / (ends[-1] - ends[warm - 1]))

    def times(self, ours: Mapping[str, Any], peer: Mapping[str, Any]) -> float:
        """How many times quicker ours is, over the updates that both did."""
        warm = self.warm(peer, self.warm_long)
        last = len(ours["ends"]) if peer["setting"]["layout"] == "packed" else min(len(ours["ends"]), len(peer["ends"]))
        slower = self.rate(peer, warm, None if peer["setting"]["layout"] == "packed" else last)
        return self.rate(ours, warm, last) / slower if slower else float("nan")

    def whole_times(self, ours: Mapping[str, Any], peer: Mapping[str, Any]) -> float:
        """The same over whole processes, to the end of the last update that both did."""
        if peer["setting"]["layout"] == "packed":
            return float("nan")
        last = min(len(ours["ends"]), len(peer["ends"])) - 1
        return float(peer["ends"][last] / ours["ends"][last])

    def share(self, result: Mapping[str, Any], inputs: Mapping[str, Any], gflops: float, warm: int) -> float:
        """Useful operations of the steady state beside what the machine multiplies in that time."""
        ends = result["ends"]
        order = inputs["orders"][result["setting"]["order"]]
        work = sum(inputs["flops"][row] for rows in order[warm : len(ends)] for row in rows)
        if result["setting"].get("layout") == "packed":
            tokens = sum(result["read"][warm : len(ends)])
            work = sum(inputs["flops"]) * tokens / sum(map(len, inputs["ids"]))
        return float(work / (ends[-1] - ends[warm - 1]) / (gflops * 1e9)) if len(ends) > warm else 0.0

    # -- the whole

    def run(self) -> None:
        """Measure everything and write the tables."""
        ours = {
            order: self.measure("_ours_train.py", {"order": order, "threads": THREADS}, self.num_long)
            for order in OUR_ORDERS
        }
        gemm = self.measure("_ours_gemm.py", {"threads": THREADS}, self.num_long)
        if self.options.smoke:
            tried = [self.peer(setting, self.num_short) for setting in searching.first_list(self.job.kind)[:3]]
        else:
            tried = searching.search(
                self.job.kind,
                lambda setting, seconds: self.peer(setting, self.num_short, seconds),
                self.short_rate,
                has_bf16=not self.options.avx2,
            )
        finalists = [
            each["setting"]
            for is_equal in (True, False)
            for number, compiled in ((FINALISTS, (False, True)), (1, (False,)))
            for each in searching.quickest(tried, self.short_rate, is_equal=is_equal, number=number, compiled=compiled)
        ]
        settings = searching.unique([*searching.defaults(self.job.kind), *finalists])
        long = [self.peer(setting, self.num_long) for setting in settings]
        self.write(ours, gemm, tried, long)

    def short_rate(self, result: Mapping[str, Any]) -> float:
        """The rate on the short slice."""
        return self.rate(result, self.warm(result, self.warm_short))

    def long_rate(self, result: Mapping[str, Any]) -> float:
        """The rate on the long slice."""
        return self.rate(result, self.warm(result, self.warm_long))

    def soonness(self, result: Mapping[str, Any]) -> float:
        """Updates to each second of the whole process, its start and compilation included."""
        return float(len(result["ends"]) / result["ends"][-1])

    def write(
        self,
        ours: Mapping[str, Mapping[str, Any]],
        gemm: Mapping[str, Any],
        tried: list[dict[str, Any]],
        long: list[dict[str, Any]],
    ) -> None:
        """Both tables of the page; in a smoke run, on the terminal alone."""
        inputs = json.loads(self.inputs(self.num_long).read_text(encoding="utf-8"))
        quickest, peak = max(gemm["rates"].items(), key=lambda each: each[1])
        number = len(searching.defaults(self.job.kind))
        peers = [("default", result) for result in long[:number]]
        for is_equal, label in ((True, "with fp32 weights"), (False, "of all")):
            for how, rate in (("best", self.long_rate), ("soonest done", self.soonness)):
                found = searching.quickest(long, rate, is_equal=is_equal, number=1)
                peers += [
                    (f"{how} {label}", each) for each in found if each not in [known for _, known in peers[number:]]
                ]
        rows = [
            self.row("Tunewright", OUR_ORDERS[order], result, inputs, peak, ("1", "1"))
            for order, result in ours.items()
        ]
        for label, result in peers:
            setting = result["setting"]
            who = f"{'peft + ' if inputs['rank'] else ''}{'TRL' if setting['trainer'] == 'trl' else 'transformers'}, {label}"
            told = searching.told(setting, self.job.kind)
            if "error" in result:
                rows.append((who, told, result["error"].splitlines()[-1], *[""] * 6))
                continue
            mine = ours[setting["order"]]
            times = f"{self.times(mine, result):.1f}", f"{self.whole_times(mine, result):.1f}"
            rows.append(self.row(who, told, result, inputs, peak, times))
        columns = ("system", "how", self.job.unit, "Tunewright is faster, times", f"share of the {SHORT[quickest]} product rate",
                   "whole process", "faster, times", "peak memory",
                   "loss of the first batch (off the reference); of the last")  # fmt: skip
        measured = [each for each in [*ours.values(), gemm, *tried, *long] if "error" not in each]
        note = (
            f"Products at the model's shapes: {gemm['rates']['bfloat16']:.0f} GFLOP/s in bf16, {gemm['rates']['float32']:.0f} in "
            "fp32. Peers: "
            f"{versions(measured)}; {len(tried)} settings were tried on {self.num_short} rows, {len(long)} of them measured on "
            f"{self.num_long}. One-minute load of the machine before a measurement: at most "
            f"{max(each['load_before'] for each in measured):.1f}."
        )
        self.put("", columns, rows, note)
        self.put(
            "-search", ("setting", self.job.unit, "peak memory"), self.tried_rows(tried), f"On {self.num_short} rows."
        )

    def tried_rows(self, tried: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
        """Every setting that was tried, the quickest first; what failed says how."""
        rows = []
        for each in sorted(tried, key=lambda each: 0.0 if "error" in each else -self.short_rate(each)):
            told = f"{each['setting']['trainer']}: {searching.told(each['setting'], self.job.kind)}"
            if "error" in each:
                rows.append((told, each["error"].splitlines()[-1][:150].replace("|", "/"), ""))
            else:
                rows.append((told, f"{self.short_rate(each):.0f}", f"{each['peak_bytes'] / 1e9:.1f} GB"))
        return rows

    def row(
        self,
        who: str,
        how: str,
        result: Mapping[str, Any],
        inputs: Mapping[str, Any],
        peak: float,
        times: tuple[str, str],
    ) -> tuple[str, ...]:
        """One line of the table."""
        warm = self.warm(result, self.warm_long)
        whole = f"{result['ends'][-1]:.0f} s"
        if len(result["ends"]) < len(result["read"]):
            whole += f", stopped after {len(result['ends'])} of {len(result['read'])} updates"
        return (
            who, how, f"{self.rate(result, warm):.0f}", times[0], f"{self.share(result, inputs, peak, warm):.0%}", whole,
            times[1], f"{result['peak_bytes'] / 1e9:.1f} GB", self.losses(result, inputs),
        )  # fmt: skip

    def losses(self, result: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
        """The first batch's loss and how far it is off; the last one's."""
        first, last = result["losses"][0], result["losses"][-1]
        if result["setting"].get("layout") == "packed":
            return f"{first:.4f} (other batches); {last:.4f}"
        off = first - inputs["references"][result["setting"]["order"]]
        verdict = "" if abs(off) <= self.job.bound else f", MORE THAN {self.job.bound}"
        return f"{first:.4f} ({off:+.4f}{verdict}); {last:.4f}"

    def put(self, suffix: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str) -> None:
        """Write a section of the page, or only print it."""
        if self.options.smoke:
            print("\n".join(" | ".join(map(str, row)) for row in [columns, *rows]), note, sep="\n")
        else:
            _page.write(f"engine-{self.name}{self.variant}{suffix}", columns, rows, note)


SHORT = {"bfloat16": "bf16", "float32": "fp32"}
OUR_ORDERS = {"drawn": "the rows as drawn", "grouped": "batches of like length"}


def run(command: Sequence[str], variables: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """What a process tells in its last line, or ``error``. Compiled code is kept in a folder of its own: each starts cold."""
    with tempfile.TemporaryDirectory() as cache:
        started = {**variables, "TORCHINDUCTOR_CACHE_DIR": cache, _meter.STARTED: repr(time.time())}
        process = subprocess.Popen(
            command, env=started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            out, err = process.communicate(timeout=seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that compile for it
            process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return {"error": f"not done within {seconds:.0f} s"}
        if process.returncode == -signal.SIGKILL:
            return {"error": "killed for lack of memory"}
        if process.returncode:
            return {"error": err[-3000:].strip() or f"ended with {process.returncode}"}
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found


def environment(threads: int, extra: Mapping[str, str] | None = None, *, is_ours: bool = True) -> dict[str, str]:
    """The variables of a measured process: threads, and no network; a peer does not see this package."""
    kept = {name: value for name, value in os.environ.items() if is_ours or name != "PYTHONPATH"}
    number = str(threads)
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}
    return {**kept, **quiet, "OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number, **(extra or {})}


def stamp(inputs: Path, *, is_ours: bool) -> str:
    """What a result belongs to: the rows, and the source code or the versions of the peers."""
    rows = json.loads(inputs.read_text(encoding="utf-8"))
    digest = sha256(json.dumps([rows["ids"], rows["targets"], rows["orders"]]).encode())
    files = [HERE / name for name in OURS] if is_ours else [HERE / "peers.txt"]
    code = sorted(path for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".c", ".h")) if is_ours else []
    for path in [*files, *code]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def versions(results: Sequence[Mapping[str, Any]]) -> str:
    """The versions that the peers ran with."""
    found = next((each["versions"] | {"torch": each["torch"]} for each in results if "versions" in each), {})
    return ", ".join(f"{name} {number}" for name, number in found.items())


def main() -> None:
    """Run the jobs that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers/bin/python", help="python with the peers")
    parser.add_argument("--jobs", nargs="+", choices=sorted(JOBS), default=sorted(JOBS))
    parser.add_argument("--banking77", type=Path, default=ROOT / "../shared/data/en/banking77", help="for job b")
    parser.add_argument("--avx2", action="store_true", help="compute as on a machine without AVX-512")
    parser.add_argument(
        "--smoke", action="store_true", help="two batches, three settings, nothing is written to the page"
    )
    options = parser.parse_args()
    if shutil.which(str(options.peers)) is None:
        raise SystemExit(f"no python with the peers at {options.peers}: make bench-engine makes one")
    for name in options.jobs:
        if name == "b" and not (options.banking77 / "train.csv").is_file():
            print(f"b is left out: no train.csv in {options.banking77} (--banking77 FOLDER)")
            continue
        Bench(name, options).run()


if __name__ == "__main__":
    main()
