r"""Text from text: summaries, translations, titles, keywords, rewriting; one text in, another out.

A record before and after ``read``; ``instruction`` is an option, said before every source, or a column:

    {"source": "A long text ...", "target": "Its summary."}
        ->  {"messages": '[{"role": "user", "content": "Summarise:\\n\\nA long text ..."}, {"role": "assistant", ...}]'}

Sentences in a list are joined; of several targets the first is learnt. The source is what the untouched base is asked, too, and
what `lead` and `copy_source` copy from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunewright.adapt.spans import join_words
from tunewright.adapt.writing import EVERY_METRIC, ReadRequest, Writing, parse
from tunewright.config.base import ComponentConfig, Option
from tunewright.types import Choice, ColumnProfile, Dataset, Field, Recognition, Row

if TYPE_CHECKING:
    import pyarrow as pa

PAIRS: Sequence[tuple[str, str]] = (
    ("source", "target"), ("src", "tgt"), ("document", "summary"), ("article", "highlights"), ("article", "summary"),
    ("text", "summary"), ("text", "target"), ("content", "summary"), ("content", "title"), ("abstract", "title"),
    ("dialogue", "summary"), ("input_text", "target_text"), ("en", "zh"), ("zh", "en"), ("english", "chinese"),
    ("原文", "摘要"), ("正文", "标题"), ("原文", "译文"), ("英文", "中文"), ("中文", "英文"),
)  # fmt: skip
"""Names of columns of which the second is written from the first."""


RATED = frozenset(
    ("label", "score", "rating", "stars", "star", "category", "class", "sentiment", "标签", "评分", "类别")
)
"""Columns beside which two texts are rather read for these."""


class Generate(Writing):
    """Writes one text from another, such as a summary or a translation, on a decoder, by the model's own template."""

    class Config(ComponentConfig):
        """Options of writing text from text."""

        only_training = frozenset({"label_smoothing"})

        instruction: str = Option(
            "",
            "What is to be done, said before every source; a column `instruction` goes before it.",
            max_length=20_000,
            examples=["Translate into Chinese."],
        )
        label_smoothing: float = Option(
            0.0, "Share of each learnt token that is spread over the vocabulary.", ge=0.0, lt=1.0
        )

    name = "generate"
    typed = "source"
    noun = "texts"

    stored: Sequence[Field] = (*Writing.stored, Field("source", "text", "What is read."))
    fields: Sequence[Field] = (
        Field("source", "text", "What is read."),
        Field("target", "text", "What is to be written."),
        Field("instruction", "text", "What is to be done with it.", required=False),
    )

    def __init__(self, config: Config | None = None) -> None:
        """There is one form."""
        self.config: Generate.Config = config or self.Config()
        self.label_smoothing = self.config.label_smoothing

    def recognise(self, profiles: Sequence[ColumnProfile]) -> Recognition | None:
        """Two columns of free text whose names go together."""
        by_name = {profile.name.strip().lower(): profile for profile in profiles if profile.num_values}
        for source, target in PAIRS:
            if source in by_name and target in by_name and _is_written(by_name[target]):
                read, written = by_name[source], by_name[target]
                reasons = {"source": f"named {read.name}", "target": f"named {written.name}, free text"}
                columns = {"source": read.name, "target": written.name}
                if "instruction" in by_name:
                    columns["instruction"] = by_name["instruction"].name
                    reasons["instruction"] = "named instruction"
                others = by_name.keys() - {source, target}
                return Recognition(columns, 0.8 if others & RATED else 0.9, reasons)
        return None

    def tuned_to(
        self, profiles: Sequence[ColumnProfile], columns: Mapping[str, str]
    ) -> tuple[Generate, tuple[Choice, ...]]:
        """Nothing is left to decide."""
        return self, ()

    def read(self, fields: Row) -> Row:
        """The source as the user's turn and the target as the answer to it, as JSON; ValueError says why it is unusable."""
        if "messages" in fields:  # a row in canonical form
            return {"messages": json.dumps(parse(fields["messages"]), ensure_ascii=False), "source": fields["source"]}
        target = fields.get("target")
        if isinstance(target, list | tuple):
            target = target[0] if target else None
        answered = {"role": "assistant", "content": _text(target, "target")}
        asked = self._asked(fields)
        return {"messages": json.dumps([*asked, answered], ensure_ascii=False), "source": _source(fields)}

    def requests(
        self, profiles: Sequence[ColumnProfile], known: Mapping[str, str]
    ) -> tuple[Mapping[str, str], ReadRequest] | None:
        """The column of sources, and that of instructions where there is one."""
        present = {profile.name for profile in profiles}
        names = {field: column for field, column in known.items() if column in present and field != "target"}
        by_name = {profile.name.strip().lower(): profile.name for profile in profiles}
        if "source" not in names:
            source = next((by_name[source] for source, _ in PAIRS if source in by_name), None)
            if source is None:
                return None
            names["source"] = source
        return names, self._asked

    def asked(self, text: str) -> list[dict[str, Any]]:
        """The text as a source."""
        return self._asked({"source": text})

    def bind(self, dataset: Dataset) -> Generate:
        """There is no label set to learn."""
        return self

    def sources(self, rows: pa.Table) -> list[str]:
        """The sources without the instruction."""
        sources: list[str] = rows["source"].to_pylist()
        return sources

    @property
    def metrics(self) -> Sequence[str]:
        """What is reported, the primary one first."""
        return (*EVERY_METRIC[:3], "rouge_1", "rouge_2", "rouge_l", *EVERY_METRIC[3:])

    @property
    def baselines(self) -> Sequence[str]:
        """What the tuned model is compared with; the last two copy from the source."""
        return (*super().baselines, "lead", "copy_source")

    def _asked(self, fields: Row) -> list[dict[str, Any]]:
        instruction, content = fields.get("instruction") or self.config.instruction, _source(fields)
        return [{"role": "user", "content": f"{instruction}\n\n{content}" if instruction else content}]


def _source(fields: Row) -> str:
    source = fields.get("source")
    if isinstance(source, list | tuple):
        source = join_words([str(each) for each in source if str(each).strip()])[0]
    return _text(source, "source")


def _text(value: object, field: str) -> str:
    if value is None or not str(value).strip():
        raise ValueError(f"empty {field}")
    return str(value)


def _is_written(profile: ColumnProfile) -> bool:
    """Whether cells are texts of their own rather than a few labels that come again and again."""
    return profile.is_list or (profile.fraction_distinct > 0.3 and profile.num_distinct > 20)
