"""Results of runs as they are written to ``result.json``: six shapes that the page has to render."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

Result = dict[str, Any]


def measure(value: float, half: float, rows: int, note: str = "") -> Result:
    """A metric with a symmetric interval."""
    return {
        "value": value,
        "interval": [value - half, value + half],
        "num_rows": rows,
        "method": "bootstrap",
        "note": note,
    }


def comparison(
    against: str, tuned: float, opponent: float, half: float, p: float, *, required: bool, rows: int
) -> Result:
    """One comparison in accuracy."""
    difference = tuned - opponent
    return {
        "against": against,
        "metric": "accuracy",
        "tuned": tuned,
        "opponent": opponent,
        "difference": difference,
        "interval": [difference - half, difference + half],
        "p": p / 2,
        "p_holm": p,
        "test": "exact McNemar",
        "num_rows": rows,
        "num_discordant": rows // 5,
        "smallest_detectable": half * 1.4,
        "required": required,
    }


def roc_curve(area: float) -> tuple[list[float], list[float]]:
    """The binormal ROC curve y = x ** ((1 - a) / a), whose area is a."""
    xs = [index / 80 for index in range(81)]
    return xs, [x ** ((1 - area) / area) for x in xs]


def curve(label: str, area: float, xs: Sequence[float], ys: Sequence[float]) -> Result:
    """One labelled curve."""
    return {"label": label, "area": area, "x": list(xs), "y": list(ys)}


def drawn(lines: Sequence[Result], note: str = "") -> Result:
    """The curves of one figure."""
    return {"curves": list(lines), "note": note}


def curves(num_steps: int, accuracies: Sequence[float], best: int) -> Result:
    """A falling noisy loss, one skipped step, evaluations at even distances."""
    source = random.Random(7)
    steps = [
        {
            "step": step,
            "epoch": step / num_steps * 2,
            "loss": 0.28 + 0.42 * math.exp(-4 * step / num_steps) + source.gauss(0, 0.05),
            "lr": 5e-5 * min(step / (num_steps / 10), 1) * (1 + math.cos(math.pi * step / num_steps)) / 2,
            "gradient_norm": 1.5 + source.random() * (9 if step == num_steps // 3 else 1),
            "skipped": step == num_steps // 2,
        }
        for step in range(1, num_steps + 1)
    ]
    every = num_steps // len(accuracies)
    evaluations = [
        {
            "step": every * (i + 1),
            "epoch": 2 * (i + 1) / len(accuracies),
            "metric": "accuracy",
            "value": value,
            "loss": 0.62 - value / 4 + 0.01 * i,
        }
        for i, value in enumerate(accuracies)
    ]
    return {
        "steps": steps,
        "evaluations": evaluations,
        "best_step": every * best,
        "stopped_because": "no better evaluation in 3",
    }


def movie() -> Result:
    """A binary English run that is better than its opponents."""
    result: Result = json.loads(Path(__file__).with_name("movie.json").read_text(encoding="utf-8"))
    return result | {"curves": curves(464, (0.79, 0.831, 0.846, 0.858, 0.861, 0.859, 0.8585, 0.8602), 5)}


def many_classes() -> Result:
    """77 intents: long label lists, a ranked list of pairs in place of a matrix, many curves."""
    result = movie()
    topics = ("card", "transfer", "top_up", "cash", "exchange", "verify", "account")
    labels = [
        f"{topic}_{'_'.join(what)}"
        for topic in topics
        for what in [(x, y) for x in ("is", "why", "lost") for y in ("late", "charged", "declined", "wrong")]
    ][:77]
    labels += [f"other_{n}" for n in range(77 - len(labels))]
    source = random.Random(5)
    result |= {"id": "banking77-7f3e21aa", "task": "classify", "thresholds": {}, "num_judged": 3080}
    result["data"] |= {
        "labels": labels,
        "splits": {"train": 9002, "validation": 1001, "test": 3080},
        "label_counts": {
            s: {label: source.randint(*span) for label in labels}
            for s, span in {"train": (35, 187), "validation": (4, 20), "test": (40, 40)}.items()
        },
    }
    result["per_label"] = {
        label: {"precision": p, "recall": min(1.0, p + 0.02), "f1": p + 0.01, "support": 40}
        for label in labels
        for p in [0.6 + source.random() * 0.38]
    }
    areas = [0.93 + 0.06 * source.random() for _ in labels]
    worst = sorted(zip(areas, labels, strict=True))[:5]
    note = "mean of 77 labels and the 5 of the smallest area"
    mean = curve("mean of all labels", sum(areas) / 77, *roc_curve(sum(areas) / 77))
    result["figures"] = {
        "roc": drawn([mean, *(curve(label, area, *roc_curve(area)) for area, label in worst)], note),
        "pr": drawn(
            [
                curve(label, area, roc_curve(area)[0], [1 - x ** (14 * area - 9) for x in roc_curve(area)[0]])
                for area, label in worst
            ],
            note,
        ),
        "confusion": {
            "pairs": [
                {"gold": labels[i], "answered": labels[(i * 7 + 3) % 77], "count": 30 - i, "share": (30 - i) / 40}
                for i in range(20)
            ]
        },
        "reliability": result["figures"]["reliability"],
    }
    result["errors"] = [error | {"gold": labels[3], "answered": labels[8]} for error in result["errors"]]
    return result


def multi_label() -> Result:
    """Several labels a row: lists in the errors, a threshold for each label, no confusion matrix."""
    result = movie()
    labels = ["anger", "joy", "sadness", "surprise", "no emotion at all"]
    result |= {"id": "emotions-44c0ffee", "thresholds": {label: 0.31 + 0.05 * i for i, label in enumerate(labels)}}
    result["verdict"] |= {"metric": "micro_f1"}
    result["metrics"] = {
        "micro_f1": measure(0.612, 0.02, 900),
        "subset_accuracy": measure(0.401, 0.03, 900),
        "hamming_loss": measure(0.11, 0.01, 900),
    }
    result["data"] |= {
        "labels": labels,
        "label_counts": {
            "train": {label: 900 // (i + 1) for i, label in enumerate(labels)},
            "test": {label: 200 // (i + 1) for i, label in enumerate(labels)},
        },
    }
    result["per_label"] = {
        label: {"precision": 0.7 - 0.1 * i, "recall": 0.5, "f1": 0.6 - 0.08 * i, "support": 200 // (i + 1)}
        for i, label in enumerate(labels)
    }
    shown = [(label, 0.9 - 0.05 * i) for i, label in enumerate(labels[:3])]
    result["figures"] = {"roc": drawn([curve(label, area, *roc_curve(area)) for label, area in shown])}
    result["errors"] = [error | {"gold": ["joy", "surprise"], "answered": []} for error in result["errors"][:4]]
    return result


def chinese() -> Result:
    """Chinese labels and texts, twelve classes, worse than the strongest baseline."""
    result = movie()
    labels = ["工学", "医学", "农学", "管理学", "历史学", "教育学", "理学", "哲学", "法学", "文学", "艺术学", "经济学"]
    source = random.Random(11)
    counts = [[0 if source.random() < 0.45 else source.randint(1, 9) for _ in labels] for _ in labels]
    for i in range(12):
        counts[i][i] = 60 - 3 * i
        counts[i][(i + 1) % 12] += 2 * i
    result |= {"id": "学科分类-0badcafe", "command": "tunewright run 摘要.csv", "thresholds": {}, "num_judged": 900}
    result["data"] |= {
        "labels": labels,
        "columns": {"text": "摘要", "label": "学科"},
        "label_counts": {
            "train": {label: 600 - 40 * i for i, label in enumerate(labels)},
            "test": {label: 90 - 5 * i for i, label in enumerate(labels)},
        },
    }
    result["data"]["files"][0] |= {"path": "数据/摘要.csv", "encoding": "gb18030"}
    result["per_label"] = {
        label: {"precision": 0.8, "recall": 0.7 - 0.02 * i, "f1": 0.75 - 0.02 * i, "support": 90}
        for i, label in enumerate(labels)
    }
    result["verdict"] |= {
        "outcome": "worse",
        "sentence": "在 900 条测试数据上，微调后的模型输给了 NB-SVM。",
        "comparisons": [
            comparison("nb_svm", 0.741, 0.783, 0.031, 0.008, required=True, rows=900),
            comparison("untouched_base", 0.741, 0.702, 0.033, 0.021, required=True, rows=900),
            comparison("majority", 0.741, 0.09, 0.03, 1e-60, required=False, rows=900),
        ],
    }
    result["diagnosis"] = {
        "cause": "under-fit",
        "evidence": ["训练集上的准确率只有 0.76。"],
        "next_command": "tunewright run 摘要.csv train.epochs=4",
    }
    result["curves"] = curves(40, (0.6, 0.7, 0.735, 0.741), 4)
    fpr, tpr = roc_curve(0.88)
    result["figures"] = {
        "confusion": {"labels": labels, "counts": counts},
        "roc": drawn(
            [curve(label, 0.88 - i / 50, fpr, [t ** (1 + i / 9) for t in tpr]) for i, label in enumerate(labels)]
        ),
    }
    result["errors"] = [
        {
            "id": 7,
            "origin": "数据/摘要.csv:8",
            "text": "本文采用Navier-Stokes方程对家用空调贯流风机内部偏心涡的演化规律进行了数值模拟。"
            "联系人电话１３８１２３４５６７８，身份证11010519491231002X。",
            "gold": "工学",
            "answered": "理学",
            "confidence": 0.97,
        }
    ]
    return result


def tiny() -> Result:
    """Sixty rows judged out of fold: no evidence, wide intervals, an early stop."""
    result = movie()
    result |= {"id": "tickets-00000060", "judged_on": "out-of-fold", "num_judged": 60, "thresholds": {}}
    result["metrics"] = {"accuracy": measure(0.75, 0.11, 60), "macro_f1": measure(0.71, 0.13, 60)}
    result["systems"] = {
        "tuned": {"accuracy": 0.75, "macro_f1": 0.71},
        "nb_svm": {"accuracy": 0.75, "macro_f1": 0.7},
        "majority": {"accuracy": 0.6, "macro_f1": 0.375},
    }
    result["verdict"] |= {
        "outcome": "no evidence",
        "sentence": "60 rows cannot tell the tuned model from NB-SVM: the difference is 0.0 points, "
        "and only one of 17 or more would show.",
        "comparisons": [
            comparison("nb_svm", 0.75, 0.75, 0.12, 1.0, required=True, rows=60),
            comparison("untouched_base", 0.75, 0.68, 0.14, 0.42, required=True, rows=60),
            comparison("majority", 0.75, 0.6, 0.15, 0.09, required=False, rows=60),
        ],
    }
    result["diagnosis"] = {
        "cause": "too few rows",
        "evidence": ["The smallest difference that this test can show is 17 points."],
        "next_command": "tunewright run tickets.csv more-tickets.csv",
    }
    result["curves"] = {
        "steps": [
            {"step": n, "epoch": n / 6, "loss": 0.7 - n / 100, "lr": 5e-5, "gradient_norm": 2.0, "skipped": False}
            for n in range(1, 13)
        ],
        "evaluations": [{"step": 12, "epoch": 2, "metric": "accuracy", "value": 0.75, "loss": 0.6}],
        "best_step": 12,
        "stopped_because": "all epochs are done",
    }
    result["ledger"] = {"used": 60, "truncated": 0, "duplicate": 0, "rejected": 0, "total": 60, "reasons": {}}
    return result


def partial() -> Result:
    """An interrupted run: data and some steps, no evaluation."""
    full = movie()
    result = {
        key: full[key]
        for key in (
            "format",
            "run",
            "id",
            "created",
            "command",
            "task",
            "method",
            "data",
            "ledger",
            "config",
            "environment",
        )
    }
    result["curves"] = {"steps": full["curves"]["steps"][:90]}
    result["data"] = {key: full["data"][key] for key in ("splits", "columns", "label_counts", "findings")}
    return result


def chat() -> Result:
    """A text model, English and Chinese: it predicts better and does not stop often enough."""
    result = movie()
    result |= json.loads(Path(__file__).with_name("chat.json").read_text(encoding="utf-8"))
    result["data"] |= {"labels": [], "label_counts": {}, "columns": {"messages": "messages"}}
    losses = (2.9, 2.71, 2.66)
    result["curves"] = curves(300, losses, 3)
    for one, loss in zip(result["curves"]["evaluations"], losses, strict=True):
        one |= {"metric": "nll_per_token", "loss": loss}
    return result


BUILDERS = {
    "chat": chat,
    "movie": movie,
    "many-classes": many_classes,
    "multi-label": multi_label,
    "chinese": chinese,
    "tiny": tiny,
    "partial": partial,
}


@pytest.fixture(scope="session")
def built() -> dict[str, Result]:
    """Every result by name, built once."""
    return {name: build() for name, build in BUILDERS.items()}


@pytest.fixture
def results(built: dict[str, Result]) -> dict[str, Result]:
    """A fresh copy of every result, free to be changed."""
    return copy.deepcopy(built)


@pytest.fixture
def result(results: dict[str, Result]) -> Result:
    """The binary English run."""
    return results["movie"]
