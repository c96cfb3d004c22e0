"""The pages keep step with the code, and the two languages with each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from generated_pages import pages
from sources import REPOSITORY

DOCS = REPOSITORY / "docs"


def code_blocks(path: Path) -> list[str]:
    """The fenced blocks of a page, comments aside: they may be in the page's language."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [re.sub(r"[ \t]*(^|\s)#.*$", "", block, flags=re.MULTILINE).strip() for block in blocks]


@pytest.mark.parametrize("page", [REPOSITORY / "README.md", DOCS / "guide.md"], ids=lambda page: page.name)
def test_both_languages_hold_the_same_commands(page: Path) -> None:
    blocks = code_blocks(page)
    assert blocks
    assert code_blocks(page.with_name(f"{page.stem}.zh.md")) == blocks


def test_every_page_exists_in_chinese_or_is_generated() -> None:
    assert (REPOSITORY / "README.zh.md").is_file()
    assert (DOCS / "guide.zh.md").is_file()


def test_the_reference_is_current() -> None:
    for page, text in pages().items():
        assert (DOCS / page).read_text(encoding="utf-8") == text, f"{page} is out of date; run `make reference`"


def test_every_option_is_described() -> None:
    from tunewright.config.reference import options
    from tunewright.recipe import Recipe

    found = options(Recipe)
    assert len(found) > 20
    assert [path for path, option in found.items() if not (option.description or "").endswith((".", "?"))] == []


def test_every_command_is_in_the_docs() -> None:
    from tunewright.cli.app import COMMANDS

    text = "\n".join(page.read_text(encoding="utf-8") for page in [REPOSITORY / "README.md", *DOCS.glob("*.md")])
    assert [name for name in COMMANDS if f"tunewright {name}" not in text] == []
