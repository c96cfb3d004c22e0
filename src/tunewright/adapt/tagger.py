"""A trunk with a head that gives each word of flattened batches one tag.

Shape letters: T tokens, N examples (one segment each), P words, H hidden width, G tags, C labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tunewright.infer.forward import run_trunk
from tunewright.infer.tags import Tags
from tunewright.infer.words import Unit
from tunewright.types import Batch


@dataclass(frozen=True, slots=True)
class TagLogits:
    """logits[P, G] of the words, tags[P] that are right, rows[P] that they belong to, and weights[P], all 1."""

    logits: torch.Tensor
    tags: torch.Tensor
    rows: torch.Tensor
    weights: torch.Tensor


class TagHead(nn.Module):
    """State[P, H] -> logits[P, G]: dropout and one linear layer, the stock head of every architecture."""

    def __init__(self, width: int, num_tags: int, *, dropout: float) -> None:
        """Fresh weights: normal with deviation 0.02, biases zero (the initialisation of BERT, section A.2)."""
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, num_tags)
        nn.init.normal_(self.output.weight, std=0.02)
        nn.init.zeros_(self.output.bias)

    def forward(self, states_PH: torch.Tensor) -> torch.Tensor:
        """Logits[P, G]."""
        if not torch.is_autocast_enabled(states_PH.device.type):
            states_PH = states_PH.to(self.output.weight.dtype)
        logits_PG: torch.Tensor = self.output(self.dropout(states_PH))
        return logits_PG


class Tagger(nn.Module):
    """The trunk and the head as one module; a word is a token with a target, which is its tag's number plus one."""

    def __init__(self, trunk: nn.Module, head: TagHead, tags: Tags) -> None:
        """Hold both halves and the scheme by which answers are counted."""
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.tags = tags

    def forward(self, batch: Batch) -> TagLogits:
        """What the objective reads."""
        stream, target_T = batch.streams["source"], batch.columns["target"]
        at_P = (target_T > 0).nonzero().squeeze(1)
        rows_P = torch.searchsorted(stream.bounds, at_P, right=True) - 1
        logits_PG = self.head(run_trunk(self.trunk, stream, at_P))
        return TagLogits(logits_PG, target_T[at_P].long() - 1, rows_P, torch.ones_like(target_T[at_P]))

    def answer(self, batch: Batch) -> torch.Tensor:
        """(Summed -log p, words, and 3 x C counts of spans)[N, 2 + 3C] of each row: found rightly, found, there to be found."""
        given = self(batch)
        num_rows, labels = len(batch.streams["source"].bounds) - 1, self.tags.labels
        losses_P = nn.functional.cross_entropy(given.logits.float(), given.tags, reduction="none").double()
        found = torch.zeros(num_rows, 2 + 3 * len(labels), dtype=torch.float64)
        sums_N2 = torch.zeros(num_rows, 2, dtype=torch.float64, device=losses_P.device)
        found[:, :2] = sums_N2.index_add(0, given.rows, torch.stack([losses_P, torch.ones_like(losses_P)], dim=1)).cpu()
        logits, tags, rows = (each.double().cpu().numpy() for each in (given.logits, given.tags, given.rows))
        bounds = np.searchsorted(rows, np.arange(num_rows + 1))
        for row in range(num_rows):
            piece = slice(bounds[row], bounds[row + 1])
            units = [Unit(at, at + 1, at) for at in range(bounds[row + 1] - bounds[row])]
            answered = set(self.tags.to_spans(self.tags.decode(logits[piece])[0], units))
            right = set(self.tags.to_spans(tags[piece].astype(np.int64), units))
            for block, spans in enumerate((answered & right, answered, right)):
                for span in spans:
                    found[row, 2 + block * len(labels) + labels.index(span.label)] += 1
        return found
