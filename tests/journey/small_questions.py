"""A small file in the shape of CLINC150: what people ask a cinema or, in Chinese, a shop, and what neither can help with."""

from __future__ import annotations

import json
import random
from itertools import product
from pathlib import Path

ENGLISH = {
    "praise": ("wonderful", "great and good", "good and wonderful", "great"),
    "complaint": ("terrible", "boring and bad", "bad and terrible", "boring"),
    "seats": ("2 seats 3", "seats 4 5", "1 seat 2", "seat 6 7"),
}
CHINESE = {
    "物流": ("我的包裹到哪里了", "快递什么时候到", "包裹寄出了吗", "帮我查快递"),
    "退款": ("我要退款", "钱什么时候退回来", "请把钱退给我", "怎么申请退款"),
    "密码": ("我忘记密码了", "怎么重置密码", "密码不对", "帮我改密码"),
}
BEFORE = {
    "en": ("the film", "this movie", "of the film and", "a film", "and the movie", "the movie is", "this was", "an"),
    "zh": ("你好，", "您好，", "请问", "打扰了，", "麻烦问下，", "那个，", "嗨，", "客服，"),
}
AFTER = {
    "en": ("film", "and this", "was the movie", "of a film", "is this", "the", "movie of", "and an"),
    "zh": ("谢谢", "急", "今天", "现在", "好吗", "可以吗", "在吗", "麻烦了"),
}
OUTSIDE = {
    "en": ("who won the match", "what is the weather like", "sing a song", "how tall is the tower", "cook some rice"),
    "zh": ("今天天气怎么样", "昨晚的球赛谁赢了", "给我唱首歌", "那座塔有多高", "怎么煮米饭"),
}
OTHER = {"en": "oos", "zh": "其他"}


def write_questions(path: Path, language: str, *, trained: bool = True) -> Path:
    """80 questions of each intent and 80 out of scope, half of them for training (of those out of scope only if ``trained``).

    A quarter is for validation and the rest for the test.
    """
    draw = random.Random(language)
    names = ("oos_val", "val", "train", "oos_test", "test", "oos_train")
    splits: dict[str, list[list[str]]] = {name: [] for name in names}
    groups = {**(ENGLISH if language == "en" else CHINESE), OTHER[language]: OUTSIDE[language]}
    between = " " if language == "en" else ""
    for label, cores in groups.items():
        parts = product(BEFORE[language], cores, AFTER[language])
        for number, text in enumerate(draw.sample([between.join(part) for part in parts], 80)):
            split = ("train", "train", "val", "test")[number % 4]
            if label == OTHER[language]:
                split = f"oos_{split if trained or split != 'train' else 'test'}"
            splits[split].append([text, label])
    path.write_text(json.dumps(splits, ensure_ascii=False, indent=1), encoding="utf-8")
    return path
