"""A tuned tagger before its judges: the spans that it finds in raw text, as it is served, and those of its untouched base."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from tunewright.adapt.save_tagger import load_tagger
from tunewright.adapt.tag_encoder import TagEncoder
from tunewright.evaluate.resample import sample_rows
from tunewright.evaluate.spans import evaluate_spans
from tunewright.infer.forward import run_trunk
from tunewright.infer.load import load_tokenizer, load_trunk
from tunewright.infer.tagging import find_spans, word_logits
from tunewright.infer.tags import Tags
from tunewright.judging.case import Case
from tunewright.judging.followed import curves_of, declared_metric
from tunewright.types import Batch, Ints, Report, Spans

MOST_ROWS = 2_000
"""Training rows from which the means of the untouched base are taken."""

ROWS_AT_ONCE = 100
"""Rows whose states are in memory at once."""

SCALES = (5.0, 10.0, 20.0, 40.0)


def judge_spans(case: Case) -> Report:
    """The Report on a tuned tagger."""
    tuned = load_tagger(case.model)

    def texts(split: str) -> list[str]:
        found: list[str] = case.task.texts(case.dataset.table(split))
        return found

    def gold(split: str) -> Spans:
        found: Spans = case.task.gold(case.dataset.table(split))
        return found

    def answered(given: list[str], what: str) -> Spans:
        found = find_spans(tuned.module, tuned.tokenizer, tuned.tags, given, tuned.max_length, case.tell, what)
        return Spans(tuned.tags.labels, tuple(found))

    def seen(rows: Ints) -> Spans:
        given = texts("train")
        return answered([given[row] for row in rows], "answering the train rows")

    return evaluate_spans(
        case.recipe.evaluate,
        answers=lambda split: answered(texts(split), f"answering the {split} rows"),
        untouched=cache(lambda: _Untouched.of(case, tuned.tags)),
        seen=seen,
        gold=gold,
        texts=texts,
        metrics=case.task.metrics,
        baselines=case.task.baselines,
        curves=curves_of(case.events, declared_metric(case.task, case.dataset, case.recipe.evaluate.metric)[1]),
        command=case.command,
        run=case.run,
        tell=case.tell,
    )


@dataclass(frozen=True, slots=True)
class _Logits:
    logits: torch.Tensor


class _States(torch.nn.Module):
    """The frozen state of each marked token, as it is."""

    def __init__(self, trunk: torch.nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, batch: Batch) -> _Logits:
        """States[P, H]."""
        at_P = (batch.columns["target"] > 0).nonzero().squeeze(1)
        return _Logits(run_trunk(self.trunk, batch.streams["source"], at_P).float())


class _Means(_States):
    """Each word gets the tag whose mean state in training its own is most like, common tags before rare ones."""

    def __init__(
        self, trunk: torch.nn.Module, means_GH: torch.Tensor, middle_H: torch.Tensor, log_shares_G: torch.Tensor
    ) -> None:
        super().__init__(trunk)
        self.middle_H, self.log_shares_G, self.scale = middle_H, log_shares_G, SCALES[0]
        self.means_GH = torch.nn.functional.normalize(means_GH - middle_H, dim=1)

    def forward(self, batch: Batch) -> _Logits:
        """Logits[P, G]: cosine of the states, both without what all have in common, times ``scale``, and the log share."""
        states_PH = torch.nn.functional.normalize(super().forward(batch).logits - self.middle_H, dim=1)
        return _Logits(self.scale * states_PH @ self.means_GH.T + self.log_shares_G)


@dataclass(frozen=True)
class _Untouched:
    """The base before tuning: a tagger of means, whose one number was chosen on training rows."""

    case: Case
    module: _Means
    tokenizer: Any
    tags: Tags

    @classmethod
    def of(cls, case: Case, tags: Tags) -> _Untouched:
        """Take the means, by tag, of the base's states of training words."""
        tokenizer, trunk = load_tokenizer(case.base.folder), load_trunk(case.base.folder)
        rows = case.dataset.table("train")
        rows = rows.take(sample_rows(rows.num_rows, MOST_ROWS, case.recipe.evaluate.seed))
        encoder, limit = TagEncoder(case.task, tokenizer), case.encoded.max_length
        examples = [one if len(one.ids) <= limit else encoder.cut(one, limit) for one in encoder.encode(rows)]
        places = [np.flatnonzero(one.target).tolist() for one in examples]
        label = "the untouched base: reading training words"
        counts, sums, reader = np.zeros(len(tags.names)), None, _States(trunk)
        for start in range(0, len(examples), ROWS_AT_ONCE):
            part, at = examples[start : start + ROWS_AT_ONCE], places[start : start + ROWS_AT_ONCE]
            states = np.concatenate(word_logits(reader, [one.ids for one in part], at, case.tell, label))
            right = np.concatenate([np.array(one.target)[here] for one, here in zip(part, at, strict=True)])
            numbers = right.astype(np.int64) - 1
            counts += np.bincount(numbers, minlength=len(tags.names))
            sums = np.zeros((len(tags.names), states.shape[1])) if sums is None else sums
            np.add.at(sums, numbers, states)
        assert sums is not None
        shares = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
        means, middle, logs = (
            torch.from_numpy(each).float()
            for each in (
                sums / np.maximum(counts, 1)[:, np.newaxis],
                sums.sum(axis=0) / max(1.0, counts.sum()),
                np.log(shares),
            )
        )
        made = cls(case, _Means(trunk, means, middle, logs), tokenizer, tags)
        made.choose_scale(case.task.texts(rows)[:400], case.task.gold(rows.slice(0, 400)))
        return made

    def choose_scale(self, texts: list[str], gold: Spans) -> None:
        """The scale of ``SCALES`` that finds most of these training rows' spans."""
        from tunewright.evaluate.score import score

        found = {}
        for self.module.scale in SCALES:
            found[self.module.scale] = score(self(texts), gold, ["entity_f1"])["entity_f1"] or 0.0
        self.module.scale = max(found, key=found.__getitem__)

    def __call__(self, texts: list[str]) -> Spans:
        """The spans that the base finds."""
        limit, label = self.case.encoded.max_length, "the untouched base: labelling words"
        found = find_spans(self.module, self.tokenizer, self.tags, texts, limit, self.case.tell, label)
        return Spans(self.tags.labels, tuple(found))
