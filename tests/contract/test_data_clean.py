"""Every file in ``data/clean`` is a Cleaner: it changes text or rejects it, twice is the same as once, nothing else is raised."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright import extensions
from tunewright.config.base import ComponentConfig

NAMES = extensions.names("data.clean")


def build(name: str) -> Any:
    found: Any = extensions.load("data.clean", name)
    return found(found.Config())


@pytest.mark.parametrize("name", NAMES)
def test_a_cleaner_owns_its_options(name: str) -> None:
    config = extensions.load("data.clean", name).Config  # type: ignore[attr-defined]
    assert issubclass(config, ComponentConfig)
    assert all(field.description for field in config.model_fields.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_cleaner_leaves_clean_text_alone(name: str) -> None:
    for text in ("A plain sentence, with commas.", "一个普通的句子", "naïve café"):
        assert build(name).apply(text) == text


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(max_size=200))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_cleaner_gives_text_or_a_reason(name: str, text: str) -> None:
    cleaner = build(name)
    try:
        once = cleaner.apply(text)
    except ValueError:
        return
    assert isinstance(once, str)
    if name != "html":  # what &lt;b&gt; stands for is markup again
        assert cleaner.apply(once) == once


EXAMPLES = [
    ("unicode", "cafe\u0301", "café"),
    ("control", "a\x00b\r\nc\u2028d\ufeff", "ab\nc\nd"),
    ("trim", "\u3000 两边 \n", "两边"),
    ("space", "a \t b\n\nc", "a b c"),
    ("width", "ＡＢＣ１２３，好！\u3000的", "ABC123,好! 的"),
    ("html", "<p>Fish &amp; <b>chips</b></p><br><script>x()</script>3 < 4", "Fish & chips 3 < 4"),
]


@pytest.mark.parametrize(("name", "given_text", "expected"), EXAMPLES)
def test_what_each_cleaner_does(name: str, given_text: str, expected: str) -> None:
    assert build(name).apply(given_text) == expected


def test_every_cleaner_has_an_example_above() -> None:
    assert {name for name, _, _ in EXAMPLES} == set(NAMES)
