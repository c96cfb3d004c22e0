"""A sliding window over a stream of JSON text: values are decoded one at a time, lines counted, memory bounded."""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import TextIO

_CHUNK_CHARACTERS = 1 << 18
_SPACE = re.compile(r"[ \t\n\r]*")
_MARKS = re.compile(r'["\\{}\[\]]')


class EndOfTextError(Exception):
    """The text ends where more is needed."""


class Window:
    """A place in a stream of JSON. ``line`` is the 1-based line of that place (after blanks, once peeked)."""

    def __init__(self, stream: TextIO, max_characters: int) -> None:
        """Begin at the start of the stream; no value of more than ``max_characters`` is held (plus one chunk)."""
        self._stream, self._limit = stream, max_characters
        self._text, self._at, self._is_ended = "", 0, False
        self.line = 1

    def peek(self) -> str:
        """The next character that is not blank. Raises EndOfTextError when there is none."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._advance(match.end() if match else self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                raise EndOfTextError

    def peek_second(self) -> str:
        """The character after the next one, blanks passed over; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at + 1)
            end = match.end() if match else self._at + 1
            if end < len(self._text):
                return self._text[end]
            if not self._more():
                return ""

    def skip(self, num_characters: int) -> None:
        """Pass over characters that were looked at."""
        self._advance(self._at + num_characters)

    def look(self, num_characters: int) -> str:
        """The text that comes next, for a message."""
        return self._text[self._at : self._at + num_characters]

    def value(self, decoder: JSONDecoder) -> tuple[object, int]:
        """The next value and its length in UTF-8 bytes; the place moves behind it.

        Raises ValueError (or RecursionError) when what follows, as far as the limit, is not a whole value.
        """
        self.peek()
        while True:
            try:
                found, end = decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError):
                if len(self._text) - self._at > self._limit or not self._more():
                    raise
                continue
            if end == len(self._text) and self._more():
                continue
            num_bytes = len(self._text[self._at : end].encode("utf-8", "replace"))
            self._advance(end)
            return found, num_bytes

    def pass_over_element(self, limit: int) -> bool:
        """Move behind the next value by its brackets alone when it is longer than ``limit`` characters.

        False, and the place stays, when it ends sooner (then it is malformed). Raises EndOfTextError when it does not end.
        """
        depth, in_string, passed, offset = 0, False, 0, 0
        while True:
            match = _MARKS.search(self._text, self._at + offset)
            if match is None:
                held = len(self._text) - self._at
                offset = max(offset, held)
                if passed + held > limit:
                    passed, offset = passed + held, offset - held
                    self._advance(len(self._text))
                if not self._more():
                    raise EndOfTextError
                continue
            mark, offset = match.group(), match.end() - self._at
            if mark == "\\":
                offset += 1
            elif mark == '"':
                in_string = not in_string
            elif not in_string:
                depth += 1 if mark in "{[" else -1
                if depth <= 0:
                    if passed + offset <= limit:
                        return False
                    self._advance(self._at + offset)
                    return True

    def _advance(self, end: int) -> None:
        if end > self._at:
            text = self._text
            self.line += text.count("\n", self._at, end)
            returns = text.count("\r", self._at, end)
            if returns:
                self.line += returns - text.count("\r\n", self._at, end)
                if self._at and text[self._at - 1] == "\r" and text[self._at] == "\n":
                    self.line -= 1
            self._at = end

    def _more(self) -> bool:
        """Read a chunk and drop what lies behind; False at the end of the stream."""
        chunk = self._stream.read(_CHUNK_CHARACTERS)
        if not chunk:
            return False
        keep = max(0, self._at - 1)
        self._text, self._at = self._text[keep:] + chunk, self._at - keep
        return True
