"""Which columns a task should read, judged from column names and from what a sample of each column looks like.

Names are the stronger evidence, in English and in Chinese. Without them the shapes decide: a text column is long and
varied, a label column takes few values again and again. Where two columns could be meant, the confidence falls below
``SURE``, so that the caller asks instead of choosing.

Without names a column with a value of its own in every row is taken for an identifier, never for the label: where it is
the label after all, another column of few values is wrongly chosen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from tunewright.types import ColumnProfile, Recognition
from tunewright.words import counted

SURE = 0.6
"""Below this confidence a recognition is not to be acted on without asking."""

_SEPARATORS = ("|", ";", "；", "、", ",", "，")


def _ranked(*tiers: str) -> Mapping[str, float]:
    """Name -> strength; the first tier is the strongest."""
    return {name: 1.0 - 0.15 * tier for tier, names in enumerate(tiers) for name in names.split()}


_TEXT_NAMES = _ranked(
    "text texts sentence sentences review_text comment_text tweet_text reviewtext utterance tweet 文本 文本内容 句子 语料",
    "review reviews comment comments content contents message messages body document post feedback query "
    "内容 评论 评论内容 评价 评价内容 正文 微博 弹幕 留言 消息 原文 文章",
    "question passage snippet description doc input prompt summary abstract 问题 描述 摘要",
    "title headline subject 标题",
)
_LABEL_NAMES = _ranked(
    "label labels 标签 label_name label_text gold_label",
    "class classes category categories intent intents sentiment polarity emotion is_spam "
    "类别 分类 情感 情感倾向 意图 情绪 极性 标注",
    "target topic topics tag tags annotation gold y 类型 主题",
    "rating ratings stars star score scores output 评分 星级 分数 得分 打分",
)
_PAIR_NAMES = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question", "answer"),
    ("问题", "回答"),
    ("text_a", "text_b"),
    ("question1", "question2"),
)
_OTHER_WORDS = """
id ids uid uuid guid no number index idx row user user_id userid username name author source url link href date time
datetime timestamp created_at updated_at lang language country city region split set subset fold email phone price
product product_id likes votes views 编号 序号 用户 用户名 作者 姓名 来源 链接 网址 日期 时间 发布时间 语言 城市 地区
划分 数据集 集合 商品 价格 点赞
"""
_OTHER_NAMES = frozenset(_OTHER_WORDS.split())

_ADDRESS = re.compile(r"(https?://|www\.)\S+|\S+@\S+\.\w+|[/\\]?[\w.-]+([/\\][\w.-]+){2,}")
_DATE = re.compile(r"\d{1,4}[-/.年]\d{1,2}([-/.月]\d{1,4}日?)?([ T]\d.*)?|\d{1,2}:\d{2}(:\d{2})?")
_CODE = re.compile(r"(?=\S*\d)[A-Za-z0-9_\-:.#]{2,40}")
_UNNAMED = re.compile(r"column_\d+(_\d+)?|unnamed.*|\d+|", re.IGNORECASE)


def recognise_classification(profiles: Sequence[ColumnProfile]) -> Recognition | None:
    """The ``text`` and the ``label`` column, or None where the data do not look like texts with labels.

    ``confidence`` is that of the weaker of the two; below ``SURE`` the reasons name the other column that could be meant.
    """
    profiles = [profile for profile in profiles if profile.num_values]
    texts = _rate(profiles, _text_score, _TEXT_NAMES)
    if not texts:
        return None
    text, text_confidence, text_reason = _choose(texts, 0.4)
    others = [profile for profile in profiles if profile is not text]
    labels = _rate(others, _label_score, _LABEL_NAMES)
    if not labels:
        return None
    label, label_confidence, label_reason = _choose(labels, 0.1)
    confidence = min(text_confidence, label_confidence)
    bearers = [profile.name for profile in others if _name_strength(profile.name, _LABEL_NAMES) > 0.6]
    if bearers and label.name not in bearers:
        confidence = min(confidence, 0.4)
        label_reason += f"; but {bearers[0]} has the name of a label column"
    pair = _pair(profiles)
    if pair is not None:
        confidence = min(confidence, 0.3)
        text_reason += f"; but {pair[0]} and {pair[1]} look like a pair of texts"
    return Recognition(
        columns={"text": text.name, "label": label.name},
        confidence=round(confidence, 2),
        reasons={"text": text_reason, "label": label_reason},
    )


def looks_multilabel(profile: ColumnProfile) -> str | None:
    """``"list"``, or the separator between labels in one cell, or None when each cell is one label.

    A separator counts when the parts come again in other cells, so that ``news/world`` alone stays one label.
    """
    if profile.is_list:
        return "list"
    total = sum(profile.counts.values())
    for separator in _SEPARATORS:
        cells = {cell: count for cell, count in profile.counts.items() if separator in cell}
        joined = sum(cells.values())
        if not total or joined < max(2, 0.02 * total):
            continue
        parts = [[part.strip() for part in cell.split(separator)] for cell in profile.counts]
        in_cells = Counter(part for cell in parts for part in set(cell))
        inside = {part for cell in parts if len(cell) > 1 for part in cell}
        shared = sum(1 for part in inside if in_cells[part] > 1)
        if "" in inside or max(map(len, inside)) > 40 or len(inside) > 1000:
            continue
        if shared >= 0.6 * len(inside) and len(in_cells) < len(cells) + len(profile.counts):
            return separator
    return None


# ------------------------------------------------------------------------------------------------------------ choosing

_Rated = tuple[ColumnProfile, float, float, str]


def _rate(
    profiles: Iterable[ColumnProfile],
    shape: Callable[[ColumnProfile], tuple[float, str]],
    names: Mapping[str, float],
) -> list[_Rated]:
    """(column, score, how much its name says, reason) for each column whose shape allows the role, the best first."""
    rated: list[_Rated] = []
    for profile in profiles:
        score, reason = shape(profile)
        if score <= 0:
            continue
        named = _name_strength(profile.name, names)
        if named:
            reason = f"its name, and {reason}"
        elif _fold(profile.name) in _OTHER_NAMES:
            score *= 0.3
        rated.append((profile, score + named, named, reason))
    return sorted(rated, key=lambda entry: (-entry[1], entry[0].position))


def _choose(rated: Sequence[_Rated], least: float) -> tuple[ColumnProfile, float, str]:
    """The best column, with a confidence that falls as the runner-up comes near.

    Without a name to go by, any other column that scores ``least`` could be meant as well.
    """
    best, score, named, reason = rated[0]
    confidence = min(0.98, 0.7 + 0.3 * named) if named else min(0.85, score + 0.15)
    if named and score - named < 0.2 and best.num_distinct > 1:
        confidence = min(confidence, 0.5)
        reason = f"its name, although {reason.removeprefix('its name, and ')}"
    if len(rated) > 1:
        other, other_score, other_named, _ = rated[1]
        gap = score - other_score
        if not named:
            is_close = gap < 0.2 or other_score >= least
        else:
            is_close = gap < (0.12 if other_named else 0.2) and other_score - other_named >= 0.2
        if is_close:
            confidence = min(confidence, 0.4)
            reason += f"; but {other.name} could be meant as well"
    return best, confidence, reason


def _name_strength(name: str, names: Mapping[str, float]) -> float:
    folded = _fold(name)
    if folded in names:
        return names[folded]
    if _UNNAMED.fullmatch(folded) or folded in _OTHER_NAMES:
        return 0.0
    last = folded.rsplit(".", 1)[-1]
    if last in names:
        return names[last] - 0.1
    parts = [part for part in re.split(r"[_.\s]+", folded) if part in names]
    if parts and not any(part in _OTHER_NAMES for part in re.split(r"[_.\s]+", folded)):
        return max(names[part] for part in parts) - 0.3
    return 0.0


def _fold(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())).lower()


def _pair(profiles: Sequence[ColumnProfile]) -> tuple[str, str] | None:
    names = {_fold(profile.name): profile.name for profile in profiles}
    return next(((names[a], names[b]) for a, b in _PAIR_NAMES if a in names and b in names), None)


# -------------------------------------------------------------------------------------------------------------- shapes


def _text_score(profile: ColumnProfile) -> tuple[float, str]:
    """How much a column looks like running text, 0..0.75."""
    if (
        profile.is_list
        or profile.fraction_numeric > 0.5
        or _share(profile, _ADDRESS) > 0.8
        or _share(profile, _DATE) > 0.8
    ):
        return 0.0, ""
    if _share(profile, _CODE) > 0.8:
        return 0.0, ""
    words = profile.mean_words
    length = f"{profile.mean_length:.0f} characters on average, {profile.fraction_distinct:.0%} of the values distinct"
    if words < 1.2 and profile.mean_length < 12:
        return 0.02, length
    score = 0.2 + 0.3 * min(1.0, max(0.0, words - 1) / 8) + 0.25 * min(1.0, profile.fraction_distinct * 1.5)
    if profile.num_values >= 20 and profile.fraction_distinct < 0.02:
        score = 0.05
    if words < 2.5:
        score = min(score, 0.3)
    return score, length


def _label_score(profile: ColumnProfile) -> tuple[float, str]:
    """How much a column looks like class labels, 0..0.7."""
    distinct, num = profile.num_distinct, profile.num_values
    if profile.is_list:
        return (0.7, "it holds lists") if profile.mean_length < 200 else (0.0, "")
    if distinct < 2:
        return (0.05, "it has one value only") if distinct else (0.0, "")
    if profile.is_sequential or _share(profile, _ADDRESS) > 0.5 or _share(profile, _DATE) > 0.5:
        return 0.0, ""
    if profile.fraction_numeric > 0.9 and profile.fraction_integer < 0.9:
        return 0.0, ""
    values = f"{counted(distinct, 'value')} in {counted(num, 'row')}"
    if looks_multilabel(profile) is not None and profile.mean_length < 60:
        return 0.6, f"{values}, several to a cell"
    if profile.mean_length > 40 or profile.max_length > 100:
        return 0.02, values
    repeats = _repeat_score(profile)
    if profile.fraction_integer > 0.9:
        repeats *= 0.8 if _is_small_range(profile) else 0.5
    return repeats, values


def _repeat_score(profile: ColumnProfile) -> float:
    """0.65 for a few values that come again and again, falling to nothing where every value is its own."""
    ratio = profile.fraction_distinct
    if ratio > 0.67 and profile.num_distinct > 3:
        return 0.02
    if ratio > 0.4 and profile.num_distinct > 3:
        return 0.25
    return 0.65 - (0.7 if profile.num_distinct > 3 else 0.3) * ratio


def _is_small_range(profile: ColumnProfile) -> bool:
    numbers = {float(value) for value in profile.counts}
    low, high = min(numbers), max(numbers)
    return low in (-1, 0, 1) and high - low + 1 <= max(2, 1.5 * len(numbers)) and high <= 1000


def _share(profile: ColumnProfile, pattern: re.Pattern[str]) -> float:
    """The share of the examples that match the pattern whole."""
    return (
        sum(1 for text in profile.examples if pattern.fullmatch(text)) / len(profile.examples)
        if profile.examples
        else 0.0
    )
