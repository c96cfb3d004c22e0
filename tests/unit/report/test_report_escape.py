"""Hostile strings: nothing that comes from data or configuration becomes an element or an attribute."""

from __future__ import annotations

import copy
import itertools
from html.parser import HTMLParser
from typing import Any

import pytest

from tunewright.report.markup import Markup, clean, datum, element, escape
from tunewright.report.render import render
from tunewright.report.terminal import summary

Result = dict[str, Any]

BREAKOUTS = (
    "",
    '"',
    "'",
    ">",
    '">',
    "'>",
    "</bdi>",
    "</text></svg>",
    "</style>",
    "</title>",
    "-->",
    "]]>",
    "</table>",
    "\n",
    "\x00",
    "&quot;>",
    "\u202e",
    "\ud800",
    "＞",
    "</dd></dl>",
)
ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    " onmouseover=alert(1) x=",
    " style=position:fixed x=",
    "<a href=javascript:alert(1)>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<style>*{display:none}</style>",
    "<link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example>",
    "<form action=//evil.example><input name=a>",
    "<math><mi xlink:href='javascript:alert(1)'>",
    "<!--<script>",
    "<![CDATA[<script>alert(1)</script>",
    "<?xml version='1.0'?>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)",
    "<details open ontoggle=alert(1)>",
    "<body onload=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "javascript:alert(1)//",
    "<bdi id=verdict class=good>",
)
STRINGS = tuple(f"{breakout}{attack}" for breakout, attack in itertools.product(BREAKOUTS, ATTACKS))


class Skeleton(HTMLParser):
    """The structure of a page: every element with its attribute names, and the attribute values that could act."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.shape: list[tuple[str, ...]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        acting = tuple(f"{k}={v}" for k, v in attrs if k in ("id", "class", "href", "role", "http-equiv", "content"))
        self.shape.append((tag, *(name for name, _ in attrs), *acting))

    def handle_endtag(self, tag: str) -> None:
        self.shape.append((f"/{tag}",))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    handle_pi = unknown_decl = handle_comment


def test_there_are_five_hundred_different_strings() -> None:
    assert len(set(STRINGS)) == 500


FREE_KEYS = frozenset(
    "per_label label_counts train validation test reasons scripts thresholds systems metrics packages hashes timings origins "
    "values columns".split()
)


class _Poison:
    """Puts a string in the place of every free string and of every free key, each with a number of its own."""

    def __init__(self, first: int, hostile: bool) -> None:
        self.number = first
        self.hostile = hostile

    def string(self) -> str:
        """The next string."""
        self.number += 1
        return f"{STRINGS[self.number % len(STRINGS)]}{self.number}" if self.hostile else f"harmless {self.number}"

    def __call__(self, value: Any, name: str = "") -> Any:
        """The value with its strings replaced, all the way down."""
        if isinstance(value, str):
            return self.string()
        if isinstance(value, list):
            return [self(part, name) for part in value]
        if isinstance(value, dict):
            free = name in FREE_KEYS
            return {
                self.string() if free and not isinstance(part, dict) else key: self(part, key)
                for key, part in value.items()
            }
        return value


@pytest.mark.parametrize("name", ["movie", "chinese", "many-classes", "multi-label"])
@pytest.mark.parametrize("first", range(0, 500, 125))
def test_hostile_strings_leave_the_structure_as_it_is(results: dict[str, Result], name: str, first: int) -> None:
    result = results[name]
    result["errors"] = result["errors"][:6]
    result["config"]["values"]["report"] = None
    pages = [render(_Poison(first, hostile)(copy.deepcopy(result))) for hostile in (False, True)]
    harmless, hostile = (Skeleton(page) for page in pages)
    assert hostile.shape == harmless.shape
    assert "onerror" in "".join(hostile.text), "the strings are shown, as text"


def test_all_five_hundred_are_shown_as_the_text_they_are(result: Result) -> None:
    """As rows, labels, paths, settings and package names, in one page."""
    template = result["errors"][0]
    result["errors"] = [template | {"text": s, "gold": s, "answered": s, "origin": s} for s in STRINGS]
    result["data"]["files"] = [result["data"]["files"][0] | {"path": s} for s in STRINGS]
    result["environment"]["packages"] = {s: s for s in STRINGS}
    result["config"] = {
        "values": {"a": dict.fromkeys(STRINGS, 1), "report": {"mask": False, "max_errors": 500}},
        "origins": {},
    }
    result["model"]["name"] = STRINGS[5]
    skeleton = Skeleton(render(result))
    texts = set(skeleton.text)
    assert {clean(s) for s in STRINGS if s.strip()} <= texts
    tags = {shape[0].lstrip("/") for shape in skeleton.shape}
    assert not tags & {"script", "img", "iframe", "link", "base", "form", "input", "math", "mi"}
    assert not {part for shape in skeleton.shape for part in shape[1:] if part.startswith("on") or part == "style"}


def test_element_escapes_children_and_values_but_not_markup() -> None:
    assert element("p", "a<b & 'c'", title='"x"') == '<p title="&quot;x&quot;">a&lt;b &amp; &#x27;c&#x27;</p>'
    assert element("p", element("b", "<")) == "<p><b>&lt;</b></p>"
    assert element("p", title=Markup('"><script>')) == '<p title="&quot;&gt;&lt;script&gt;"></p>'
    assert element("p", None, hidden=False, open=True, id=None) == "<p open></p>"
    assert escape(Markup("<b>")) == "<b>"


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\ud800", "\ufffe", "\x0b"])
def test_control_characters_and_overrides_are_replaced(bad: str) -> None:
    assert clean(f"a{bad}b") == "a\ufffdb"


def test_clean_keeps_newlines_tabs_and_joiners() -> None:
    assert clean("a\r\nb\rc\td\u200de\u200f") == "a\nb\nc\td\u200de\u200f"


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("艺术学", True),
        ("film 电影 review", True),
        ("a long English sentence with 一", False),
        ("日本の映画", False),
        ("plain", False),
    ],
)
def test_chinese_is_marked_as_chinese(text: str, marked: bool) -> None:
    assert ('lang="zh"' in datum(text)) == marked


def test_terminal_summary_holds_no_control_character(result: Result) -> None:
    result["verdict"]["sentence"] = "better\x1b[2J\nnow"
    result["verdict"]["comparisons"][0]["against"] = "nb\x1b]0;title\x07"
    found = summary(result)
    assert found.sentence == "better\ufffd[2J now"
    assert not any(ord(c) < 32 for line in found.lines for c in line.system)
