"""Stand-ins for text models: nats and answers that are drawn, so that the verdict is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.diagnose import Curves
from tunewright.evaluate.retention import retention
from tunewright.evaluate.text import TextSystem, evaluate_text
from tunewright.types import Floats, Ints, Likelihood, Report, Retention, Text

SUBJECTS = ("the sea", "a train", "old maps", "bread", "the moon", "雨水", "茶叶", "铁路", "音乐", "历史")


@dataclass
class Standin:
    """A system that needs ``nats`` for each dialogue and answers by ``write(reference, row)``."""

    nats: dict[str, Floats]
    write: Callable[[str, int], str] | None = None
    references: Sequence[str] = ()
    stops: float = 1.0
    asked: list[Ints] = field(default_factory=list)

    def likelihood(self, split: str) -> Likelihood:
        return Likelihood(self.nats[split], np.full(len(self.nats[split]), 12))

    def answers(self, split: str, rows: Ints) -> Text | None:
        assert split == "test"
        self.asked.append(rows)
        if self.write is None:
            return None
        texts = tuple(self.write(self.references[row], int(row)) for row in rows)
        stopped = np.arange(len(rows)) < round(self.stops * len(rows))
        return Text(texts, np.array([len(text) for text in texts]), stopped)


@dataclass
class Bench:
    """Dialogues in two languages, and what is handed to ``evaluate_text``."""

    sizes: dict[str, int]
    seed: int = 0

    def dialogues(self, split: str) -> list[list[tuple[str, bool]]]:
        rng = np.random.default_rng([self.seed, len(split)])
        chosen = rng.integers(0, len(SUBJECTS), self.sizes[split])
        return [
            [(f"What about {SUBJECTS[one]}?", False), (f"I know much about {SUBJECTS[one]}, 第{row}个。", True)]
            for row, one in enumerate(chosen)
        ]

    def references(self) -> list[str]:
        return [dialogue[-1][0] for dialogue in self.dialogues("test")]

    def system(
        self, gain: float, write: Any = lambda reference, row: reference, *, spread: float = 4.0, stops: float = 1.0
    ) -> Standin:
        """Needs 40 nats, give or take; ``gain`` fewer. The same rows are hard for every system."""
        nats = {}
        for split, size in self.sizes.items():
            rng = np.random.default_rng([self.seed, len(split)])
            own = np.random.default_rng([self.seed, len(split), round(1000 * abs(gain)) + 7 * (gain < 0)])
            nats[split] = 40 + rng.exponential(10, size) - gain + own.normal(0, spread, size) * (spread > 0)
        return Standin(nats, write, self.references(), stops)

    def judge(self, systems: dict[str, TextSystem], **options: Any) -> Report:
        references = self.references()
        config = {name: options.pop(name) for name in list(options) if name in Evaluate.Config.model_fields}
        return evaluate_text(
            Evaluate.Config(**{"resamples": 400, **config}),
            systems=systems,
            gold=Text(tuple(references), np.full(len(references), 14), np.ones(len(references), dtype=bool)),
            prompts=options.pop("prompts", [dialogue[0][0] for dialogue in self.dialogues("test")]),
            train_texts=self.dialogues("train"),
            validation_texts=self.dialogues("validation"),
            test_texts=self.dialogues("test"),
            curves=options.pop("curves", Curves(train_loss=(3.0, 2.0), validation_metric=(3.5, 3.2), epochs=2.0)),
            retention=options.pop("retention", kept),
            **options,
        )


def kept(language: str) -> Retention | None:
    """Perplexity 40 and then 44: a tenth is lost."""
    return retention(350 * np.log(40), 350 * np.log(44), 350) if language == "en" else None


@pytest.fixture
def bench() -> Bench:
    return Bench({"train": 120, "validation": 40, "test": 60})


@pytest.fixture
def make_bench() -> Callable[..., Bench]:
    return Bench
