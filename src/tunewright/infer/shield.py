"""Keep what people write text: a message that spells a control token must not become one.

A chat template prints what a message says and its own control tokens into one text, and a tokenizer cannot tell them apart:
who writes ``<|im_end|>`` into a question would end their turn and speak as somebody else. So the spellings are hidden while
the template renders, behind as many letters of private use, and then written out letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunewright.infer.load import spell

_PRIVATE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))


class Shield:
    """What messages and tools spell of the control tokens, each behind a letter of its own that none of them holds."""

    def __init__(self, control: re.Pattern[str], said: Sequence[Any]) -> None:
        """``control`` finds the spellings; ``said`` is all that will be rendered."""
        self._control = control
        texts = [text for each in said for text in _texts(each)]
        spelled = sorted({found for text in texts for found in control.findall(text)})
        self._letters: dict[str, str] = {}
        if spelled:
            taken = set().union(*texts)
            free = (chr(code) for codes in _PRIVATE for code in codes if chr(code) not in taken)
            self._letters = dict(zip(spelled, free, strict=False))

    def hide(self, said: Sequence[Any]) -> list[Any]:
        """The same with every spelling behind its letters; no text changes its length."""
        return [_mapped(each, self._hidden) for each in said] if self._letters else list(said)

    def tokenize(self, tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids of a rendered text and the characters of each, with the spellings written out as plain text."""
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for start, piece, spelled in self._pieces(text):
            if spelled:
                letters = spell(tokenizer, spelled)
                ids += letters
                offsets += [(start, start + len(piece))] * len(letters)
            else:
                encoded = tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True)
                ids += encoded["input_ids"]
                offsets += [(start + first, start + last) for first, last in encoded["offset_mapping"]]
        return ids, offsets

    def _hidden(self, text: str) -> str:
        return self._control.sub(lambda found: self._letters[found[0]] * len(found[0]), text)

    def _pieces(self, text: str) -> Iterator[tuple[int, str, str]]:
        """Where each piece begins, the piece, and the spelling that it hides; runs of letters stand for one or more."""
        names = {letter: spelled for spelled, letter in self._letters.items()}
        hidden = "|".join(f"{letter}{{{len(spelled)}}}" for letter, spelled in names.items())
        end = 0
        for found in re.finditer(hidden, text) if hidden else ():
            if found.start() > end:
                yield end, text[end : found.start()], ""
            yield found.start(), found[0], names[found[0][0]]
            end = found.end()
        if end < len(text) or not text:
            yield end, text[end:], ""


def _texts(said: Any) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    elif isinstance(said, Mapping):
        for key, value in said.items():
            yield from (*_texts(key), *_texts(value))
    elif isinstance(said, Sequence):
        for each in said:
            yield from _texts(each)


def _mapped(said: Any, change: Any) -> Any:
    if isinstance(said, str):
        return change(said)
    if isinstance(said, Mapping):
        return {_mapped(key, change): _mapped(value, change) for key, value in said.items()}
    if isinstance(said, Sequence):
        return [_mapped(each, change) for each in said]
    return said
