"""Every file in ``evaluate/baseline`` is a Baseline: it learns one label or several, English or Chinese, the same way twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tunewright import extensions
from tunewright.config.base import ComponentConfig
from tunewright.seams import Encoder
from tunewright.types import Classified, Floats, Label, Labels, Span, Spans

EVERY = extensions.names("evaluate.baseline")
NAMES = tuple(name for name in EVERY if not hasattr(extensions.load("evaluate.baseline", name), "answers"))
KINDS = {name: getattr(extensions.load("evaluate.baseline", name), "answers", "labels") for name in EVERY}
OF_SPANS = tuple(name for name in EVERY if KINDS[name] == "spans")
OF_TEXT = tuple(name for name in EVERY if KINDS[name] == "text")
LEARNING = tuple(name for name in NAMES if name != "majority")
ENGLISH = (("awful", "boring", "waste"), ("superb", "moving", "joy"), ("chair", "table", "lamp"))
CHINESE = (("难看", "失望", "浪费"), ("精彩", "感动", "喜欢"), ("桌子", "椅子", "台灯"))


def encode(texts: Sequence[str]) -> Floats:
    """Stands in for a frozen base: which of the telling words a text holds, and how long it is."""
    words = [word for group in (*ENGLISH, *CHINESE) for word in group]
    return np.array([[float(word in text) for word in words] + [len(text) / 50] for text in texts])


def corpus(words: Sequence[Sequence[str]], num_rows: int, seed: int, num_labels: int) -> tuple[list[str], Label]:
    rng = np.random.default_rng(seed)
    chosen = np.arange(num_rows) % num_labels
    joint = " " if words is ENGLISH else ""
    filler = ("the", "film", "was", "it", "and") if words is ENGLISH else ("这", "本", "书", "我", "们", "了")
    texts = [
        joint.join([*rng.choice(filler, 6), *rng.choice(words[int(label)], 2), f"{row}"])
        for row, label in enumerate(chosen)
    ]
    return texts, Label(("a", "b", "c")[:num_labels], chosen.astype(np.int64))


def several(num_rows: int, seed: int) -> tuple[list[str], Labels]:
    rng = np.random.default_rng(seed)
    chosen = rng.random((num_rows, 3)) < 0.4
    texts = [
        " ".join(["a", "thing", *(rng.choice(ENGLISH[int(label)]) for label in np.flatnonzero(row)), f"{number}"])
        for number, row in enumerate(chosen)
    ]
    return texts, Labels(("a", "b", "c"), chosen)


def learn(name: str, texts: Sequence[str], gold: Classified, encoder: Encoder = encode) -> Any:
    baseline: Any = extensions.load("evaluate.baseline", name)
    made = baseline(seed=3)
    made.fit(texts, gold, encoder)
    return made


@pytest.mark.parametrize("name", EVERY)
def test_it_says_what_it_is_and_owns_its_options(name: str) -> None:
    found: Any = extensions.load("evaluate.baseline", name)
    assert found.title
    assert issubclass(found.Config, ComponentConfig)
    assert all(field.description for field in found.Config.model_fields.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_labels", [2, 3])
@pytest.mark.parametrize("words", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_it_learns_one_label_per_row(name: str, num_labels: int, words: Sequence[Sequence[str]]) -> None:
    texts, gold = corpus(words, 120, 0, num_labels)
    other, truth = corpus(words, 60, 1, num_labels)
    answer = learn(name, texts, gold).predict(other, encode)
    assert isinstance(answer, Label)
    assert answer.names == gold.names
    assert answer.chosen.shape == (60,)
    assert answer.probabilities is not None
    assert answer.probabilities.sum(axis=1) == pytest.approx(np.ones(60))
    assert np.array_equal(answer.probabilities.argmax(axis=1), answer.chosen)
    accuracy = (answer.chosen == truth.chosen).mean()
    assert accuracy > 0.95 if name in LEARNING else accuracy == pytest.approx(1 / num_labels)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_several_labels_per_row(name: str) -> None:
    texts, gold = several(200, 0)
    other, truth = several(80, 1)
    answer = learn(name, texts, gold).predict(other, encode)
    assert isinstance(answer, Labels)
    assert answer.chosen.shape == (80, 3)
    assert answer.probabilities is not None
    assert ((answer.probabilities >= 0) & (answer.probabilities <= 1)).all()
    if name in LEARNING:
        assert (answer.chosen == truth.chosen).mean() > 0.9
        assert np.array_equal(answer.probabilities >= 0.5, answer.chosen)
    else:
        assert len(np.unique(answer.chosen, axis=0)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_answers(name: str) -> None:
    texts, gold = corpus(ENGLISH, 90, 0, 3)
    first, second = (learn(name, texts, gold).predict(texts, encode).probabilities for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_a_label_without_training_rows_is_no_obstacle(name: str) -> None:
    texts, gold = corpus(ENGLISH, 60, 0, 2)
    answer = learn(name, texts, Label(("a", "b", "never"), gold.chosen)).predict(texts, encode)
    assert answer.probabilities is not None
    assert answer.probabilities.shape == (60, 3)
    assert np.isfinite(answer.probabilities).all()
    assert not (answer.chosen == 2).any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("texts", [["one"], ["a", "b", "c"], ["   ", "\t", "!"], ["same"] * 4])
def test_hardly_any_text_is_no_obstacle(name: str, texts: list[str]) -> None:
    """One row, one label, blank texts, equal texts."""
    answer = learn(name, texts, Label(("a", "b"), np.zeros(len(texts), dtype=np.int64))).predict(["new", ""], encode)
    assert answer.probabilities is not None
    assert np.isfinite(answer.probabilities).all()
    assert answer.chosen.tolist() == [0, 0]


PEOPLE, PLACES = ("Ada", "Berta", "小明", "小红"), ("London", "Paris", "北京", "上海")


def visits(num_rows: int, seed: int, people: Sequence[str] = PEOPLE) -> tuple[list[str], Spans]:
    """Who went where, in two languages."""
    rng = np.random.default_rng(seed)
    texts, found = [], []
    for row in range(num_rows):
        who, where = str(rng.choice(people)), str(rng.choice(PLACES))
        text = f"{row} 天前{who}去了{where}。" if row % 2 else f"Yesterday {who} went to {where} for {row} days."
        spans = (
            Span(text.index(who), text.index(who) + len(who), "person"),
            Span(text.index(where), text.index(where) + len(where), "place"),
        )
        texts.append(text)
        found.append(spans)
    return texts, Spans(("person", "place"), tuple(found))


def learn_spans(name: str, texts: Sequence[str], gold: Spans) -> Any:
    made: Any = extensions.load("evaluate.baseline", name)
    baseline = made(seed=3)
    baseline.fit(texts, gold)
    return baseline


@pytest.mark.parametrize("name", OF_SPANS)
def test_it_learns_spans(name: str) -> None:
    assert extensions.load("evaluate.baseline", name).answers == "spans"  # type: ignore[attr-defined]
    texts, gold = visits(80, 0)
    other, truth = visits(40, 1)
    first, second = (learn_spans(name, texts, gold).predict(other) for _ in range(2))
    assert first == second
    assert first.names == gold.names
    right = sum(len(set(given) & set(true)) for given, true in zip(first.found, truth.found, strict=True))
    assert right > 0.95 * 80
    assert sum(map(len, first.found)) < 1.1 * 80


def test_a_list_of_names_knows_no_others_and_a_tagger_does() -> None:
    texts, gold = visits(80, 0)
    other, truth = visits(40, 1, people=("Cora", "小刚"))
    recalls = {}
    for name in OF_SPANS:
        found = learn_spans(name, texts, gold).predict(other).found
        right = sum(
            len({one for one in given if one.label == "person"} & set(true))
            for given, true in zip(found, truth.found, strict=True)
        )
        recalls[name] = right / 40
    assert recalls["gazetteer"] == 0.0
    assert recalls["perceptron_tagger"] > 0.5


@pytest.mark.parametrize("name", OF_SPANS)
def test_hardly_any_span_is_no_obstacle(name: str) -> None:
    empty = Spans(("a",), ((), ()))
    assert learn_spans(name, ["one", "   "], empty).predict(["one", "", "new"]).found == ((), (), ())
    assert learn_spans(name, [], Spans((), ())).predict(["one"]).found == ((),)


@pytest.mark.parametrize("name", OF_TEXT)
def test_it_writes_from_the_source_alone(name: str) -> None:
    sources = ["One sentence here. Another there.", "第一句。第二句。", "no end", ""]
    made: Any = extensions.load("evaluate.baseline", name)
    first, second = made(seed=3), made(seed=3)
    for baseline in (first, second):
        baseline.fit(sources[:2], ["One sentence here.", "第一句。"])
    assert first.predict(sources) == second.predict(sources)
    assert all(written in source for written, source in zip(first.predict(sources), sources, strict=True))
    empty = made(seed=3)
    empty.fit([], [])
    assert len(empty.predict(sources)) == 4


def test_every_kind_is_known() -> None:
    assert set(KINDS.values()) == {"labels", "spans", "text", "preferred"}


@pytest.mark.parametrize("name", [name for name in EVERY if KINDS[name] == "preferred"])
def test_it_prefers_by_the_answers_alone(name: str) -> None:
    made: Any = extensions.load("evaluate.baseline", name)
    for longer_is_better in (True, False):
        pairs = [("a long answer, and more of it", "短"), ("another long one", "x"), ("even", "an odd one out")]
        chosen, rejected = (list(side) for side in zip(*pairs, strict=True))
        baseline = made(seed=1)
        baseline.fit(*((chosen, rejected) if longer_is_better else (rejected, chosen)))
        leads = baseline.predict(chosen, rejected)
        assert (leads.margins > 0).tolist() == ([True, True, False] if longer_is_better else [False, False, True])
    empty = made(seed=1)
    empty.fit([], [])
    assert len(empty.predict([], [])) == 0
