"""The building blocks of the page: sections, tables, folds, lists of facts and commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tunewright.report.markup import Markup, datum, element, join

Rows = Sequence[Sequence[str]]


def section(name: str, title: str, *content: str | None) -> Markup:
    """A section with its heading, or nothing where there is no content."""
    kept = [part for part in content if part]
    if not kept:
        return Markup("")
    return element("section", element("h2", title, id=f"{name}-title"), *kept, id=name, aria_labelledby=f"{name}-title")


def part(title: str, *content: str | None) -> Markup:
    """A part of a section with a smaller heading, or nothing where there is no content."""
    kept = [one for one in content if one]
    return join((element("h3", title), *kept)) if kept else Markup("")


def paragraph(*content: str | None, class_: str | None = None) -> Markup:
    """A paragraph."""
    return element("p", *content, class_=class_)


def table(
    caption: str,
    head: Sequence[str],
    rows: Rows,
    *,
    numeric: Iterable[int] = (),
    class_: str = "",
    marked: Iterable[int] = (),
) -> Markup:
    """A table that scrolls sideways by itself where it is too wide; the first cell of each row is its header.

    ``numeric`` columns are set flush right, ``marked`` rows stand out. The caption is read by screen readers only.
    """
    right, strong = frozenset(numeric), frozenset(marked)
    heads = [
        element("th", cell, scope="col", class_="num" if index in right else None) for index, cell in enumerate(head)
    ]
    lines = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell, class_="num" if index in right else None) for index, cell in enumerate(row[1:], 1)),
            class_="marked" if number in strong else None,
        )
        for number, row in enumerate(rows)
    ]
    body = (element("thead", element("tr", *heads)), element("tbody", *lines))
    whole = element("table", element("caption", caption, class_="unseen"), *body, class_=class_ or None)
    return element("div", whole, class_="scroll", role="region", aria_label=caption, tabindex="0")


def fold(title: str, *content: str | None, opened: bool = False) -> Markup:
    """Content behind a line to click on, or nothing where there is no content; print shows it unfolded."""
    kept = [one for one in content if one]
    return element("details", element("summary", title), *kept, open=opened) if kept else Markup("")


def facts(entries: Iterable[tuple[str, str]], class_: str = "facts") -> Markup:
    """Names with their values; entries without a value are left out."""
    kept = [element("div", element("dt", name), element("dd", value)) for name, value in entries if value]
    return element("dl", *kept, class_=class_) if kept else Markup("")


def bullets(entries: Iterable[str], class_: str | None = None) -> Markup:
    """A list, or nothing where it is empty."""
    lines = [element("li", entry) for entry in entries]
    return element("ul", *lines, class_=class_) if lines else Markup("")


def code(text: str) -> Markup:
    """A value, a path or a name of the user's, set as code."""
    return element("code", datum(text))


def command(text: str) -> Markup:
    """A command to copy."""
    return element("pre", element("code", text), class_="command", tabindex="0", aria_label="command")


def share_bar(share: float, class_: str = "bar") -> Markup:
    """A small bar of a share of 1, beside its number and therefore silent."""
    width = f"{round(100 * min(max(share, 0.0), 1.0), 1):g}%"
    return element(
        "svg", element("rect", width=width, height="100%", class_=class_), class_="minibar", aria_hidden="true"
    )
