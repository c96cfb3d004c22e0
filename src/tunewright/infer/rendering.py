"""Render a chat template as transformers does, in an engine that counts its steps: templates are text of strangers.

Jinja itself is never run. What the two engines understand differently is put right here: the tags that mark generated
text, JSON that is not made safe for HTML, and which values count as a sequence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from tunewright.errors import InputError, shorten

Message = Mapping[str, Any]
"""One message: ``role`` and ``content``, and whatever else its template reads (``tool_calls``, ``name`` ...)."""

MAX_STEPS = 1_000_000
"""Instructions of one rendering: some thousand turns of the longest templates that are known."""

MAX_CHARACTERS = 4_000_000
"""Characters of one rendering."""

_GENERATION_TAG = re.compile(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}")
_REASONING = ("reasoning_content", "thinking", "reasoning")


class Renderer:
    """One template, compiled when it is first used; ``variables`` are known to it beside the messages."""

    def __init__(self, source: str, variables: Mapping[str, Any], clock: Callable[[], datetime]) -> None:
        self._source = source
        self._variables = dict(variables)
        self._clock = clock

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False, tools: Sequence[Any] | None = None
    ) -> str:
        """The dialogue as one text. Raises InputError where the template refuses, fails, loops on or prints too much."""
        context = {
            **self._variables,
            "messages": [_with_reasoning(message) for message in messages],
            "tools": None if tools is None else list(tools),
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            text: str = self._environment.render_template("chat", **context)
        except (RuntimeError, ValueError, TypeError, AttributeError, ArithmeticError, LookupError) as error:
            raise _refused(str(error)) from error
        if len(text) > MAX_CHARACTERS:
            raise _refused(f"{len(text):,} characters")
        return text

    @cached_property
    def _environment(self) -> Any:
        import minijinja

        environment: Any = minijinja.Environment(
            trim_blocks=True, lstrip_blocks=True, fuel=MAX_STEPS, auto_escape_callback=lambda _: False
        )
        environment.debug = False
        environment.add_filter("tojson", _to_json)
        environment.add_test("sequence", lambda value: isinstance(value, str | Sequence | Mapping))
        environment.add_function("raise_exception", _raise_exception)
        environment.add_function("strftime_now", lambda form: self._clock().strftime(form))
        try:
            environment.add_template("chat", _GENERATION_TAG.sub(_as_scope, self._source))
        except (RuntimeError, ValueError) as error:
            raise _refused(str(error)) from error
        return environment


def _with_reasoning(message: Message) -> dict[str, Any]:
    """The message without keys of no value; its reasoning goes by the names that templates read."""
    given = {key: value for key, value in message.items() if value is not None}
    reasoning = next((given[key] for key in _REASONING if key in given), None)
    return given if reasoning is None else {"thinking": reasoning, **given, "reasoning_content": reasoning}


def _as_scope(tag: re.Match[str]) -> str:
    """The tag around generated text as a plain scope, with the same rules for the white space around it."""
    before, end, after = tag.groups()
    return f"{{%{before} {end or ''}with {after}%}}"


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise ValueError(message)


def _refused(given: str) -> InputError:
    return InputError(
        "the chat template does not render this dialogue",
        where="chat template",
        given=shorten(given),
        allowed=f"a template and messages that go together, at most {MAX_STEPS:,} steps and {MAX_CHARACTERS:,} characters",
        hint="look at the roles and their order: many templates want user and assistant in turn",
    )
