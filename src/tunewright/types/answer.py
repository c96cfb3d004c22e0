"""What a model says, as one of a few kinds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tunewright.types.basic import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Label:
    """Single-label answers for N rows: chosen[N] indexes ``names``; probabilities[N, C] is None for gold answers.

    ``out_of_scope`` is the one of ``names``, if there is one, that stands for "none of the others".
    """

    names: tuple[str, ...]
    chosen: Ints
    probabilities: Floats | None = None
    out_of_scope: str | None = None

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.chosen)

    def take(self, rows: Ints) -> Label:
        """The answers of some rows, in the order given."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return replace(self, chosen=self.chosen[rows], probabilities=probabilities)


@dataclass(frozen=True, slots=True)
class Labels:
    """Multi-label answers for N rows: chosen[N, C] says which names apply; probabilities[N, C] are independent."""

    names: tuple[str, ...]
    chosen: Bools
    probabilities: Floats | None = None

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.chosen)

    def take(self, rows: Ints) -> Labels:
        """The answers of some rows, in the order given."""
        return Labels(self.names, self.chosen[rows], None if self.probabilities is None else self.probabilities[rows])


@dataclass(frozen=True, slots=True)
class Text:
    """Generated text for N rows: texts[N], num_tokens[N] generated, and whether each ended by itself (stopped[N]).

    Gold answers hold the references; they have all stopped.
    """

    texts: tuple[str, ...]
    num_tokens: Ints
    stopped: Bools

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.texts)

    def take(self, rows: Ints) -> Text:
        """The answers of some rows, in the order given."""
        return Text(tuple(self.texts[row] for row in rows), self.num_tokens[rows], self.stopped[rows])


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How well a model predicts the given answers of N rows: nll[N] in nats, summed over the row's num_tokens[N]."""

    nll: Floats
    num_tokens: Ints

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.nll)

    def take(self, rows: Ints) -> Likelihood:
        """The answers of some rows, in the order given."""
        return Likelihood(self.nll[rows], self.num_tokens[rows])


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled stretch of a text: characters ``start`` to ``end``, the end exclusive; ``score`` is 0..1."""

    start: int
    end: int
    label: str
    score: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Spans:
    """Labelled stretches of N texts: found[N], each in order of the text; ``names`` are the labels that there are."""

    names: tuple[str, ...]
    found: tuple[tuple[Span, ...], ...]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.found)

    def take(self, rows: Ints) -> Spans:
        """The answers of some rows, in the order given."""
        return Spans(self.names, tuple(self.found[row] for row in rows))


@dataclass(frozen=True, slots=True)
class Tally:
    """Labelled stretches of N rows, counted where they were found: what is followed while a tagger trains.

    counts[N, 3, C] by label: found rightly, found at all, and there to be found; nll[N] in nats over num_words[N].
    """

    names: tuple[str, ...]
    counts: Floats
    nll: Floats
    num_words: Ints

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.nll)

    def take(self, rows: Ints) -> Tally:
        """The answers of some rows, in the order given."""
        return Tally(self.names, self.counts[rows], self.nll[rows], self.num_words[rows])


@dataclass(frozen=True, slots=True)
class Preferred:
    """By how much the better of two answers leads in each of N rows: margins[N], above 0 where it is preferred."""

    margins: Floats

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.margins)

    def take(self, rows: Ints) -> Preferred:
        """The answers of some rows, in the order given."""
        return Preferred(self.margins[rows])


Classified = Label | Labels
"""An answer that chooses among names."""

Answer = Classified | Text | Likelihood | Spans | Tally | Preferred
