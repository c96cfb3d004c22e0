"""Sequence labelling: names in a text, parts of speech, or any other stretches with a label.

A record before and after ``read``; other forms are recognised by their columns (``adapt/spans.py``):

    {"text": "Ada slept", "spans": [{"start": 0, "end": 3, "label": "person"}]}
    {"tokens": ["Ada", "slept"], "tags": ["B-person", "O"]}
        ->  {"text": "Ada slept", "spans": '[{"start": 0, "end": 3, "label": "person"}]', "label": ["person"]}

Training and serving read raw text alike: words are found in it, each is labelled at its first token, tags obey the scheme, and
what is answered are characters of the text as it was given. Texts longer than the model reads are read in windows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from tunewright.adapt.ranges import training_ranges
from tunewright.adapt.spans import FORMS, as_json, read_spans, recognise_spans
from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import InputError
from tunewright.infer.tags import Tags
from tunewright.seams import RowEncoder
from tunewright.types import (
    Adapter,
    Base,
    Choice,
    ColumnProfile,
    Dataset,
    Field,
    Floats,
    Objective,
    Plan,
    Range,
    Recognition,
    Row,
    Space,
    Span,
    Spans,
    Tally,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from tunewright.store.artifact import Draft


class Tag:
    """Labelled spans of a text, such as names, on an encoder or a decoder."""

    class Config(ComponentConfig):
        """Options of sequence labelling."""

        only_training = frozenset({"dropout", "label_smoothing", "focal_gamma"})

        scheme: Literal["bio", "bioes"] = Option(
            "bio",
            "bio: a tag that opens a span and one that goes on with it; bioes: also tags for its end and for one word.",
        )
        dropout: float | None = Option(
            None, "Dropout of the head while training. Empty: what the architecture's stock head has.", ge=0.0, lt=1.0
        )
        label_smoothing: float = Option(0.0, "Share of the target spread over all tags.", ge=0.0, lt=1.0)
        focal_gamma: float = Option(
            0.0, "Focus on words that are hard: a term weighs (1 - p)^gamma; 0 is off, 2 is usual.", ge=0.0, le=10.0
        )

    stored: Sequence[Field] = (
        Field("text", "located", "The text."),
        Field("spans", "spans", "Its labelled spans, as JSON."),
        Field("label", "label", "The labels of its spans, each once.", required=False),
    )
    needs: Literal["any", "decoder"] = "any"
    has_reference = False

    def __init__(self, config: Config | None = None, form: str = "spans") -> None:
        """``form`` is one of ``FORMS``: which columns a row is read from."""
        self.config = config or self.Config()
        self.form = form
        self.labels: tuple[str, ...] = ()

    @property
    def fields(self) -> Sequence[Field]:
        """The fields of this form."""
        return FORMS[self.form]

    def recognise(self, profiles: Sequence[ColumnProfile]) -> Recognition | None:
        """Which columns hold texts and spans, or words and tags."""
        return recognise_spans(profiles)

    def tuned_to(self, profiles: Sequence[ColumnProfile], columns: Mapping[str, str]) -> tuple[Tag, tuple[Choice, ...]]:
        """This task reading the form to which the columns belong."""
        named = (name for name, fields in FORMS.items() if any(field.name in columns for field in fields))
        form = next(named, self.form)
        return Tag(self.config, form), ()

    def read(self, fields: Row) -> Row:
        """Text, spans as JSON, and their labels; ValueError says why a row is unusable."""
        text, spans = read_spans(self.form, fields)
        return {"text": text, "spans": as_json(spans), "label": sorted({span.label for span in spans})}

    def identity(self, fields: Row) -> str:
        """Duplicates are judged by the text."""
        return str(fields["text"])

    def stratum(self, fields: Row) -> str:
        """Splits keep texts with and without spans in proportion."""
        return "some" if fields["label"] else "none"

    def unit(self, fields: Row) -> str | None:
        """Each row stands alone."""
        return None

    # -- questions asked of a bound task

    def bind(self, dataset: Dataset) -> Tag:
        """This task with the data's labels. Raises InputError where no row has a span."""
        if not dataset.labels:
            raise InputError(
                "no row has a labelled span, so there is nothing to learn",
                where=", ".join(file.path for file in dataset.files) or "data",
                given=f"{sum(dataset.splits.values()):,} rows without spans",
                allowed="rows of which some have spans: start, end and label of each, or a tag to each word",
                hint="data.columns.spans=COLUMN, or data.columns='{tokens: COLUMN, tags: COLUMN}'",
            )
        return self.with_labels(dataset.labels)

    def with_labels(self, labels: Sequence[str]) -> Tag:
        """This task bound to a label set."""
        bound = Tag(self.config, self.form)
        bound.labels = tuple(labels)
        return bound

    @property
    def tags(self) -> Tags:
        """One tag to each label and mark of the scheme."""
        return Tags(self.labels, self.config.scheme)

    def texts(self, rows: pa.Table) -> list[str]:
        """The text column."""
        texts: list[str] = rows["text"].to_pylist()
        return texts

    def open_encoder(self, base: Base) -> RowEncoder:
        """Texts by the base's tokenizer, each word labelled at its first token."""
        from tunewright.adapt.tag_encoder import TagEncoder
        from tunewright.infer.load import load_tokenizer

        return TagEncoder(self, load_tokenizer(base.folder))

    def attach(self, base: Base, seed: int) -> torch.nn.Module:
        """The trunk of ``base`` with a head, fresh or, where the base is a tuned model for the same tags, the one it has."""
        from tunewright.adapt.save_tagger import attach_tagger

        return attach_tagger(base, self, seed)

    def save(self, draft: Draft, module: torch.nn.Module, base: Base, card: Mapping[str, object]) -> None:
        """The stock model for token classification."""
        from tunewright.adapt.save_tagger import save_tagger

        save_tagger(draft, module, self, base, card)

    def save_adapter(self, draft: Draft, adapter: Adapter, module: torch.nn.Module, base: Base) -> None:
        """The adapter for peft: over the stock class with its head, or else over the plain trunk."""
        from tunewright.adapt.save_tagger import save_tagger_adapter

        save_tagger_adapter(draft, adapter, module, base)

    def objective(self) -> Objective:
        """Cross-entropy of each word's tag."""
        shape = {"label_smoothing": self.config.label_smoothing, "focal_gamma": self.config.focal_gamma}
        return Objective("tag_cross_entropy", shape)

    def gold(self, rows: pa.Table) -> Spans:
        """The right spans."""
        column: list[str] = rows["spans"].to_pylist()
        return Spans(self.labels, tuple(tuple(Span(**one) for one in json.loads(cell)) for cell in column))

    def decode(self, outputs: Floats) -> Tally:
        """What a module's ``answer``[N, 2 + 3C] counts."""
        num_labels = len(self.labels)
        outputs = outputs.reshape(-1, 2 + 3 * num_labels)
        counts = outputs[:, 2:].reshape(-1, 3, num_labels)
        return Tally(self.labels, counts, outputs[:, 0], outputs[:, 1].astype("int64"))

    @property
    def metrics(self) -> Sequence[str]:
        """What is reported, the primary one first."""
        return ("entity_f1", "entity_precision", "entity_recall", "entity_macro_f1", "entity_exact_rows")

    @property
    def baselines(self) -> Sequence[str]:
        """A list of the names seen in training, and a classical tagger."""
        return ("gazetteer", "perceptron_tagger")

    def search_space(self, plan: Plan) -> Space:
        """Rate, passes, batch and weight decay, and the dropout of the head."""
        return {**training_ranges(plan), "task.dropout": Range(low=0.0, high=0.5)}
