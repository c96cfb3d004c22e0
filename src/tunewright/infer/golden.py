"""Golden token ids: what an encoder makes of fixed public sentences, kept as digests and asked again before serving.

A tokenizer that was exchanged, or a template that was edited, gives other ids and so other answers, without any error. The
sentences are public, so that a model's folder tells nothing of the rows that it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunewright.errors import CorruptError
from tunewright.infer.template import ChatTemplate
from tunewright.store.digest import digest_json

GOLDEN = "golden"
"""The key of ``tunewright.json`` under which the digests stand."""

SENTENCES: Mapping[str, str] = {
    "english": "The quick brown fox doesn't jump over 13 lazy dogs; it naps.",
    "chinese": "敏捷的棕色狐狸跳过了十三只懒狗，共花费１２．５元。",
    "emoji": "👩‍👩‍👧‍👦 naïve café ☕ 🇨🇳 e\u0301",
    "code": 'def f(x):\n\treturn {"a": x ** 2}  # <b>\r\n',
    "spaces": "  two  spaces\u3000and\u00a0others ",
}

CONVERSATION: Sequence[Mapping[str, str]] = (
    {"role": "user", "content": SENTENCES["english"]},
    {"role": "assistant", "content": SENTENCES["chinese"]},
    {"role": "user", "content": SENTENCES["code"].strip()},
)

_DATED = "strftime_now"


def golden_ids(tokenizer: Any, template: ChatTemplate | None = None) -> dict[str, str]:
    """The digest of the token ids of each sentence and, with a template, of a conversation.

    A template that prints today's date is left out: its ids change from day to day.
    """
    found = {name: digest_json(list(tokenizer(text)["input_ids"])) for name, text in SENTENCES.items()}
    if template is not None and _DATED not in template.source:
        found["conversation"] = digest_json(list(template.prompt(CONVERSATION)))
    return found


def check_golden(
    card: Mapping[str, Any], tokenizer: Any, template: ChatTemplate | None = None, *, folder: Path
) -> tuple[str, ...]:
    """The names of what was compared with the card's digests; none where the card has no digests.

    Raises CorruptError naming the sentences whose token ids are not those of training.
    """
    recorded: Mapping[str, str] = card.get(GOLDEN) or {}
    now = golden_ids(tokenizer, template if "conversation" in recorded else None) if recorded else {}
    differing = sorted(name for name, digest in recorded.items() if now.get(name) != digest)
    if differing:
        raise CorruptError(
            "the tokenizer does not give the token ids that the model was trained on",
            where=str(folder),
            given=f"other ids for: {', '.join(differing)}",
            allowed="the tokenizer and template files as they were saved with the weights",
            hint="copy the folder again from where it was made, or train again with these versions of the libraries",
        )
    return tuple(sorted(recorded))
