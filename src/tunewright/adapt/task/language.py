"""Continued pretraining: the model goes on learning its language, on texts of a domain.

    {"text": "The patient was admitted with ..."}        every token is learnt, and the end of the text

Texts longer than `encode.max_length` are learnt in pieces, all of them; nothing is padded, so that short ones need no packing. A
run may start from the tuned model (`base: run:ID`) to learn a task after it. Judged is how well held-out texts are predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.adapt.documents import DocumentEncoder
from tunewright.adapt.writing import Message, ReadRequest, Writing
from tunewright.config.base import ComponentConfig, Option
from tunewright.infer.words import find_words
from tunewright.seams import RowEncoder
from tunewright.types import Base, Choice, ColumnProfile, Dataset, Field, Recognition, Row

if TYPE_CHECKING:
    import pyarrow as pa

JUDGED_CHARACTERS = 4000
"""How much of a text is judged, from its beginning: every system reads the same, also one that cannot read more at once."""

NAMES = ("text", "texts", "content", "document", "article", "body", "文本", "正文", "内容")


class Language(Writing):
    """Goes on with pretraining on plain texts, on a decoder: every token is learnt."""

    class Config(ComponentConfig):
        """Options of continued pretraining."""

        only_training = frozenset({"label_smoothing"})

        label_smoothing: float = Option(
            0.0, "Share of each learnt token that is spread over the vocabulary.", ge=0.0, lt=1.0
        )

    name = "language"
    typed = "text"
    noun = "texts"
    has_shots = False
    converses = False
    finishes = False

    fields: Sequence[Field] = (Field("text", "text", "The text to learn."),)
    stored: Sequence[Field] = (Field("text", "text", "The text."),)

    def __init__(self, config: Config | None = None) -> None:
        """There is one form."""
        self.config: Language.Config = config or self.Config()
        self.label_smoothing = self.config.label_smoothing

    def recognise(self, profiles: Sequence[ColumnProfile]) -> Recognition | None:
        """A column of texts that stands alone: beside another one, texts are read for something else."""
        filled = [profile for profile in profiles if profile.num_values]
        if len(filled) != 1 or filled[0].is_list or filled[0].mean_words < 3:
            return None
        named = filled[0].name.strip().lower() in NAMES
        return Recognition({"text": filled[0].name}, 0.8 if named else 0.65, {"text": "texts, and no other column"})

    def tuned_to(
        self, profiles: Sequence[ColumnProfile], columns: Mapping[str, str]
    ) -> tuple[Language, tuple[Choice, ...]]:
        """Nothing is left to decide."""
        return self, ()

    def read(self, fields: Row) -> Row:
        """The text; ValueError says why a row is unusable."""
        text = fields.get("text")
        if not isinstance(text, str) or not text.strip():
            raise ValueError("empty text")
        return {"text": text}

    def identity(self, fields: Row) -> str:
        """Duplicates are judged by the text."""
        return str(fields["text"])

    def unit(self, fields: Row) -> str | None:
        """Each text stands alone."""
        return None

    def requests(
        self, profiles: Sequence[ColumnProfile], known: Mapping[str, str]
    ) -> tuple[Mapping[str, str], ReadRequest] | None:
        """The column of texts."""
        present = {profile.name for profile in profiles}
        if known.get("text") not in present:
            return None
        return {"text": known["text"]}, lambda fields: self.asked(str(self.read(fields)["text"]))

    def asked(self, text: str) -> list[dict[str, Any]]:
        """The text, to be gone on with."""
        return [{"role": "user", "content": text}]

    def bind(self, dataset: Dataset) -> Language:
        """There is no label set to learn."""
        return self

    # -- questions asked of a bound task

    def dialogues(self, rows: pa.Table) -> list[list[Message]]:
        """Each text in two parts, its beginning and what follows: as far as it is judged."""
        return [_halves(text[:JUDGED_CHARACTERS]) for text in self.texts(rows)]

    def learnt(self, messages: Sequence[Message]) -> set[int]:
        """All of it."""
        return set(range(len(messages)))

    def texts(self, rows: pa.Table) -> list[str]:
        """The text column."""
        texts: list[str] = rows["text"].to_pylist()
        return texts

    def template(self, folder: Path, tokenizer: Any) -> Any:
        """None: texts are read as they stand."""
        from tunewright.infer.continuation import Continuation

        return Continuation(tokenizer)

    def open_encoder(self, base: Base) -> RowEncoder:
        """Texts as they stand, in pieces of what is read at once."""
        from tunewright.adapt.language import require_writer
        from tunewright.infer.load import load_tokenizer

        require_writer(base)
        tokenizer = load_tokenizer(base.folder)
        return DocumentEncoder(self.texts, self.template(base.folder, tokenizer), tokenizer)

    @property
    def metrics(self) -> Sequence[str]:
        """What is reported, the primary one first."""
        return ("nll_per_token", "perplexity", "bits_per_character", "repetition")

    @property
    def baselines(self) -> Sequence[str]:
        """What the tuned model is compared with."""
        return ("untouched_base", "ngram")


def _halves(text: str) -> list[Message]:
    """The text cut before the word in its middle, or within a single one: there is something to go on from."""
    words = find_words(text)
    start = words[len(words) // 2][0] if len(words) > 1 else max(1, len(text) // 2)
    return [{"role": "user", "content": text[:start]}, {"role": "assistant", "content": text[start:]}]
