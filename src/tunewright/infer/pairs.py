"""The form in which two answers to one prompt are read as one row, and what of it is kept where it is too long.

    ids      prompt ... | chosen answer ... | rejected answer ...
    target   0 read only, 1 a token of the chosen answer that is learnt, 2 one of the rejected; plus 4 where an answer begins

Before training the row's first two targets take the log-probabilities of both answers under the reference, which are no more
than 0: what is below 0 is read, not learnt.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tunewright.types import Ints

CHOSEN, REJECTED, BEGINS = 1, 2, 4
ROOM_OF_PROMPT = 0.5
"""The share of a row that is too long which its prompt may take, of which the end is kept."""


def is_whole(targets: Any) -> bool:
    """Whether targets[T] of a row show two answers, each with something to learn."""
    numbers = np.maximum(np.asarray(targets), 0).astype(np.int64)
    return int((numbers >= BEGINS).sum()) == 2 and {CHOSEN, REJECTED} <= set((numbers % BEGINS).tolist())


def kept_tokens(targets: Any, most: int) -> Ints:
    """The places of at most ``most`` tokens of a pair: the prompt's first token and its end, the beginning of both answers."""
    numbers = np.maximum(np.asarray(targets), 0).astype(np.int64)
    chosen, rejected = np.flatnonzero(numbers >= BEGINS).tolist()
    lengths = chosen, rejected - chosen, len(numbers) - rejected
    if sum(lengths) <= most:
        return np.arange(len(numbers))
    prompt = min(lengths[0], max(2, int(most * ROOM_OF_PROMPT), most - lengths[1] - lengths[2]))
    room = most - prompt
    first = min(lengths[1], max(room // 2, room - lengths[2]))
    second = min(lengths[2], room - first)
    return np.concatenate(
        [
            np.arange(1),
            np.arange(chosen - prompt + 1, chosen),
            np.arange(chosen, chosen + first),
            np.arange(rejected, rejected + second),
        ]
    )
