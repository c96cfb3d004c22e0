"""A tuned classifier before its judges: answers of the tuned model, of its base, and of models trained again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tunewright.adapt.save import load_model
from tunewright.evaluate.evaluate import evaluate
from tunewright.infer.load import load_trunk
from tunewright.infer.predict import make_encoder, predict_logits
from tunewright.judging.case import Case
from tunewright.judging.followed import curves_of, declared_metric
from tunewright.seams import Encoder
from tunewright.train import rows as embedding_rows
from tunewright.train.batches import Examples, read_examples
from tunewright.train.train import Fit, fit_quietly
from tunewright.types import SPLITS, Classified, Encoded, Floats, Ints, Report


@dataclass
class Bench:
    """The tuned model with all that is needed to judge it."""

    case: Case
    module: torch.nn.Module
    tokenizer: Any
    load_base: Callable[[], torch.nn.Module]
    _embeddings: dict[str, Floats] = field(default_factory=dict)

    def answers(self, split: str) -> Classified:
        """What the tuned model says about a split, in fp32, as it will be served."""
        return self._answer(read_examples(self.case.encoded, split), split)

    def seen(self, rows: Ints) -> Classified:
        """What the tuned model says about some of the rows it was trained on."""
        return self._answer(read_examples(self.case.encoded, "train").take(rows), "train")

    def _answer(self, examples: Examples, split: str) -> Classified:
        logits = predict_logits(self.module, examples.ids, tell=self.case.tell, label=f"answering the {split} rows")
        answer: Classified = self.case.task.decode(logits)
        return answer

    def gold(self, split: str) -> Classified:
        """The right answers of a split."""
        right: Classified = self.case.task.gold(self.case.dataset.table(split))
        return right

    def texts(self, split: str) -> Sequence[str]:
        """The texts of a split."""
        texts: list[str] = self.case.task.texts(self.case.dataset.table(split))
        return texts

    def encoder(self) -> Encoder:
        """The untouched base as an encoder; each text is embedded once. The base is loaded at the first call."""
        encode: Encoder | None = None

        def remembered(texts: Sequence[str]) -> Floats:
            nonlocal encode
            missing = [text for text in dict.fromkeys(texts) if text not in self._embeddings]
            if missing:
                if encode is None:
                    dtype = str(self.case.plan["train.dtype"])
                    encode = make_encoder(
                        self.load_base(), self.tokenizer, self.case.encoded.max_length, dtype, self.case.tell
                    )
                self._embeddings.update(zip(missing, encode(missing), strict=True))
            return np.stack([self._embeddings[text] for text in texts])

        return remembered

    def refit(self, train_rows: Ints, test_rows: Ints, repeat: int) -> Classified:
        """A fresh model tuned on some of all rows (train, validation, test in this order), asked about others."""
        module: Any = self.case.task.attach(self.case.base, self.case.recipe.seed + repeat)
        occurring = embedding_rows.rows_that_occur(self.case.encoded, self.case.encoded.splits)
        compaction = embedding_rows.compact(module, occurring)
        rows = all_examples(self.case.encoded, compaction.remap if compaction else None)
        fit = Fit(
            trainable=self.case.method.wrap(module, self.case.task.objective(), self.case.recipe.seed + repeat),
            plan=self.case.plan,
            config=self.case.recipe.train,
            seed=self.case.recipe.seed + repeat,
        )
        fit_quietly(fit, rows.take(train_rows), self.case.tell, "tuning for out-of-fold answers")
        logits = predict_logits(fit.trainable.module, rows.take(test_rows).ids)
        answer: Classified = self.case.task.decode(logits)
        return answer


def all_examples(encoded: Encoded, remap: Ints | None) -> Examples:
    """The examples of every split laid end to end, in the order in which an evaluation numbers all rows."""
    parts = [read_examples(encoded, split, remap) for split in SPLITS]
    return Examples(
        [ids for part in parts for ids in part.ids],
        torch.cat([part.targets for part in parts]),
        np.concatenate([part.row_ids for part in parts]),
    )


def judge_labels(case: Case) -> Report:
    """The Report on a tuned classifier."""
    tuned = load_model(case.model)
    bench = Bench(case, tuned.module, tuned.tokenizer, lambda: load_trunk(case.base.folder))
    return evaluate(
        case.recipe.evaluate,
        answers=bench.answers,
        seen=bench.seen,
        gold=bench.gold,
        texts=bench.texts,
        metrics=case.task.metrics,
        baselines=case.task.baselines,
        encoder=bench.encoder(),
        refit=bench.refit,
        curves=curves_of(case.events, declared_metric(case.task, case.dataset, case.recipe.evaluate.metric)[1]),
        command=case.command,
        run=case.run,
        tell=case.tell,
        units=case.dataset.units if case.dataset.has_units else None,
    )
