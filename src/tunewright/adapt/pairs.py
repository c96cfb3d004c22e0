"""A decoder that reads pairs of answers to one prompt: the prompt once, then both answers, each going on from it.

The form of a row stands in ``infer/pairs``. Shape letters: T tokens, N pairs, P learnt tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tunewright.adapt.language import LanguageModel
from tunewright.infer.flat import is_flat
from tunewright.infer.likelihood import Predictions, token_losses, token_nats
from tunewright.infer.pairs import BEGINS
from tunewright.types import Batch, Stream


@dataclass(frozen=True, slots=True)
class PairLikelihoods:
    """Of N pairs: log-probabilities[N, 2] of both answers, tokens[N, 2], the same under the reference[N, 2]; weights[N], 1."""

    logs: torch.Tensor
    lengths: torch.Tensor
    reference: torch.Tensor
    weights: torch.Tensor


class PairModel(LanguageModel):
    """A decoder that reads pairs: the prompt of both answers once."""

    weighs_tokens = False

    def forward(self, batch: Batch) -> PairLikelihoods:  # type: ignore[override]
        """The likelihoods of both answers of each pair, with gradients."""
        return self._read(batch, token_nats)

    def answer(self, batch: Batch) -> torch.Tensor:
        """Log-probabilities, tokens, and log-probabilities under the reference of the chosen and the rejected answer: [N, 6]."""
        found = self._read(batch, token_losses, every_row=True)
        return torch.cat([found.logs.double(), found.lengths.double(), found.reference.double()], dim=1)

    def _read(self, batch: Batch, nats_of: object, *, every_row: bool = False) -> PairLikelihoods:
        stream, target_T = batch.streams["source"], batch.columns["target"]
        cut = _branches(stream, target_T)
        if not is_flat(self.trunk):
            stream, target_T, rows_T = _apart(stream, target_T, cut)
        else:
            rows_T = (
                torch.searchsorted(stream.bounds, torch.arange(len(target_T), device=target_T.device), right=True) - 1
            )
            stream = _shared(stream, cut)
        marks_T = target_T.clamp(min=0).long() % BEGINS
        at_P = ((marks_T > 0) & (stream.positions > 0)).nonzero().squeeze(1)
        segments_P = torch.searchsorted(stream.bounds, at_P, right=True) - 1
        head = self.head
        predictions = Predictions(
            self._states_before(stream, at_P, segments_P), head.weight, head.bias, stream.ids[at_P],
            torch.ones_like(target_T[at_P]), rows_T[at_P], self.cap, self.scale,
        )  # fmt: skip
        nats_P = nats_of(predictions)  # type: ignore[operator]
        num_rows = len(batch.streams["source"].bounds) - 1
        places_P = 2 * rows_T[at_P] + (marks_T[at_P] - 1)
        sums = torch.zeros(2 * num_rows, dtype=nats_P.dtype, device=nats_P.device).index_add(0, places_P, nats_P)
        counts = torch.zeros_like(sums).index_add(0, places_P, torch.ones_like(nats_P)).view(num_rows, 2)
        starts = batch.streams["source"].bounds[:-1]
        reference = torch.stack([batch.columns["target"][starts + at].clamp(max=0) for at in (0, 1)], dim=1)
        kept = slice(None) if every_row else (counts > 0).all(dim=1).nonzero().squeeze(1)
        return PairLikelihoods(
            -sums.view(num_rows, 2)[kept],
            counts[kept],
            reference[kept].to(sums.dtype),
            torch.ones_like(counts[kept][:, 0]),
        )


def _branches(stream: Stream, target_T: torch.Tensor) -> torch.Tensor:
    """Where answers begin: two places[N, 2] of each row; a row without two gives its own end twice."""
    begins = (target_T >= BEGINS).nonzero().squeeze(1)
    rows = torch.searchsorted(stream.bounds, begins, right=True) - 1
    num_rows = len(stream.bounds) - 1
    found = stream.bounds[1:].unsqueeze(1).repeat(1, 2)
    counts = torch.bincount(rows, minlength=num_rows)
    for row in (counts == 2).nonzero().squeeze(1).tolist():
        found[row] = begins[rows == row]
    return found


def _shared(stream: Stream, cut: torch.Tensor) -> Stream:
    """Three segments a row, of which the last two go on from the first; empty ones are left out."""
    starts, ends = stream.bounds[:-1].tolist(), stream.bounds[1:].tolist()
    bounds, positions = [0], stream.positions.clone()
    parents: list[int] = []
    for start, end, (chosen, rejected) in zip(starts, ends, cut.tolist(), strict=True):
        prompt = len(parents)
        parents.append(-1)
        bounds.append(chosen)
        for begin, stop in ((chosen, rejected), (rejected, end)):
            if stop > begin:
                parents.append(prompt)
                bounds.append(stop)
                positions[begin:stop] = torch.arange(stop - begin, device=positions.device) + (chosen - start)
    at = torch.tensor(bounds, device=stream.bounds.device)
    return Stream(stream.ids, positions, at, tuple(parents))


def _apart(stream: Stream, target_T: torch.Tensor, cut: torch.Tensor) -> tuple[Stream, torch.Tensor, torch.Tensor]:
    """Each answer after its own copy of the prompt, for trunks that read rectangles; targets, and the row of each token."""
    pieces, rows, bounds = [], [], [0]
    starts, ends = stream.bounds[:-1].tolist(), stream.bounds[1:].tolist()
    for row, (start, end, (chosen, rejected)) in enumerate(zip(starts, ends, cut.tolist(), strict=True)):
        for begin, stop in ((chosen, rejected), (rejected, end)):
            if stop > begin or begin == end == chosen:
                piece = torch.cat([torch.arange(start, chosen), torch.arange(begin, stop)])
                pieces.append(piece)
                rows.append(torch.full((len(piece),), row))
                bounds.append(bounds[-1] + len(piece))
            if chosen == end:
                break
    order, device = torch.cat(pieces).to(stream.ids.device), stream.ids.device
    at = torch.tensor(bounds, device=device)
    positions = torch.arange(len(order), device=device) - torch.repeat_interleave(at[:-1], at[1:] - at[:-1])
    return Stream(stream.ids[order], positions, at), target_T[order], torch.cat(rows).to(device)
