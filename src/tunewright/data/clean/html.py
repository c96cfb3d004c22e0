"""Text out of HTML: tags, comments, scripts and styles go, entities become characters."""

from __future__ import annotations

from html.parser import HTMLParser

from tunewright.config.base import ComponentConfig

_SILENT = frozenset(("script", "style", "template", "noscript"))
_BLOCK_NAMES = """
address article aside blockquote br dd div dl dt figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre
section table td th tr ul
"""
_BLOCKS = frozenset(_BLOCK_NAMES.split())


class Html:
    """Keeps what a reader of the page would see."""

    class Config(ComponentConfig):
        """``html`` has no options."""

    def __init__(self, config: Config | None = None) -> None:
        """Nothing to hold."""

    def apply(self, text: str) -> str:
        """The text without markup, blocks parted by a blank (``a < b`` stays). ValueError for nothing but markup."""
        if "<" not in text and "&" not in text:
            return text
        reader = _Reader()
        reader.feed(text)
        reader.close()
        seen = " ".join("".join(reader.parts).split())
        if not seen and text.strip():
            raise ValueError("nothing but markup")
        return seen


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag in _BLOCKS:
            self.parts.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in _BLOCKS:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)
