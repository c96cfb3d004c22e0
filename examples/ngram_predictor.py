"""What comes next? An n-gram model of characters or words, counted on real dialogues in English or Chinese.

    python examples/ngram_predictor.py
    python examples/ngram_predictor.py --language zh --rows 200

Before neural networks a language model was a table of counts: how often did this character follow those before it? Most
long contexts were never seen, so the counts of shorter ones have to help; Kneser-Ney's way of mixing them is the best known.
The same model is the opponent that a fine-tuned chat model has to beat in `tunewright run`: whoever loses to counting has
learnt nothing of the language.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from typing import Literal

from tunewright.assets import fetch_data
from tunewright.evaluate.ngram import END, NGram, Parts

ORDERS = (1, 2, 3, 4, 5, 6)
BEGINNINGS = {"en": ("What is th", "I do not kn", "Comp"), "zh": ("你是什", "我不", "人工")}
QUESTIONS = {"en": ("What is AI?", "Tell me a joke"), "zh": ("什么是ai", "你好")}


def read_dialogues(language: str, num_rows: int) -> tuple[list[Parts], list[Parts]]:
    """Training and held-out dialogues; of each, its turns and whether the model has to predict them.

    Every fifth question is held out with all of its answers. Holding out single rows would be a trick on oneself here: many
    questions stand in the file several times, and their answers resemble each other.
    """
    with fetch_data(f"dialogues-{language}").open(encoding="utf-8") as file:
        rows = [json.loads(line)["messages"] for line in file]
    rows = rows[:: max(1, len(rows) // num_rows)][:num_rows]
    dialogues = [[(turn["content"], turn["role"] == "assistant") for turn in row] for row in rows]
    questions = list(dict.fromkeys(dialogue[0][0] for dialogue in dialogues))
    held_out = set(questions[::5])
    train = [dialogue for dialogue in dialogues if dialogue[0][0] not in held_out]
    test = [dialogue for dialogue in dialogues if dialogue[0][0] in held_out]
    return list(train), list(test)


def bits_per_unit(model: NGram, texts: Sequence[Parts]) -> float:
    """How many yes-or-no questions the model needs for the next unit, on average: the cross-entropy in base 2."""
    return float(-model.log_probability(texts).sum() / math.log(2) / model.count(texts).sum())


def compare_orders(train: Sequence[Parts], test: Sequence[Parts]) -> dict[int, tuple[float, float]]:
    """Bits per character on the training and on the held-out answers, by the length of the n-gram.

    On its own training text the longest n-gram always looks best. It has learnt it by heart: only held-out text tells.
    """
    fitted = {order: NGram(order).fit(train) for order in ORDERS}
    return {order: (bits_per_unit(model, train), bits_per_unit(model, test)) for order, model in fitted.items()}


def most_likely(model: NGram, text: str, number: int = 5) -> list[tuple[str, float]]:
    """The most probable next units."""
    after = model.next_probabilities(text)
    return sorted(after.items(), key=lambda pair: -pair[1])[:number]


def show_predictions(model: NGram, texts: Sequence[str]) -> None:
    """The next unit after some beginnings."""
    for text in texts:
        guesses = ", ".join(
            f"{'the end' if unit == END else repr(unit)} {share:.0%}" for unit, share in most_likely(model, text)
        )
        print(f"  {text + '…':14} {guesses}")


def main(arguments: Sequence[str] | None = None) -> dict[int, tuple[float, float]]:
    """Count, compare, predict and talk; returns the bits by order."""
    parser = argparse.ArgumentParser(description="An n-gram model of characters and of words.")
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--rows", type=int, default=5000, help="dialogues to use; every fifth question is held out")
    options = parser.parse_args(arguments)

    train, test = read_dialogues(options.language, options.rows)
    print(f"{len(train)} dialogues to count, {len(test)} held out; bits per character of the answers:")
    table = compare_orders(train, test)
    for order, (seen, unseen) in table.items():
        print(f"  {order}-grams: {seen:5.2f} on what was counted, {unseen:5.2f} held out")
    best = min(table, key=lambda order: table[order][1])

    kinds: tuple[tuple[str, int, Literal["char", "word"]], ...] = (("character", best, "char"), ("word", 3, "word"))
    for name, order, units in kinds:
        model = NGram(order, units).fit(train)
        print(f"\nThe next {name}, by {order}-grams:")
        show_predictions(
            model,
            [text if units == "char" else text[: text.rfind(" ") + 1] or text for text in BEGINNINGS[options.language]],
        )
        for question in QUESTIONS[options.language]:
            print(f"  {question} -> {model.sample([question], seed=1, max_units=60)}")
    return table


if __name__ == "__main__":
    main()
