"""Texts with labelled spans: recognised among columns, and read in the forms that people have.

    {"text": "Ada Lovelace slept", "spans": [{"start": 0, "end": 12, "label": "person"}]}     also [[0, 12, "person"]]
    {"data": {"text": ...}, "annotations": [{"result": [{"value": {"start": 0, ...}}]}]}       Label Studio
    {"tokens": ["Ada", "Lovelace", "slept"], "tags": ["B-person", "I-person", "O"]}            IOB1, IOB2, IOBES, BILOU
    {"tokens": ["我", "来", "了"], "tags": ["PRON", "VERB", "PART"]}                             a label to each word

Offsets count characters, the end exclusive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tunewright.infer.words import is_unspaced
from tunewright.types import ColumnProfile, Field, Recognition, Row, Span

FORMS: Mapping[str, Sequence[Field]] = {
    "spans": (
        Field("spans", "spans", "Its labelled spans: start, end and label of each, in characters."),
        Field("text", "located", "The text."),
    ),
    "tokens": (
        Field("tokens", "words", "The words of the text, as a list."),
        Field("tags", "words", "A tag to each word: B-x, I-x and O, or a label."),
    ),
}
"""Form -> its fields, the one that tells it apart first."""

_NAMES: Mapping[str, Sequence[str]] = {
    "spans": ("spans", "entities", "annotations", "label", "labels", "ner", "entity", "实体", "标注"),
    "text": ("text", "sentence", "content", "data.text", "文本", "句子", "内容", "原文"),
    "tokens": ("tokens", "words", "token", "word", "单词", "词"),
    "tags": ("tags", "ner_tags", "labels", "ner", "upos", "pos_tags", "pos", "label", "标签", "词性"),
}
_START, _END = ("start", "start_offset", "start_char", "begin"), ("end", "end_offset", "end_char", "stop")
_LABEL, _SAID = ("label", "labels", "type", "entity_group", "entity", "tag", "category"), ("text", "word", "surface")
_TAG = re.compile(r"([BIESLUM])[-_](.+)", re.DOTALL)
_TRIPLES = re.compile(r"\[\[\d+, ?\d+, ?\"")

# ------------------------------------------------------------------------------------------------------ recognising


def recognise_spans(profiles: Sequence[ColumnProfile]) -> Recognition | None:
    """The columns of texts and spans, or of words and tags; None where nothing looks like either."""
    lists = [profile for profile in profiles if profile.is_list]
    tokens, tags = _named("tokens", lists), _named("tags", [one for one in lists if _holds_words(one)])
    if tokens and tags and tokens is not tags:
        reasons = {"tokens": "a list of words in each cell", "tags": "a list of tags in each cell"}
        return Recognition({"tokens": tokens.name, "tags": tags.name}, 0.95, reasons)
    spans = _named("spans", [one for one in lists if _holds_offsets(one)])
    text = _named("text", [one for one in profiles if not one.is_list])
    if spans and text:
        reasons = {"spans": "its cells are lists with a start, an end and a label", "text": f"named {text.name}"}
        return Recognition({"spans": spans.name, "text": text.name}, 0.98, reasons)
    return None


def _named(field: str, profiles: Sequence[ColumnProfile]) -> ColumnProfile | None:
    by_name = {profile.name.strip().lower(): profile for profile in profiles}
    return next((by_name[name] for name in _NAMES[field] if name in by_name), None)


def _cells(profile: ColumnProfile) -> list[str]:
    return [*profile.examples, *list(profile.counts)[:50]]


def _holds_words(profile: ColumnProfile) -> bool:
    return any(cell.startswith('["') for cell in _cells(profile))


def _holds_offsets(profile: ColumnProfile) -> bool:
    def holds(cell: str) -> bool:
        named = any(f'"{name}":' in cell for name in _START) and any(f'"{name}":' in cell for name in (*_LABEL, *_END))
        return bool(_TRIPLES.match(cell)) or named

    return any(map(holds, _cells(profile)))


# ----------------------------------------------------------------------------------------------------------- reading


def read_spans(form: str, fields: Row) -> tuple[str, list[Span]]:
    """The text and its spans in order. ValueError says why a row is unusable."""
    if form == "tokens":
        return _from_tags(_words(fields.get("tokens"), "tokens"), _words(fields.get("tags"), "tags"))
    text = fields.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("empty text")
    spans = sorted(_read(each, text) for each in _listed(fields.get("spans")))
    for first, second in pairwise(spans):
        if second.start < first.end:
            raise ValueError(f"two spans overlap: {first.start} to {first.end} and {second.start} to {second.end}")
    return text, spans


def as_json(spans: Sequence[Span]) -> str:
    """The spans as a stored row has them."""
    return json.dumps([{"start": one.start, "end": one.end, "label": one.label} for one in spans], ensure_ascii=False)


def join_words(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The words as one text, and where each stands in it.

    A space stands between two of them, but where both are written in a script without spaces.
    """
    text, places = "", []
    for word in words:
        if text and not (is_unspaced(text[-1]) and is_unspaced(word[0])) and not _touches(text[-1], word[0]):
            text += " "
        places.append((len(text), len(text) + len(word)))
        text += word
    return text, places


