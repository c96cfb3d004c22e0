"""Raw text in, spans out: words found, tags decoded, long texts read in windows; the one path of evaluation and serving."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tunewright.infer.batch import flatten, group_by_tokens, to_device
from tunewright.infer.predict import TOKENS_PER_BATCH
from tunewright.infer.tags import Tags
from tunewright.infer.tokens import frame_of, locate, windows
from tunewright.infer.words import Unit, find_units
from tunewright.types import Batch, Floats, Ints, Span, Tell, tell_nobody


def find_spans(
    module: torch.nn.Module,
    tokenizer: Any,
    tags: Tags,
    texts: Sequence[str],
    max_length: int,
    tell: Tell = tell_nobody,
    label: str = "labelling words",
) -> list[tuple[Span, ...]]:
    """The labelled spans of each text, each with a score; ``module`` gives logits[P, G] of the words of a batch.

    ``max_length`` is in tokens, special ones included: a longer text is read in windows, and each word is judged where it
    stands farthest from their ends.
    """
    frame = frame_of(tokenizer)
    room = max(1, max_length - frame.num_tokens)
    rows: list[tuple[int, list[int], list[int], list[int]]] = []
    units_of: list[list[Unit]] = []
    for number, (ids, offsets) in enumerate(locate(tokenizer, texts)):
        units = find_units(texts[number], offsets)
        units_of.append(units)
        for start, end, chosen in _cut(units, len(ids), room):
            at = [len(frame.before) + units[unit].token - start for unit in chosen]
            rows.append((number, chosen, frame.around(ids[start:end]), at))
    logits = word_logits(module, [row[2] for row in rows], [row[3] for row in rows], tell, label)
    whole = [np.zeros((len(units), len(tags.names))) for units in units_of]
    for (number, chosen, _, _), found in zip(rows, logits, strict=True):
        whole[number][chosen] = found
    return [_spans(tags, units, given) for units, given in zip(units_of, whole, strict=True)]


def _spans(tags: Tags, units: Sequence[Unit], logits: Floats) -> tuple[Span, ...]:
    chosen, logs = tags.decode(logits)
    return tags.to_spans(chosen, units, logs)


def _cut(units: Sequence[Unit], num_tokens: int, room: int) -> list[tuple[int, int, list[int]]]:
    """(Start, end, the units that are judged here) of each window with any."""
    if not units:
        return []
    found = list(windows(num_tokens, room))
    tokens = np.array([unit.token for unit in units])
    owner, farthest = np.zeros(len(units), np.int64), np.full(len(units), -1)
    for number, (start, end) in enumerate(found):
        inside = slice(*np.searchsorted(tokens, [start, end]).tolist())
        margin = np.minimum(tokens[inside] - start, end - 1 - tokens[inside])
        is_farther = margin > farthest[inside]
        owner[inside][is_farther], farthest[inside][is_farther] = number, margin[is_farther]
    bounds = np.searchsorted(owner, np.arange(len(found) + 1))
    parts = [(*window, list(range(*bounds[at : at + 2].tolist()))) for at, window in enumerate(found)]
    return [part for part in parts if part[2]]


def word_logits(
    module: torch.nn.Module,
    ids: Sequence[Sequence[int]],
    places: Sequence[Sequence[int]],
    tell: Tell = tell_nobody,
    label: str = "labelling words",
) -> list[Floats]:
    """logits[P, G] at the given places of each row, in the order given; the module's training mode is restored."""
    found: list[Floats] = [np.zeros((0, 0))] * len(ids)
    order: Ints = np.argsort([-len(row) for row in ids], kind="stable")
    device, was_training = next(module.parameters()).device, module.training
    module.eval()
    done = 0
    try:
        with torch.no_grad():
            for group in group_by_tokens([len(ids[row]) for row in order], TOKENS_PER_BATCH):
                rows = order[group].tolist()
                marked = [_marked(len(ids[row]), places[row]) for row in rows]
                stream = flatten([ids[row] for row in rows])
                batch = Batch({"source": stream}, {"target": torch.cat(marked)}, tuple(rows), len(stream.ids))
                logits = module(to_device(batch, device)).logits.double().cpu().numpy()
                ends = np.cumsum([len(places[row]) for row in rows])
                for row, part in zip(rows, np.split(logits, ends[:-1]), strict=True):
                    found[row] = part
                done += len(rows)
                tell(label, done, len(ids), "")
    finally:
        module.train(was_training)
    return found


def _marked(length: int, places: Sequence[int]) -> torch.Tensor:
    marks = torch.zeros(length)
    marks[list(places)] = 1.0
    return marks
