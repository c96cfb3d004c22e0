"""Column names that people give to tables of texts, and the test whether a first row is a header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_WORDS = """
    text texts sentence sentences review reviews comment comments content contents body message messages tweet utterance
    query question answer document doc description title headline subject summary abstract snippet post passage premise
    hypothesis sentence1 sentence2 input prompt feedback reviewtext review_text comment_text tweet_text
    label labels category categories class classes intent intents sentiment topic topics target tag tags polarity
emotion     rating ratings score scores stars star gold y output annotation is_spam spam toxic
    id ids uid uuid no number index idx row user user_id userid username name author source url link date time datetime
    timestamp created_at lang language country city split set subset fold email phone price product product_id
    文本 内容 评论 句子 正文 文章 评价 微博 弹幕 问题 回答 标题 摘要 描述 留言 消息 语料 原文 评论内容 评价内容 文本内容
    标签 类别 情感 分类 类型 意图 主题 情绪 极性 标注 情感倾向 评分 星级 分数 得分 打分
    编号 序号 用户 用户名 作者 姓名 来源 链接 网址 日期 时间 发布时间 语言 城市 地区 划分 数据集 集合 商品 价格
"""

KNOWN_HEADERS = frozenset(_WORDS.split())

_NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?([eE][-+]?\d+)?%?")
_DATE = re.compile(r"\d{1,4}[-/.年]\d{1,2}([-/.月]\d{1,4}日?)?([ T].*)?")


def is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of the sample rows names the columns; by known names, else by how it differs from the rest."""
    if not rows:
        return False
    first = [cell.strip() for cell in rows[0]]
    rest = [row for row in rows[1:] if row != rows[0]]
    filled = [cell for cell in first if cell]
    if not filled or len(set(filled)) < len(filled) or any(len(cell) > 64 for cell in filled):
        return False
    if any(_NUMBER.fullmatch(cell) or _DATE.fullmatch(cell) or "://" in cell for cell in filled):
        return False
    if any(recurs(cell, [row[at].strip() for row in rest if at < len(row)]) for at, cell in enumerate(first) if cell):
        return False
    if any(fold_header(cell) in KNOWN_HEADERS for cell in filled):
        return True
    return any(
        differs(cell, [row[at].strip() for row in rest if at < len(row)]) for at, cell in enumerate(first) if cell
    )


def fold_header(name: str) -> str:
    """A column name for comparison: lower case, with ``_`` for blanks and dashes."""
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def recurs(cell: str, values: Sequence[str]) -> bool:
    """Whether the first cell comes again below it, as a value would and a name would not."""
    return bool(cell) and cell in values


def differs(cell: str, values: Sequence[str]) -> bool:
    """Whether the first cell is unlike the values of its column.

    It is a word over numbers or dates, a short name over long texts, or stands once over a few values that all recur.
    """
    filled = [value for value in values if value]
    if not filled:
        return False
    if sum(1 for value in filled if _NUMBER.fullmatch(value) or _DATE.fullmatch(value)) >= 0.95 * len(filled):
        return True
    shortest = sorted(map(len, filled))[len(filled) // 50]
    if len(cell) < shortest and len(cell) <= 20 and " " not in cell and shortest >= 8:
        return True
    counts = Counter(filled)
    return len(filled) >= 8 and 2 <= len(counts) <= len(filled) // 4 and min(counts.values()) >= 2


def unique_names(cells: Sequence[str]) -> tuple[str, ...]:
    """Header cells as column names: empty ones get ``column_N``, repeated ones a number."""
    names: list[str] = []
    for position, cell in enumerate(cells, start=1):
        name = cell.strip() or f"column_{position}"
        number = 2
        while name in names:
            name = f"{cell.strip() or f'column_{position}'}_{number}"
            number += 1
        names.append(name)
    return tuple(names)


def numbered_names(num_columns: int) -> tuple[str, ...]:
    """The names of columns in a file without a header: ``column_1``, ``column_2`` ..."""
    return tuple(f"column_{position}" for position in range(1, num_columns + 1))
