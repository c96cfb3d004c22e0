"""Forty odd but honest files: at least 38 are understood without a flag, and none is understood wrongly."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tunewright.adapt.recognise import SURE, looks_multilabel, recognise_classification
from tunewright.data.profile import column_value
from tunewright.data.rows import read_profiled
from tunewright.errors import TunewrightError

Pair = tuple[str, str]

_ENGLISH = {
    "positive": [
        "I really liked the {noun}, it was {good}.",
        "What a {good} {noun}! We will come back.",
        "The {noun} is {good}",
    ],
    "negative": [
        "The {noun} was {bad} and I want my money back.",
        "Never again: {bad} {noun}, rude staff.",
        "A {bad} {noun}",
    ],
    "neutral": [
        "The {noun} arrived on time; nothing special.",
        "It is a {noun} like any other, I guess",
        "An ordinary {noun}.",
    ],
}
_CHINESE = {
    "正面": ["这个{noun}真的很{good}，下次还会来。", "{noun}{good}，推荐大家购买！", "我和家人都觉得{noun}{good}"],
    "负面": ["{noun}太{bad}了，我要退货。", "服务{bad}，{noun}也不行", "再也不买这家的{noun}，{bad}！"],
}
_WORDS = {
    "noun": "film hotel phone dinner book laptop concert museum camera jacket garden sandwich".split(),
    "good": "wonderful charming excellent brilliant lovely superb".split(),
    "bad": "terrible boring awful dreadful broken disappointing".split(),
}
_WORTE = {
    "noun": "电影 酒店 手机 晚餐 书 电脑 音乐会 博物馆 相机 外套 花园 面条".split(),
    "good": "好 不错 满意 精彩 舒服 漂亮".split(),
    "bad": "差 难吃 失望 糟糕 无聊 破旧".split(),
}
_PEOPLE = [
    f"{first} {last}" for first in ("Ana", "Ben", "Chen", "Dora", "Emil") for last in ("Adler", "Brook", "Cole", "Diaz")
]


def english(num: int, labels: Sequence[str] = ("positive", "negative"), seed: int = 0) -> list[Pair]:
    rng = random.Random(seed)
    made = []
    for number in range(num):
        label = rng.choice(list(labels))
        text = rng.choice(_ENGLISH[label]).format(**{key: rng.choice(words) for key, words in _WORDS.items()})
        made.append(
            (f"{text} Seen on day {number}, with {rng.choice(_PEOPLE)}." if number % 3 else f"{text} ({number})", label)
        )
    return made


def chinese(num: int, seed: int = 0) -> list[Pair]:
    rng = random.Random(seed)
    made = []
    for number in range(num):
        label = rng.choice(list(_CHINESE))
        text = rng.choice(_CHINESE[label]).format(**{key: rng.choice(words) for key, words in _WORTE.items()})
        made.append((f"{text}第{number}次光顾，{rng.choice(_WORTE['noun'])}也看了。", label))
    return made


def many(num: int, num_classes: int, seed: int = 0) -> list[Pair]:
    rng = random.Random(seed)
    verbs, things = "open close move cancel change find pay lock send show".split(), [f"item{n}" for n in range(20)]
    classes = [f"{verb}_{thing}" for verb in verbs for thing in things][:num_classes]
    forms = [
        "please {v} my {t} today",
        "how do I {v} the {t}?",
        "I want to {v} one {t} for {p}",
        "can you {v} {t} number {n}",
    ]
    made = []
    for number in range(num):
        label = classes[number % num_classes] if number < num_classes else rng.choice(classes)
        verb, thing = label.split("_")
        made.append((rng.choice(forms).format(v=verb, t=thing, p=rng.choice(_PEOPLE), n=number) + f" {number}", label))
    rng.shuffle(made)
    return made


def relabel(pairs: Sequence[Pair], names: dict[str, str]) -> list[Pair]:
    return [(text, names[label]) for text, label in pairs]


def table(rows: Sequence[Sequence[object]], header: Sequence[str] = (), **options: str) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=options.get("delimiter", ","), lineterminator=options.get("end", "\n"))
    writer.writerows([list(header)] if header else [])
    writer.writerows(rows)
    return stream.getvalue()


def plain(rows: Sequence[Sequence[object]], header: str = "", mark: str = "\t", end: str = "\n") -> str:
    lines = [header] if header else []
    return end.join([*lines, *(mark.join(map(str, row)) for row in rows)]) + end


@dataclass(frozen=True)
class Odd:
    name: str
    content: bytes
    truth: list[Pair]


def _make() -> list[Odd]:
    made: list[Odd] = []

    def add(name: str, content: str | bytes, truth: Sequence[Pair], encoding: str = "utf-8") -> None:
        made.append(Odd(name, content.encode(encoding) if isinstance(content, str) else content, list(truth)))

    _add_layouts(add)
    _add_encodings(add)
    _add_columns(add)
    _add_labels(add)
    _add_quotes(add)
    _add_objects(add)
    return made


Add = Callable[..., None]


def _add_layouts(add: Add) -> None:
    en, zh = english(120), chinese(120)
    add("plain.csv", table(en, ("text", "label")), en)
    add("no_header.csv", table(en), en)
    add("no_header_chinese.csv", table(zh), zh)
    add("semicolon.csv", table(en, ("text", "label"), delimiter=";"), en)
    add("semicolon_no_header.csv", table(en, delimiter=";"), en)
    add("bar.csv", table(en, ("review", "class"), delimiter="|"), en)
    add("tabs_named_csv.csv", plain(en, "text\tlabel"), en)
    add("tabs_no_header.tsv", plain(en), en)
    add("tabs.txt", plain([(b, a) for a, b in en]), en)
    add("label_first.csv", table([(b, a) for a, b in en], ("label", "text")), en)
    add("label_first_no_header.csv", table([(b, a) for a, b in zh]), zh)
    add("excel_sep.csv", "sep=;\n" + table(en, ("text", "label"), delimiter=";"), en)
    add("carriage_returns.csv", table(en, ("text", "label"), end="\r"), en)
    mixed = "".join(
        line + ("\r\n" if number % 2 else "\n") for number, line in enumerate(plain(en, mark="\t").splitlines())
    )
    add("mixed_ends.tsv", mixed, en)
    gaps = table(en, ("text", "label")).replace("\n", "\n\n", 40)
    add("blank_lines.csv", gaps, en)


def _add_encodings(add: Add) -> None:
    en, zh = english(150, seed=1), chinese(150, seed=1)
    add("bom.csv", table(zh, ("内容", "标签")), zh, "utf-8-sig")
    add("gbk.csv", table(zh, ("评论", "情感")), zh, "gbk")
    add("gbk_no_header.tsv", plain(zh), zh, "gb18030")
    add("utf16.csv", plain(zh, "文本\t类别"), zh, "utf-16")
    add("utf16_be_no_mark.csv", table(en, ("text", "label")), en, "utf-16-be")
    accents = [(text.replace("a", "á").replace("hotel", "hôtel"), label) for text, label in en]
    add("latin.csv", table(accents, ("text", "label")), accents, "cp1252")


def _add_columns(add: Add) -> None:
    rng = random.Random(2)
    en, zh = english(200, seed=2), chinese(200, seed=2)
    dates = [f"2024-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}" for _ in en]
    scores = [f"{rng.random():.3f}" for _ in en]
    urls = [f"https://example.org/item/{rng.randint(1, 10**6)}" for _ in en]
    numbered = [(i + 1, d, text, label) for i, ((text, label), d) in enumerate(zip(en, dates, strict=True))]
    add("third_column.csv", table(numbered, ("id", "date", "text", "label")), en)
    add("third_no_header.csv", table(numbered), en)
    wide = [
        (i, s, u, text, label, d)
        for i, ((text, label), s, u, d) in enumerate(zip(en, scores, urls, dates, strict=True))
    ]
    add("extra_columns.csv", table(wide, ("id", "confidence", "url", "review", "sentiment", "created_at")), en)
    add("extra_no_header.csv", table(wide), en)
    people = [(rng.choice(_PEOPLE), text, rng.choice("ABC"), label) for text, label in en]
    add("names.csv", table(people, ("author", "comment", "region", "category")), en)
    shop = [(i, text, label, rng.choice(["北京", "上海"])) for i, (text, label) in enumerate(zh)]
    add("chinese_headers.csv", table(shop, ("编号", "评价内容", "情感倾向", "城市")), zh)
    index = "".join(f'{i},"{text}",{label}\n' for i, (text, label) in enumerate(en))
    add("row_names.csv", "text,label\n" + index, en)


def _add_labels(add: Add) -> None:
    rng = random.Random(3)
    en = english(240, ("positive", "negative", "neutral"), seed=3)
    stars = relabel(en, {"positive": "5", "negative": "1", "neutral": "3"})
    add("numbers.csv", table(stars, ("text", "label")), stars)
    binary = relabel(english(200, seed=4), {"positive": "1", "negative": "0"})
    add("numbers_no_header.csv", table(binary), binary)
    rare = [pair for pair in english(3000, seed=5) if pair[1] == "positive"][:1000]
    rare += [pair for pair in english(300, seed=6) if pair[1] == "negative"][:20]
    rare.reverse()
    add("imbalanced.csv", table(rare, ("text", "label")), rare)
    intents = many(1000, 200)
    add("two_hundred.csv", table(intents, ("query", "intent")), intents)
    add("seventy_no_header.csv", table(many(900, 77)), many(900, 77))
    topics = ["sport|news", "sport", "news", "music", "music|sport", "art|news", "art"]
    several = [(text, rng.choice(topics)) for text, _ in english(150, seed=7)]
    add("several_labels.csv", table(several, ("text", "tags")), several)


def _add_quotes(add: Add) -> None:
    en = english(150, seed=8)
    stray = [
        (f'"{text}' if number % 9 == 0 else text.replace("I ", 'I "" ', 1), label)
        for number, (text, label) in enumerate(en)
    ]
    stray = [(text.replace(",", " -"), label) for text, label in stray]
    add("stray_quotes.csv", "text,label\n" + "".join(f"{text},{label}\n" for text, label in stray), stray)
    inches = [(f'{text} 5" screen', label) for text, label in en]
    add("quotes_ordinary.tsv", plain(inches, "text\tlabel"), inches)
    lines = [
        (f"{text}\nAnd, second line.", label) if number % 4 == 0 else (text, label)
        for number, (text, label) in enumerate(en)
    ]
    add("quoted_newlines.csv", table(lines, ("text", "label")), lines)


def _add_objects(add: Add) -> None:
    en, zh = english(100, seed=9), chinese(100, seed=9)
    nested = [
        {"id": i, "text": t, "meta": {"lang": "en", "votes": i % 7}, "label": lab} for i, (t, lab) in enumerate(en)
    ]
    add("nested.jsonl", "\n".join(json.dumps(row) for row in nested), en)
    add("array.json", json.dumps([{"内容": t, "类别": lab} for t, lab in zh], ensure_ascii=False, indent=2), zh)
    add("fasttext.txt", "".join(f"__label__{lab} {t}\n" for t, lab in en), en)


FILES = _make()


def _understand(odd: Odd, folder: Path) -> tuple[str, str]:
    """``right``, ``asked`` or ``wrong``, and what was understood."""
    path = folder / odd.name
    path.write_bytes(odd.content)
    try:
        columns, profiles, records, described = read_profiled(str(path))
    except TunewrightError as error:
        return "asked", str(error)
    found = recognise_classification(profiles)
    if found is None or found.confidence < SURE:
        return "asked", f"{columns} {found}"
    text, label = found.columns["text"], found.columns["label"]
    rows = [(column_value(r.fields, text), column_value(r.fields, label)) for r in records() if r.fields]
    got = [(str(a).strip(), str(b).strip()) for a, b in rows]
    expected = [(a.strip(), b) for a, b in odd.truth]
    wrong = [pair for pair in zip(got, expected, strict=False) if pair[0] != pair[1]]
    return (
        "right" if got == expected else "wrong"
    ), f"{len(got)} of {len(expected)} rows, {found}, {described.notes}, {wrong[:2]}"


def test_there_are_forty_different_files() -> None:
    assert len(FILES) == 40
    assert len({odd.name for odd in FILES}) == 40


@pytest.mark.parametrize("odd", FILES, ids=lambda odd: odd.name)
def test_no_odd_file_is_understood_wrongly(odd: Odd, tmp_path: Path) -> None:
    outcome, said = _understand(odd, tmp_path)
    assert outcome != "wrong", said


def test_at_least_38_are_understood_without_a_flag(tmp_path: Path) -> None:
    outcomes = {odd.name: _understand(odd, tmp_path) for odd in FILES}
    asked = {name: said for name, (outcome, said) in outcomes.items() if outcome != "right"}
    assert len(asked) <= 2, asked


def test_several_labels_in_a_cell_are_seen(tmp_path: Path) -> None:
    (odd,) = [odd for odd in FILES if odd.name == "several_labels.csv"]
    path = tmp_path / odd.name
    path.write_bytes(odd.content)
    _, profiles, _, _ = read_profiled(str(path))
    assert looks_multilabel(profiles[1]) == "|"
    assert looks_multilabel(profiles[0]) is None
