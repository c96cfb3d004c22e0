"""HTML that is safe by construction: a plain string is escaped, always; only ``Markup`` goes through as it is.

    element("p", "a < b", class_="note")      <p class="note">a &lt; b</p>

Element and attribute names are written in this package alone; whatever comes from data or from a recipe can only arrive
as a child or as an attribute's value, and both are escaped here, in one place.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

VOID = frozenset({"meta", "br", "wbr", "hr", "col"})

# Control characters, lone surrogates and non-characters have no place in a page; the directional overrides could make
# a row rearrange the text around it. Tab and newline stay.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
KANA_OR_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af]")


class Markup(str):
    """HTML that this package made; it is not escaped again."""

    __slots__ = ()


def clean(text: str) -> str:
    """``text`` with control characters, lone surrogates and directional overrides replaced by U+FFFD."""
    return UNSAFE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def escape(text: str) -> Markup:
    """``text`` as HTML: ``Markup`` unchanged, anything else cleaned and escaped, quotes included."""
    return text if isinstance(text, Markup) else Markup(html.escape(clean(text), quote=True))


def element(name: str, /, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """One element. Attributes: a trailing ``_`` is dropped, ``_`` inside becomes ``-``; None and False leave it out."""
    written = "".join(
        _attribute(key, value) for key, value in attributes.items() if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def _attribute(key: str, value: str | float | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    # An attribute is text even where it is made of Markup, so it is escaped as such.
    return f' {name}="{html.escape(clean(str(value)), quote=True)}"'


def join(children: Iterable[str | None], between: str = "") -> Markup:
    """The children one after another, each escaped unless it is Markup; None is left out."""
    return Markup(escape(between).join(escape(child) for child in children if child is not None))


def datum(text: str, limit: int | None = None) -> Markup:
    """A string of the user's as inline text: cut after ``limit`` characters, isolated in direction, marked if Chinese."""
    shown = text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"
    return element("bdi", shown, lang=language(shown))


def language(text: str) -> str | None:
    """``zh`` where Han characters make up a tenth of the text and no kana or Hangul occurs; it picks the right glyphs."""
    num_han = len(HAN.findall(text))
    return "zh" if num_han and num_han * 10 >= len(text) and not KANA_OR_HANGUL.search(text) else None
