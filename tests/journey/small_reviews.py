"""Small data that a tiny model can learn from, in English and Chinese."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

GOOD = ("a wonderful film", "great and good", "this movie was great", "a good movie", "wonderful")
BAD = ("a terrible film", "boring and bad", "this movie was terrible", "a bad movie", "boring")
FILLING = "the a an of film movie this and was is".split()
CHINESE = {"好评": "很好看的电影非常喜欢", "差评": "太难看了浪费时间"}

SMALL = (
    "train.epochs=10",
    "train.batch_size=16",
    "train.dtype=fp32",
    "train.threads=1",
    "train.lr=0.003",
    "train.patience=0",
    "evaluate.out_of_fold=false",
    "evaluate.resamples=200",
)
"""Overrides under which a run of the tiny model takes a few seconds."""


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Distinct short reviews with their label, half of each."""
    draw = random.Random(seed)
    made: dict[str, str] = {}
    while len(made) < count:
        label = "positive" if len(made) % 2 else "negative"
        core = draw.choice(GOOD if label == "positive" else BAD)
        made[f"{' '.join(draw.choices(FILLING, k=6))} {core} {' '.join(draw.choices(FILLING, k=4))}"] = label
    return list(made.items())


def write_csv(path: Path, header: tuple[str, ...], rows: Sequence[Sequence[object]]) -> Path:
    """A plain CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def chinese_sentences(count: int) -> list[tuple[str, str]]:
    """Distinct short Chinese reviews with their label, half of each."""
    draw = random.Random(1)
    made: dict[str, str] = {}
    while len(made) < count:
        label = "好评" if len(made) % 2 else "差评"
        noise = "".join(draw.choices("的一是在了不和有大这中人", k=12))
        made[f"{noise}{CHINESE[label]}{''.join(draw.choices('我你他她它们', k=4))}"] = label
    return list(made.items())
