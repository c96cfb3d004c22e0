"""The neural reference from before pretraining: a bidirectional LSTM over word embeddings that start at random.

Hochreiter & Schmidhuber 1997 (the cell), Graves & Schmidhuber 2005 (both directions), the largest of each state over the text as
in Conneau et al. 2017, section 3.2.3. Adam at 2e-3; the epoch with the smallest loss on an inner fifth is kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.config.base import ComponentConfig, Option
from tunewright.evaluate.baseline._features import WORD, is_unsegmented, normalise
from tunewright.evaluate.baseline._linear import answer_from, inner_split, squash_for
from tunewright.evaluate.metric.base import indicators
from tunewright.evaluate.resample import sample_rows
from tunewright.seams import Encoder
from tunewright.types import Classified, Labels

if TYPE_CHECKING:
    import torch

    from tunewright.types import Floats, Ints

PAD, UNKNOWN = 0, 1
MOST_WORDS = 30_000
BATCH = 32
WINDOW = 16 * BATCH
FEWEST_UPDATES = 120
PATIENCE = 3


class Lstm:
    """A bidirectional LSTM of one layer, trained on the training rows alone."""

    title = "LSTM"

    class Config(ComponentConfig):
        """Options of the LSTM."""

        width: int = Option(128, "Numbers in a state, in each direction.", ge=8, le=1024)
        embedding: int = Option(100, "Numbers in a word's embedding.", ge=8, le=1024)
        dropout: float = Option(0.3, "Dropout of embeddings and of what the classifier reads.", ge=0.0, lt=1.0)
        max_words: int = Option(256, "Words (characters in scripts without spaces) read of a text.", ge=8, le=4096)
        max_epochs: int = Option(10, "Most passes over the training rows; more on few rows.", ge=1, le=1000)
        max_rows: int = Option(20_000, "At most this many training rows are used.", ge=100)

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """``seed`` draws the weights, the order of the rows, and the rows where there are more than ``max_rows``."""
        self._config = config or self.Config()
        self._seed = seed
        self._by_characters = False
        self._numbers: dict[str, int] = {}
        self._gold: Classified
        self._module: Any = None

    def fit(self, texts: Sequence[str], gold: Classified, encoder: Encoder | None) -> None:
        """Learn vocabulary and weights from the training rows."""
        import torch

        rows = sample_rows(len(texts), self._config.max_rows, self._seed)
        self._gold = gold = gold.take(rows)
        texts = [texts[row] for row in rows]
        self._by_characters = is_unsegmented(texts)
        counts = Counter(word for text in texts for word in dict.fromkeys(self._words(text)))
        least = 2 if len(texts) > 2_000 else 1
        known = [word for word, count in counts.most_common(MOST_WORDS) if count >= least]
        self._numbers = {word: number for number, word in enumerate(known, start=UNKNOWN + 1)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            config = self._config
            self._module = _network(len(known) + 2, config.embedding, config.width, len(gold.names), config.dropout)
            self._train([self._ids(text) for text in texts], gold)

    def predict(self, texts: Sequence[str], encoder: Encoder | None) -> Classified:
        """Answers with probabilities."""
        scores = self._scores([self._ids(text) for text in texts])
        return answer_from(self._gold.names, squash_for(self._gold)(scores), isinstance(self._gold, Labels))

    # ------------------------------------------------------------------------------------------------------ inside

    def _words(self, text: str) -> list[str]:
        text = normalise(text)
        words = [*text.replace(" ", "")] if self._by_characters else re.findall(WORD, text)
        return words[: self._config.max_words] or ["∅"]

    def _ids(self, text: str) -> list[int]:
        return [self._numbers.get(word, UNKNOWN) for word in self._words(text)]

    def _train(self, ids: Sequence[Sequence[int]], gold: Classified) -> None:
        """Until the loss on the held-out rows has not fallen for some epochs; the best weights stay."""
        import torch

        fitted, held_out = inner_split(gold, self._seed)
        if len(ids) > len(fitted) + len(held_out):  # the split looks at some rows; all others are learnt from
            fitted = np.setdiff1d(np.arange(len(ids)), held_out)
        if len(held_out) == 0 or len(fitted) == 0:
            fitted, held_out = np.arange(len(ids)), np.arange(0)
        random = np.random.default_rng(self._seed)
        optimizer = torch.optim.Adam(self._module.parameters(), lr=2e-3)
        per_epoch = -(-len(fitted) // BATCH)
        most = max(self._config.max_epochs, -(-FEWEST_UPDATES // per_epoch))
        best, lowest, since = self._weights(), float("inf"), 0
        for epoch in range(most):
            self._module.train()
            for rows in _batches(fitted, ids, random):
                optimizer.zero_grad()
                torch.autograd.backward(self._loss(ids, gold, rows))
                torch.nn.utils.clip_grad_norm_(self._module.parameters(), 1.0)
                optimizer.step()
            self._module.eval()
            with torch.no_grad():
                parts = np.array_split(held_out, -(-len(held_out) // 256)) if len(held_out) else []
                loss = sum(float(self._loss(ids, gold, rows)) * len(rows) for rows in parts)
            if not len(held_out) or loss < lowest:
                best, lowest, since = self._weights(), loss, 0
                continue
            since += 1
            if since >= PATIENCE and (epoch + 1) * per_epoch >= FEWEST_UPDATES:
                break
        self._module.load_state_dict(best)
        self._module.eval()

    def _loss(self, ids: Sequence[Sequence[int]], gold: Classified, rows: Ints) -> torch.Tensor:
        import torch
        from torch.nn import functional

        logits = self._module(_padded([ids[row] for row in rows]))
        if isinstance(gold, Labels):
            wanted = torch.from_numpy(indicators(gold.take(rows))).float()
            return functional.binary_cross_entropy_with_logits(logits, wanted)
        return functional.cross_entropy(logits, torch.from_numpy(gold.chosen[rows]))

    def _scores(self, ids: Sequence[Sequence[int]]) -> Floats:
        """Logits[N, C], the rows read in order of length."""
        import torch

        found = np.zeros((len(ids), len(self._gold.names)))
        order = np.argsort([len(row) for row in ids], kind="stable")
        with torch.no_grad():
            for rows in np.array_split(order, -(-len(order) // 256)) if len(order) else []:
                found[rows] = self._module(_padded([ids[row] for row in rows])).double().numpy()
        return found

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self._module.state_dict().items()}


def _batches(rows: Ints, ids: Sequence[Sequence[int]], random: np.random.Generator) -> list[Ints]:
    """The rows of one epoch in batches of like length, in a new order."""
    rows = random.permutation(rows)
    windows = np.array_split(rows, -(-len(rows) // WINDOW))
    ordered = [window[np.argsort([len(ids[row]) for row in window], kind="stable")] for window in windows]
    batches = [part for window in ordered for part in np.array_split(window, -(-len(window) // BATCH))]
    return [batches[index] for index in random.permutation(len(batches))]


def _padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids[N, L] and lengths[N]."""
    import torch

    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), PAD)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
    return ids, lengths


def _network(vocabulary: int, embedding: int, width: int, outputs: int, dropout: float) -> torch.nn.Module:
    """(ids[N, L], lengths[N]) -> logits[N, C].

    The way back is a second LSTM over each row turned round, so that padding comes last in both and neither reads it first.
    """
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
            self.dropout = nn.Dropout(dropout)
            self.forwards = nn.LSTM(embedding, width, batch_first=True)
            self.backwards = nn.LSTM(embedding, width, batch_first=True)
            self.output = nn.Linear(2 * width, outputs)

        def forward(self, given: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            ids, lengths = given
            words = self.dropout(self.embedding(ids))
            place = torch.arange(ids.shape[1])
            is_padding = place >= lengths.unsqueeze(1)
            turned = torch.where(is_padding, place, lengths.unsqueeze(1) - 1 - place)
            back = torch.take_along_dim(words, turned.unsqueeze(2), dim=1)
            states = torch.cat([self.forwards(words)[0], self.backwards(back)[0]], dim=2)
            largest = states.masked_fill(is_padding.unsqueeze(2), -torch.inf).amax(dim=1)
            logits: torch.Tensor = self.output(self.dropout(largest))
            return logits

    return Network()
