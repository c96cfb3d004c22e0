"""The page: whole, self-contained, accessible, in order, and never broken by what it is given."""

from __future__ import annotations

import ast
import base64
import copy
import hashlib
import html as html_library
import itertools
import json
import re
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tunewright.report.render as render_module
from tunewright.report.config import Report
from tunewright.report.render import render

Result = dict[str, Any]
NAMES = ("chat", "movie", "many-classes", "multi-label", "chinese", "tiny", "partial")
VOID = {"meta", "br", "wbr", "hr", "col"}


class Page(HTMLParser):
    """The elements of a page in order, with their depth, their attributes and the text inside them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.others: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def handle_pi(self, data: str) -> None:
        self.others.append(data)

    def unknown_decl(self, data: str) -> None:
        self.others.append(data)

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        """The attributes of every element with one of these names."""
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="session")
def pages(built: dict[str, Result]) -> dict[str, tuple[str, Page]]:
    """Every result rendered once: the HTML and the parsed page."""
    return {name: (html := render(result), Page(html)) for name, result in built.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_element_is_closed_and_ids_are_unique(pages: dict[str, tuple[str, Page]], name: str) -> None:
    html, page = pages[name]
    assert html.startswith("<!DOCTYPE html>")
    assert page.open == []
    assert page.others == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 2
    assert page.elements[0] == ("html", {"lang": "en"})


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_loaded_from_outside(pages: dict[str, tuple[str, Page]], name: str) -> None:
    html, page = pages[name]
    allowed = {"a", "style", "meta", "svg", "path", "line", "circle", "rect", "text"}
    assert not {tag for tag, _ in page.elements} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "use",
    }
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "style", "action", "data", "xlink:href", "background"} & set(attributes), tag
        assert not any(key.startswith("on") for key in attributes), tag
        assert tag in allowed or "href" not in attributes
    assert all(str(a["href"]).startswith("#") for a in page.of("a"))
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "@font-face" not in style


def test_policy_allows_only_the_style_sheet_by_its_hash(pages: dict[str, tuple[str, Page]]) -> None:
    html, page = pages["movie"]
    style = html.partition("<style>")[2].partition("</style>")[0]
    policy = next(str(m["content"]) for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["style-src"] == f"'sha256-{digest}'"
    assert directives["base-uri"] == directives["form-action"] == "'none'"
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", NAMES)
def test_headings_tables_and_figures_are_accessible(pages: dict[str, tuple[str, Page]], name: str) -> None:
    _, page = pages[name]
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.of("th")
    assert all(th.get("scope") in ("col", "row") for th in page.of("th"))
    assert len(page.of("caption")) == len(page.of("table"))
    for svg in page.of("svg"):
        nested = svg.get("class") == "curves"
        assert nested or svg.get("aria-hidden") == "true" or (svg.get("role") == "img" and svg.get("aria-label"))
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert all(section["aria-labelledby"] in ids for section in page.of("section"))
    assert all(str(a["href"])[1:] in ids for a in page.of("a"))
    assert any(m.get("name") == "viewport" for m in page.of("meta"))


def test_verdict_comes_first_and_replay_last(pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages["movie"]
    order = "verdict numbers diagnosis training curves confusion errors data choices config machine repeat"
    assert [section["id"] for section in page.of("section")] == order.split()
    assert "tunewright replay movie-reviews-1a2b3c4d" in page.texts
    assert page.texts.index("The tuned model is better.") < page.texts.index("What the numbers are")


def test_chinese_text_is_marked_and_kept(pages: dict[str, tuple[str, Page]]) -> None:
    html, _ = pages["chinese"]
    assert '<bdi lang="zh">艺术学</bdi>' in html
    assert "数据/摘要.csv:8" in html
    assert "tunewright replay &#x27;学科分类" not in html


def test_ledger_that_does_not_add_up_is_said(result: Result) -> None:
    assert "please report it" not in render(result)
    result["ledger"]["used"] -= 1
    assert "These counts sum to 10,604, not to 10,605" in render(result)


def test_forest_draws_each_interval_where_it_belongs(result: Result) -> None:
    """On a scale from -0.12 to 0.42 a difference of 0.15 lies in the middle, zero at two ninths."""
    result["verdict"]["comparisons"] = [
        {
            "against": "a",
            "metric": "accuracy",
            "difference": 0.15,
            "interval": [0.1, 0.4],
            "p_holm": 0.01,
            "required": True,
        },
        {
            "against": "b",
            "metric": "accuracy",
            "difference": -0.1,
            "interval": [-0.1, 0.0],
            "p_holm": 0.2,
            "required": False,
        },
    ]
    table = render(result).partition('class="forest"')[2].partition("</table>")[0]
    rows = re.findall(r"<tr.*?</tr>", table.partition("<tbody")[2])
    assert 'cx="50%"' in rows[0]
    assert 'x1="40.74%" x2="96.3%"' in rows[0]
    assert 'class="zero"' in rows[0]
    assert 'x1="22.22%" x2="22.22%"' in rows[0]
    assert "decides" in rows[0]
    assert "filled" in rows[0]
    assert 'cx="3.7%"' in rows[1]
    assert "hollow" in rows[1]
    assert "decides" not in rows[1]


def test_order_is_that_of_the_work_also_where_the_file_is_sorted_by_key(result: Result) -> None:
    page = Page(render(json.loads(json.dumps(result, sort_keys=True))))
    for after, order in (
        ("What the numbers are", ["Accuracy", "F1, macro", "ROC area", "PR area", "MCC", "Log loss", "ECE"]),
        ("The data", ["Rows, train", "Rows, validation", "Rows, test"]),
        ("Stage", ["prepare", "fetch", "encode", "train", "evaluate", "report", "total"]),
    ):
        start = page.texts.index(after)
        places = [page.texts.index(name, start) for name in order]
        assert places == sorted(places)


def test_interval_far_beyond_the_deciding_ones_becomes_an_arrow(results: dict[str, Result]) -> None:
    assert "▸</text>" in render(results["chinese"]).partition("<tbody")[2]
    assert "An arrow stands for" in render(results["chinese"])
    assert "An arrow stands for" not in render(results["movie"])


def test_confusion_matrix_up_to_thirty_labels_then_pairs(result: Result) -> None:
    for size in (2, 30, 31):
        labels = [f"label {n}" for n in range(size)]
        counts = [[5 if i == j else int(i == j + 1) for j in range(size)] for i in range(size)]
        result["figures"]["confusion"] = {"labels": labels, "counts": counts}
        assert ('class="heat' in render(result)) == (size <= 30)
        assert ("Confused pairs of labels" in render(result)) == (size > 30)


def _paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, child in children:
        yield from _paths(child, (*path, key))


def _replaced(value: Any, path: Sequence[Any], new: object) -> Any:
    changed = copy.copy(value)
    if len(path) == 1:
        if new is None:
            del changed[path[0]]
        else:
            changed[path[0]] = new
    else:
        changed[path[0]] = _replaced(value[path[0]], path[1:], new)
    return changed


JUNK: st.SearchStrategy[object] = st.sampled_from(
    [
        None,
        "",
        "text",
        [],
        {},
        [None],
        [[]],
        {"a": None},
        0,
        -1,
        10**400,
        float("nan"),
        float("inf"),
        True,
        "\ud800",
        [1, "x"],
        1e-320,
        -1e308,
    ]
)


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_missing_or_misshapen_part_breaks_the_page(built: dict[str, Result], data: st.DataObject) -> None:
    whole = built[data.draw(st.sampled_from(("chinese", "tiny", "chat")))]
    paths = [path for path in _paths(whole) if path]
    result = whole
    for path in data.draw(st.lists(st.sampled_from(paths), min_size=1, max_size=3)):
        try:
            result = _replaced(result, path, data.draw(JUNK))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier replacement removed what this path leads through
    html = render(result)
    html.encode("utf-8")
    assert Page(html).open == []


def test_any_single_part_can_be_absent(built: dict[str, Result]) -> None:
    assert "There is no verdict in this result." in render({})
    for key in built["movie"]:
        assert Page(render({name: part for name, part in built["movie"].items() if name != key})).open == []
        assert Page(render({key: built["movie"][key]})).open == []


def test_rows_are_shown_as_far_as_the_policy_allows(result: Result) -> None:
    texts = {html_library.escape(error["text"]) for error in result["errors"] if "@" not in error["text"]}
    shown = {rows: render(result, Report.Config.model_validate({"rows": rows})) for rows in ("none", "ids", "text")}
    assert all(text in shown["text"] and text not in shown["ids"] and text not in shown["none"] for text in texts)
    assert "reviews.csv:101" in shown["ids"]
    assert "reviews.csv:101" not in shown["none"]
    assert "ann.lee" not in shown["text"]
    assert "[email]" in shown["text"]
    assert "[card]" in shown["text"]
    assert "ann.lee@example.org" in render(result, Report.Config(mask=False))


def test_recorded_configuration_is_honoured_and_a_broken_one_shows_nothing(result: Result) -> None:
    result["config"]["values"]["report"] = {"rows": "ids", "mask": True, "max_errors": 3}
    page = render(result)
    assert "reviews.csv:103" in page
    assert "reviews.csv:104" not in page
    assert "utterly charming" not in page
    unreadable: tuple[object, ...] = ({"rows": "everything"}, {"max_errors": -1}, "no", 7, [1])
    for broken in unreadable:
        result["config"]["values"]["report"] = broken
        assert "utterly charming" not in render(result)
        assert "reviews.csv:101" not in render(result)
    del result["config"]["values"]["report"]
    assert "utterly charming" in render(result)


def test_stored_errors_follow_the_same_policy(result: Result) -> None:
    stored = Report(Report.Config(max_errors=2)).select_errors(result["errors"])
    assert len(stored) == 2
    assert "[email]" in str(stored[1]["text"])
    assert stored == Report(Report.Config(max_errors=2)).select_errors(stored)
    assert all("text" not in error for error in Report(Report.Config(rows="ids")).select_errors(result["errors"]))
    assert Report(Report.Config(rows="none")).select_errors(result["errors"]) == []
    assert "text" in result["errors"][0], "the input is left as it was"


def test_report_imports_only_what_stands_below_it() -> None:
    """Rendering needs no torch, numpy or plotting library, and no other stage."""
    allowed = re.compile(r"tunewright\.(report|config|errors|types|words)\b|pydantic$|pydantic\.")
    for path in Path(render_module.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert allowed.match(name) or name.partition(".")[0] in sys.stdlib_module_names, (path.name, name)
