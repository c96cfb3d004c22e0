"""The result of a run as plain data: what ``result.json``, the report, the terminal and Python all show."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tunewright.config.load import Loaded
from tunewright.config.write import to_json
from tunewright.recipe import Recipe
from tunewright.report.config import Report as Shown
from tunewright.store.document import finite_or_none
from tunewright.types import SPLITS, Base, Checkpoint, Choice, Dataset, Encoded, Measure, Plan, Report

FORMAT = 1
PACKAGES = ("tunewright", "torch", "transformers", "tokenizers", "safetensors", "numpy", "scikit-learn", "pyarrow")


def data_part(dataset: Dataset, encoded: Encoded) -> dict[str, Any]:
    """What the data were, and what became of every row."""
    return {
        "data": {
            "files": [asdict(file) for file in dataset.files],
            "splits": dict(dataset.splits),
            "columns": dict(dataset.columns),
            "labels": list(dataset.labels),
            "label_counts": {split: dict(counts) for split, counts in dataset.label_counts.items()},
            "findings": [asdict(finding) for finding in dataset.findings],
            "facts": asdict(dataset.facts),
            "max_length": encoded.max_length,
            "num_tokens": encoded.num_tokens,
            "tokens_cut": encoded.tokens_cut,
            "length_histogram": {str(edge): count for edge, count in encoded.length_histogram.items()},
        },
        "ledger": encoded.ledger.as_json(),
    }


def model_part(base: Base) -> dict[str, Any]:
    """Which pretrained model was started from."""
    shown = asdict(base)
    return {"model": {**shown, "folder": str(base.folder), "notes": list(base.notes)}}


def training_part(
    plan: Plan, checkpoint: Checkpoint, events: Sequence[Mapping[str, Any]], metric: str
) -> dict[str, Any]:
    """How training went: the plan, every step and evaluation, the step whose weights were kept, and why it ended."""
    keys = ("step", "epoch", "loss", "lr", "gradient_norm", "skipped")
    steps = [{key: event.get(key) for key in keys} for event in events if event["kind"] == "step"]
    evaluations = [
        {
            "step": e["step"],
            "epoch": e["epoch"],
            "metric": metric,
            "value": e["value"],
            "loss": e["metrics"].get("loss"),
        }
        for e in events
        if e["kind"] == "evaluation"
    ]
    return {
        "plan": [asdict(choice) for choice in plan.choices],
        "curves": {
            "steps": steps,
            "evaluations": evaluations,
            "best_step": checkpoint.step,
            "best_value": checkpoint.metric,
            "stopped_because": checkpoint.stopped_because,
            "num_skipped": sum(bool(step["skipped"]) for step in steps),
        },
    }


def verdict_part(report: Report, dataset: Dataset, shown: Shown, task: Any) -> dict[str, Any]:
    """The numbers, the verdict and what stands behind them."""
    return {
        "metrics": {measure.name: _measure(measure) for measure in report.measures},
        "per_label": {label: dict(values) for label, values in report.per_label.items()},
        "systems": {name: dict(values) for name, values in report.systems.items()},
        "validation": {name: dict(values) for name, values in report.validation.items()},
        "thresholds": dict(report.thresholds),
        "out_of_scope": report.out_of_scope,
        "judged_on": report.judged_on,
        "num_judged": report.num_rows,
        "verdict": asdict(report.verdict),
        "diagnosis": asdict(report.diagnosis),
        "figures": dict(report.figures),
        "errors": shown.select_errors(_errors(report, dataset, task)),
        **({"dialogues": shown.select_dialogues(_dialogues(report, dataset))} if report.answered else {}),
    }


def next_commands(folder: Path, report: Report) -> list[str]:
    """What to type to use the tuned model: talk with one whose answers were generated, ask one that chooses labels."""
    run = str(folder)
    if report.verdict.checks:
        return [shlex.join(["tunewright", "chat", run, "--base"]), shlex.join(["tunewright", "serve", run])]
    predict = ["tunewright", "predict", run]
    return [shlex.join([*predict, "your text here"]), shlex.join([*predict, "FILE", "-o", "answers.csv"])]


def config_part(loaded: Loaded[Recipe], choices: Sequence[Choice]) -> dict[str, Any]:
    """The filled recipe with the origin of each value, and every choice made for the user."""
    return {"config": to_json(loaded), "choices": [asdict(choice) for choice in choices]}


def environment_part() -> dict[str, Any]:
    """The machine and the versions, by an allow-list; no variable of the environment is recorded."""
    import torch

    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return {
        "environment": {
            "python": sys.version.split()[0],
            "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
            "cpu": _cpu(),
            "cpu_features": [torch.backends.cpu.get_cpu_capability()],
            "threads": torch.get_num_threads(),
            "packages": found,
        }
    }


def plain(value: Any) -> Any:
    """The value as JSON can hold it: numbers that are not finite become null, tuples lists, paths text."""
    return finite_or_none(value)


def _measure(measure: Measure) -> dict[str, Any]:
    shown = asdict(measure)
    del shown["name"]
    return shown


def _errors(report: Report, dataset: Dataset, task: Any) -> list[dict[str, object]]:
    """The most confident errors with their origin; judged rows are those of one split, or of all laid end to end."""
    import pyarrow as pa

    splits = ("test",) if report.judged_on == "test" else SPLITS
    rows = pa.concat_tables([dataset.table(split) for split in splits])
    indices = pa.array([worst.index for worst in report.worst], pa.int64())
    taken = rows.take(indices)
    texts = task.texts(taken)
    places = zip(taken["id"].to_pylist(), taken["file"].to_pylist(), taken["line"].to_pylist(), texts, strict=True)
    return [
        {
            "id": id_,
            "origin": f"{file}:{line}",
            "text": text,
            "gold": worst.gold,
            "answered": worst.answered,
            "confidence": worst.confidence,
        }
        for worst, (id_, file, line, text) in zip(report.worst, places, strict=True)
    ]


def _dialogues(report: Report, dataset: Dataset) -> list[dict[str, object]]:
    """The answered test dialogues with their origin."""
    rows = dataset.table("test").take([row.index for row in report.answered])
    places = zip(rows["id"].to_pylist(), rows["file"].to_pylist(), rows["line"].to_pylist(), strict=True)
    return [
        {"id": id_, "origin": f"{file}:{line}", **asdict(row)}
        for row, (id_, file, line) in zip(report.answered, places, strict=True)
    ]


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
