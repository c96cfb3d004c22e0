"""Which training dialogues a prompted base is shown."""

from __future__ import annotations

from collections.abc import Sequence


def choose_examples(prompts: Sequence[str], num_tokens: Sequence[int], count: int, max_tokens: int) -> tuple[int, ...]:
    """Up to ``count`` rows with different prompts, spread evenly over the training rows, of ``max_tokens`` together.

    No example takes more than its share of the limit, so that long dialogues do not crowd out the others; the shortest that
    are left fill up where too few are that short. The same rows every time: nothing is drawn.
    """
    if count < 1:
        return ()
    first = {prompt: row for row, prompt in reversed(list(enumerate(prompts)))}
    rows = sorted(row for row in first.values() if num_tokens[row] <= max_tokens // count)
    if len(rows) < count:
        rows = sorted(sorted(first.values(), key=lambda row: (num_tokens[row], row))[:count])
    number = min(count, len(rows))
    spread = [rows[(2 * place + 1) * len(rows) // (2 * number)] for place in range(number)]
    chosen: list[int] = []
    for row in spread:
        if sum(num_tokens[other] for other in chosen) + num_tokens[row] <= max_tokens:
            chosen.append(row)
    return tuple(chosen)