def _touches(before: str, after: str) -> bool:
    """Whether one of them is a full-width mark, which nothing is set apart from."""
    return any("\u3000" <= each <= "\u303f" or "\uff00" <= each <= "\uffef" for each in (before, after))


def _from_tags(words: list[str], tags: list[str]) -> tuple[str, list[Span]]:
    if len(words) != len(tags):
        raise ValueError(f"{len(words)} words, but {len(tags)} tags")
    if all(tag.isdecimal() for tag in tags):
        raise ValueError("the tags are numbers: what they stand for is not known")
    text, places = join_words(words)
    spans: list[Span] = []
    is_open = False
    for (start, end), tag in zip(places, tags, strict=True):
        match = _TAG.fullmatch(tag)
        if match is None:
            is_open = False
            if tag not in ("O", "_", "-"):
                spans.append(Span(start, end, tag))
            continue
        mark, label = match.groups()
        if is_open and mark in "IMEL" and spans[-1].label == label:
            spans[-1] = Span(spans[-1].start, end, label)
        else:
            spans.append(Span(start, end, label))
        is_open = mark in "BIM"
    return text, spans


def _words(value: object, what: str) -> list[str]:
    found = [str(each) for each in _listed(value)]
    if not found:
        raise ValueError(f"no {what}")
    if any(not each.strip() for each in found):
        raise ValueError(f"an empty one among the {what}")
    return found


def _listed(value: object) -> list[Any]:
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, list | tuple):
        raise ValueError("no list")
    if any(isinstance(each, Mapping) and "result" in each for each in value):
        return _from_label_studio(value)
    return list(value)


def _parsed(value: str) -> object:
    """A list written out in a cell, as JSON or as Python writes it. ValueError says that it is none."""
    for text in (value, value.replace("'", '"')):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            continue
    raise ValueError("not a JSON list")


def _from_label_studio(annotations: Sequence[Any]) -> list[Any]:
    """The spans of the first annotation that was not cancelled."""
    kept = [each for each in annotations if isinstance(each, Mapping) and not each.get("was_cancelled")]
    if not kept:
        raise ValueError("every annotation was cancelled")
    values = [one.get("value") for one in kept[0].get("result") or () if isinstance(one, Mapping)]
    return [value for value in values if isinstance(value, Mapping) and "start" in value]


def _read(span: object, text: str) -> Span:
    if isinstance(span, Mapping):
        start, end, label, said = (next((span[name] for name in names if name in span), None) for names in
                                   (_START, _END, _LABEL, _SAID))  # fmt: skip
    elif isinstance(span, list | tuple) and len(span) == 3:
        (start, end, label), said = span, None
    else:
        raise ValueError("a span is not an object with start, end and label")
    if isinstance(label, list):
        label = label[0] if len(label) == 1 else None
    if not isinstance(label, str) or not label.strip():
        raise ValueError("a span without one label")
    begin, stop = _whole(start), _whole(end)
    if not 0 <= begin < stop <= len(text):
        raise ValueError(f"a span from {start} to {end} in a text of {len(text)} characters")
    if isinstance(said, str) and said.strip() and said.strip() != text[begin:stop].strip():
        raise ValueError(
            f"the span {begin} to {stop} should be {said[:40]!r}, the text has {text[begin:stop][:40]!r} there"
        )
    while text[begin:stop] and text[begin].isspace():
        begin += 1
    while text[begin:stop] and text[stop - 1].isspace():
        stop -= 1
    if begin == stop:
        raise ValueError(f"the span {start} to {end} is blank")
    return Span(begin, stop, label.strip())


def _whole(value: object) -> int:
    """A number of characters; -1 for what is none."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return int(value) if is_number or (isinstance(value, float) and value.is_integer()) else -1  # type: ignore[call-overload]
