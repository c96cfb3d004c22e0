"""The Dataset as JSON and back: what the artefact's facts hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunewright.types import SPLITS, Choice, Dataset, Facts, Finding, Ledger, SourceFile

FORMAT = 1


def to_facts(dataset: Dataset) -> dict[str, object]:
    """Everything but the folder, as plain JSON."""
    return {
        "format": FORMAT,
        "splits": dict(dataset.splits),
        "columns": dict(dataset.columns),
        "labels": list(dataset.labels),
        "label_counts": {split: dict(counts) for split, counts in dataset.label_counts.items()},
        "ledger": dataset.ledger.as_json(),
        "findings": [asdict(finding) for finding in dataset.findings],
        "facts": asdict(dataset.facts),
        "files": [asdict(file) for file in dataset.files],
        "choices": [asdict(choice) for choice in dataset.choices],
        "fingerprint": dataset.fingerprint,
    }


def from_facts(folder: Path, facts: Mapping[str, Any]) -> Dataset:
    """The Dataset that lies in ``folder``."""
    return Dataset(
        folder=folder,
        splits={name: facts["splits"][name] for name in SPLITS},
        columns=facts["columns"],
        labels=tuple(facts["labels"]),
        label_counts=facts["label_counts"],
        ledger=Ledger(**facts["ledger"]),
        findings=tuple(Finding(**{**entry, "origins": tuple(entry["origins"])}) for entry in facts["findings"]),
        facts=Facts(**facts["facts"]),
        files=tuple(SourceFile(**{**entry, "notes": tuple(entry["notes"])}) for entry in facts["files"]),
        choices=tuple(Choice(**entry) for entry in facts["choices"]),
        fingerprint=facts["fingerprint"],
    )
