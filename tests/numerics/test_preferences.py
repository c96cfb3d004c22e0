"""Pairs of answers: each as likely as the stock model finds it alone, with its gradients; losses are their papers' formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tunewright.adapt.pairs import PairModel
from tunewright.adapt.preference_encoder import PreferenceEncoder
from tunewright.adapt.task.prefer import Prefer
from tunewright.infer.likelihood import Predictions, token_nats, weighted_loss
from tunewright.infer.load import load_language_model, load_tokenizer
from tunewright.infer.pairs import is_whole, kept_tokens
from tunewright.infer.predict import predict_logits
from tunewright.infer.template import ChatTemplate
from tunewright.train.batches import Examples, token_weights
from tunewright.train.objective.preference import Preference

FAMILIES = ("llama", "qwen3", "gemma3_text", "gpt2", "gemma2")
"""The last one is read padded: the fast path does not know it."""

ROWS: list[dict[str, Any]] = [
    {"prompt": "a good film", "chosen": "it was great", "rejected": "bad"},
    {"prompt": "这部电影", "chosen": "很好看，推荐给大家", "rejected": "it was a boring movie and bad"},
    {"prompt": "x", "chosen": "not good", "rejected": "not good at all"},
]


class Pairs:
    """A tiny base with the rows as it reads them."""

    def __init__(self, base: Any) -> None:
        tokenizer = load_tokenizer(base.folder)
        self.template = ChatTemplate.for_training(base.folder, tokenizer)
        self.task = Prefer()
        self.rows = [self.task.read(row) for row in ROWS]
        import pyarrow as pa

        table = pa.Table.from_pylist([{**row, "file": "f", "line": at} for at, row in enumerate(self.rows)])
        found = PreferenceEncoder(self.task, self.template).encode(table)
        self.dialogues = self.task.pairs(table)
        ids, targets = (
            [np.asarray(each.ids) for each in found],
            torch.cat([torch.tensor(each.target) for each in found]),
        )
        self.examples = Examples(ids, targets, np.arange(len(found)), per_token=True)
        self.model: Any = load_language_model(base.folder)

    def alone(self, messages: Any) -> torch.Tensor:
        """The log-probability of the last turn by the stock forward, the row read by itself."""
        chat = self.template.encode(messages)
        logits = self.model(input_ids=torch.tensor([chat.ids]), attention_mask=torch.ones(1, len(chat.ids))).logits[0]
        learnt = [
            at
            for at, (marked, turn) in enumerate(zip(chat.supervised, chat.turn, strict=True))
            if marked and turn == len(messages) - 1
        ]
        logs = logits.float().log_softmax(-1)
        return torch.stack([logs[at - 1, chat.ids[at]] for at in learnt]).sum()


@pytest.mark.parametrize("family", FAMILIES)
def test_both_answers_are_as_likely_as_each_alone_with_its_gradients(make_base: Any, family: str) -> None:
    pairs = Pairs(make_base(family, tie_word_embeddings=True))
    module = PairModel(pairs.model)
    batch = pairs.examples.batch(np.arange(3))
    found = module(batch)
    expected = torch.stack([torch.stack([pairs.alone(one) for one in pair]) for pair in pairs.dialogues])
    torch.testing.assert_close(found.logs, expected, rtol=1e-4, atol=1e-4)
    weights = torch.tensor([[1.0, -0.5], [0.3, 2.0], [-1.0, 1.0]])
    gradients = []
    for logs in (found.logs, expected):
        pairs.model.zero_grad()
        torch.autograd.backward((logs * weights).sum())
        gradients.append(
            {name: each.grad.clone() for name, each in pairs.model.named_parameters() if each.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    largest = max(float(each.norm()) for each in gradients[1].values())
    for name, right in gradients[1].items():
        assert float((gradients[0][name] - right).norm()) <= 1e-4 * (float(right.norm()) + 0.01 * largest), name


def test_rows_alone_and_together_answer_the_same(make_base: Any) -> None:
    pairs = Pairs(make_base("llama", tie_word_embeddings=True))
    module = PairModel(pairs.model)
    weights = token_weights(pairs.examples)
    together = predict_logits(module, pairs.examples.ids, weights=weights)
    assert weights is not None
    alone = [
        predict_logits(module, [ids], weights=[each]) for ids, each in zip(pairs.examples.ids, weights, strict=True)
    ]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)
    targets = pairs.task.with_reference(pairs.examples.targets, pairs.examples.bounds, together)
    again = predict_logits(
        module, pairs.examples.ids, weights=list(torch.split(targets, [len(ids) for ids in pairs.examples.ids]))
    )
    np.testing.assert_allclose(again[:, 4:], together[:, :2], rtol=1e-6)
    np.testing.assert_allclose(pairs.task.decode(again).margins, 0.0, atol=1e-5)  # type: ignore[union-attr]


def test_a_pair_that_is_cut_is_a_pair(make_base: Any) -> None:
    pairs = Pairs(make_base("llama", tie_word_embeddings=True))
    for start, end in zip(pairs.examples.bounds, pairs.examples.bounds[1:], strict=False):
        targets = pairs.examples.targets[start:end].numpy()
        for most in (6, 9, 14, 1000):
            kept = kept_tokens(targets, most)
            assert len(kept) == min(most, len(targets))
            assert is_whole(targets[kept])
            assert sorted(set(kept)) == list(kept)


def test_nats_of_tokens_have_the_gradients_of_the_weighted_loss() -> None:
    torch.manual_seed(0)
    for bias in (None, torch.randn(11)):
        for cap in (0.0, 5.0):
            grads = []
            for differs in (True, False):
                torch.manual_seed(1)
                states, head = torch.randn(6, 4, requires_grad=True), torch.randn(11, 4, requires_grad=True)
                own = None if bias is None else bias.clone().requires_grad_()
                weights = torch.linspace(0.2, 2.0, 6)
                given = Predictions(states, head, own, torch.arange(6), weights, torch.zeros(6), cap, 1.3)
                loss = (token_nats(given) * weights).sum() if differs else weighted_loss(given)
                torch.autograd.backward(loss)
                grads.append([loss.detach(), states.grad, head.grad, *([own.grad] if own is not None else [])])
            for one, other in zip(*grads, strict=True):
                torch.testing.assert_close(one, other)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("loss", ["dpo", "ipo", "simpo", "orpo"])
def test_losses_are_those_of_their_papers(loss: Any) -> None:
    logs, lengths, reference = ([-7.0, -9.5], [4.0, 6.0], [-8.0, -9.0])
    objective = Preference(loss=loss, beta=0.3, gamma=0.7, label_smoothing=0.1)
    found = float(
        objective._of_pairs(*(torch.tensor([each], dtype=torch.float64) for each in (logs, lengths, reference))).sum()
    )
    lead = (logs[0] - reference[0]) - (logs[1] - reference[1])
    means = [log / length for log, length in zip(logs, lengths, strict=True)]
    odds = [math.exp(each) / (1 - math.exp(each)) for each in means]
    expected = {
        "dpo": -0.9 * math.log(logistic(0.3 * lead)) - 0.1 * math.log(logistic(-0.3 * lead)),
        "ipo": ((logs[0] - reference[0]) / 4 - (logs[1] - reference[1]) / 6 - 1 / 0.6) ** 2,
        "simpo": -math.log(logistic(0.3 * means[0] - 0.3 * means[1] - 0.7)),
        "orpo": -means[0] - 0.3 * math.log(logistic(math.log(odds[0] / odds[1]))),
    }
    assert found == pytest.approx(expected[loss], rel=1e-9)
