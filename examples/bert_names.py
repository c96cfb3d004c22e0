"""One encoder, two heads: does a sentence name a person, and where are the names? On a month of a Chinese newspaper.

    python examples/bert_names.py
    python examples/bert_names.py --rows 600 --epochs 2 --model minilm-l6

Both heads are transformers' own. Programs of this kind are often wrong in four places, and each has its line below: tags that
slip from their words when a word becomes several tokens, special tokens and padding that are learnt as if they were words, names
that are judged token by token (where answering "no name" everywhere looks like 90 %), and rows that were judged after training
on them.

`tunewright run recipes/chinese-names.yaml` does the second job with all that belongs to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tunewright.assets import fetch_data, fetch_model
from tunewright.data.source.conll import Conll

IGNORED = -100
"""What torch's cross-entropy leaves out."""

BATCH_SIZE = 16
MOST_CHARACTERS = 100
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")


@dataclass(frozen=True)
class Sentence:
    """Characters and their tags."""

    words: list[str]
    tags: list[str]

    @property
    def names_person(self) -> bool:
        """Whether a person is named in it."""
        return "B-PER" in self.tags


def read_sentences(num_rows: int) -> tuple[list[Sentence], list[Sentence]]:
    """Training and held-out sentences, drawn from the whole file; every fifth is held out, and none is both."""
    rows = {}
    for record in Conll().read(fetch_data("peoples-daily")):
        words, tags = record.fields["tokens"][:MOST_CHARACTERS], record.fields["tags"][:MOST_CHARACTERS]  # type: ignore[index]
        rows["".join(words)] = Sentence(words, tags)
    order = np.random.default_rng(0).permutation(len(rows))[:num_rows]
    drawn = [list(rows.values())[row] for row in order]
    return [row for at, row in enumerate(drawn) if at % 5], drawn[::5]


def encode(tokenizer: Any, sentences: Sequence[Sentence]) -> tuple[Any, torch.Tensor]:
    """The model's inputs, padded, and the tags[N, L]: each at the first token of its character, nothing anywhere else."""
    inputs = tokenizer([each.words for each in sentences], is_split_into_words=True, padding=True, return_tensors="pt")
    tags = torch.full(inputs["input_ids"].shape, IGNORED)
    for row, sentence in enumerate(sentences):
        seen: set[int] = set()
        for at, word in enumerate(inputs.word_ids(row)):
            # No word: a special token or padding. Seen: a further token of the same word. Neither is learnt.
            if word is not None and word not in seen:
                tags[row, at] = TAGS.index(sentence.tags[word])
                seen.add(word)
    return inputs, tags


def train(model: Any, tokenizer: Any, sentences: Sequence[Sentence], epochs: int, lr: float = 1e-4) -> list[float]:
    """The mean loss of each pass; the head of ``model`` says which of both jobs it is."""
    labels_words = model.config.num_labels == len(TAGS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    means = []
    for epoch in range(epochs):
        model.train()
        losses = []
        order = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(BATCH_SIZE):
            chosen = [sentences[row] for row in rows.tolist()]
            inputs, tags = encode(tokenizer, chosen)
            target = tags if labels_words else torch.tensor([int(each.names_person) for each in chosen])
            loss = model(**inputs, labels=target).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    return means


@torch.no_grad()
def answer(model: Any, tokenizer: Any, sentences: Sequence[Sentence]) -> list[Any]:
    """A tag to each character, or whether a person is named; with dropout off."""
    model.eval()
    found: list[Any] = []
    for at in range(0, len(sentences), 64):
        chosen = sentences[at : at + 64]
        inputs, tags = encode(tokenizer, chosen)
        best = model(**inputs).logits.argmax(-1)
        if best.dim() == 1:
            found += (best == 1).tolist()
            continue
        for row, sentence in enumerate(chosen):
            answers = [TAGS[number] for number in best[row][tags[row] != IGNORED].tolist()]
            found.append(answers + ["O"] * (len(sentence.words) - len(answers)))
    return found


def names_of(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """Each name as (begin, end, kind): a name is right as a whole or not at all."""
    names, begin = set(), 0
    for at, tag in enumerate([*tags, "O"]):
        goes_on = at > 0 and tag[0] == "I" and tags[at - 1] != "O" and tag[2:] == tags[at - 1][2:]
        if at > 0 and tags[at - 1] != "O" and not goes_on:
            names.add((begin, at, tags[at - 1][2:]))
        if tag != "O" and not goes_on:
            begin = at
    return names


def f1_of_names(answered: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> float:
    """2 x right / (answered + there), over all names."""
    pairs = [(names_of(given), names_of(true)) for given, true in zip(answered, right, strict=True)]
    total = sum(len(given) + len(true) for given, true in pairs)
    return 2 * sum(len(given & true) for given, true in pairs) / total if total else 0.0


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train both heads and judge them; returns the numbers on the held-out sentences."""
    parser = argparse.ArgumentParser(description="A sentence classifier and a name tagger on one kind of encoder.")
    parser.add_argument("--rows", type=int, default=3000, help="sentences to use; every fifth is held out")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--model", default="multilingual-e5-small")
    options = parser.parse_args(arguments)

    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

    sentences, held_out = read_sentences(options.rows)
    folder = fetch_model(options.model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    print(f"{len(sentences)} sentences to learn from, {len(held_out)} held out")
    found: dict[str, float] = {}
    for job, kind, num_labels in (
        ("sentences", AutoModelForSequenceClassification, 2), ("names", AutoModelForTokenClassification, len(TAGS)),
    ):  # fmt: skip
        torch.manual_seed(0)
        model = kind.from_pretrained(folder, num_labels=num_labels)
        for epoch, loss in enumerate(train(model, tokenizer, sentences, options.epochs), start=1):
            print(f"{job}, pass {epoch}: mean loss {loss:.3f}")
        answered = answer(model, tokenizer, held_out)
        if job == "sentences":
            right = [each.names_person for each in held_out]
            found["sentences: accuracy"] = float(np.mean(np.array(answered) == np.array(right)))
            found["sentences: most frequent answer"] = max(np.mean(right), 1 - np.mean(right))
        else:
            gold = [each.tags for each in held_out]
            found["names: F1"] = f1_of_names(answered, gold)
            pairs = [
                (a, b) for given, true in zip(answered, gold, strict=True) for a, b in zip(given, true, strict=True)
            ]
            found["names: accuracy by character"] = sum(a == b for a, b in pairs) / len(pairs)
            found["names: the same by never finding one"] = sum(b == "O" for _, b in pairs) / len(pairs)
    for name, value in found.items():
        print(f"{name:40} {value:.1%}")
    return found


if __name__ == "__main__":
    main()
