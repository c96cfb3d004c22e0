"""Golden token ids notice another tokenizer and another template, and hold nothing of anybody's rows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tunewright.errors import CorruptError
from tunewright.infer.golden import GOLDEN, SENTENCES, check_golden, golden_ids
from tunewright.infer.load import load_tokenizer
from tunewright.infer.template import ChatTemplate

PLAIN = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


def test_the_same_encoder_has_the_same_digests(tiny_llama_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama_folder)
    template = ChatTemplate(PLAIN, "test", tokenizer)
    card = {GOLDEN: golden_ids(tokenizer, template)}
    assert set(card[GOLDEN]) == {*SENTENCES, "conversation"}
    assert len(set(card[GOLDEN].values())) == len(card[GOLDEN])
    again = load_tokenizer(tiny_llama_folder)
    assert set(check_golden(card, again, ChatTemplate(PLAIN, "", again), folder=tiny_llama_folder)) == set(card[GOLDEN])


def test_another_tokenizer_or_template_is_noticed(tiny_llama_folder: Path, tiny_bert_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama_folder)
    template = ChatTemplate(PLAIN, "test", tokenizer)
    card = {GOLDEN: golden_ids(tokenizer, template)}
    with pytest.raises(CorruptError, match="token ids") as caught:
        check_golden(card, load_tokenizer(tiny_bert_folder), template, folder=tiny_bert_folder)
    assert all(name in str(caught.value.given) for name in SENTENCES)
    with pytest.raises(CorruptError) as caught:
        check_golden(card, tokenizer, ChatTemplate(PLAIN.replace(":", "："), "", tokenizer), folder=tiny_llama_folder)
    assert caught.value.given == "other ids for: conversation"
    with pytest.raises(CorruptError, match="token ids"):
        check_golden(card, tokenizer, None, folder=tiny_llama_folder)


def test_what_changes_by_the_day_is_not_compared(tiny_llama_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama_folder)
    dated = ChatTemplate("{{ strftime_now('%d %b %Y') }}" + PLAIN, "", tokenizer, clock=lambda: datetime(2026, 1, 2))
    assert set(golden_ids(tokenizer, dated)) == set(SENTENCES)


def test_a_folder_without_digests_has_nothing_to_compare(tiny_llama_folder: Path) -> None:
    assert check_golden({}, load_tokenizer(tiny_llama_folder), folder=tiny_llama_folder) == ()
