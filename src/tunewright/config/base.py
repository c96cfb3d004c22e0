"""The base of every component's configuration.

A component declares its options once, as a nested class beside the code that reads them:

    class Prepare:
        class Config(ComponentConfig):
            test: float = Option(0.2, "Share of the rows held out for the verdict.", gt=0, lt=0.5)

That one declaration feeds the recipe file, the command line, Python, the JSON schema and the docs.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class ComponentConfig(BaseModel):
    """Options of one component: frozen, unknown keys refused, every option described."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())

    shorthand: ClassVar[str] = ""
    """The option that a bare value fills: with ``shorthand = "name"``, ``model: minilm-l6`` is ``model: {name: minilm-l6}``."""


def Option(default: Any = ..., description: str = "", /, **rules: Any) -> Any:  # noqa: N802 - reads as a declaration
    """A described option; ``rules`` are pydantic's (``gt``, ``le``, ``max_length`` ...). No default makes it required."""
    return Field(default, description=description, **rules)
