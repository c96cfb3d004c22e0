"""The base of every component's configuration.

A component declares its options once, as a nested class beside the code that reads them:

    class Prepare:
        class Config(ComponentConfig):
            test: float = Option(0.2, "Share of the rows held out for the verdict.", gt=0, lt=0.5)

An option whose value is an extension with options of its own says which family it is chosen from:

    task: Extension = ExtensionOption("adapt.task", "classify", "What the model learns to answer.")

and is written `task: classify` or `task: {name: classify, max_length: 128}`. That one declaration feeds the recipe file,
the command line, Python, the JSON schema and the docs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, core_schema

from tunewright import extensions
from tunewright.errors import InputError

VERSION = 1
"""The version of the recipe format that this package reads and writes."""

AUTO = "auto"
"""The name of an extension that is not chosen yet: the pipeline chooses, and says why."""

FAMILY = "x-family"
"""The key under which the JSON schema of an option names the family that its value is chosen from."""

SHORTHAND = "x-shorthand"
"""The key under which the JSON schema of a section names the option that a bare value fills."""


class ComponentConfig(BaseModel):
    """Options of one component: frozen, unknown keys refused, every option described."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, protected_namespaces=()
    )

    shorthand: ClassVar[str] = ""
    """The option that a bare value fills: with ``shorthand = "name"``, ``model: minilm-l6`` is ``model: {name: minilm-l6}``."""

    only_training: ClassVar[frozenset[str]] = frozenset()
    """Options of a task that leave its rows and examples as they are: what was prepared is good for all their values."""

    def of_rows(self) -> dict[str, Any]:
        """The other options: those that prepared and encoded rows depend on."""
        return self.model_dump(mode="json", exclude=set(self.only_training))

    @classmethod
    def spread(cls, given: Any) -> Any:
        """A bare value as a mapping, where the component declares a ``shorthand``; anything else as it came."""
        if not cls.shorthand or isinstance(given, Mapping | cls):
            return given
        return {cls.shorthand: given}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Pydantic's schema and, where there is one, the shorthand."""
        described = handler(schema)
        if cls.shorthand:
            handler.resolve_ref_schema(described)[SHORTHAND] = cls.shorthand
        return described

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, given: Any) -> Any:
        return cls.spread(given)

    @field_validator("*", mode="before")
    @classmethod
    def _choose_extension(cls, given: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name or ""]
        return choose(family, field.default, given) if (family := family_of(field)) else given


class NoOptions(ComponentConfig):
    """The options of an extension that declares none."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension that was chosen by name, with its options; ``extensions.load(family, name)`` is its class."""

    family: str
    name: str
    config: ComponentConfig

    def as_json(self) -> dict[str, Any]:
        """The name and the options side by side, as they are written in a recipe."""
        return {"name": self.name, **self.config.model_dump(mode="json")}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Accept what ``choose`` made; write it as a recipe does."""
        as_json = core_schema.plain_serializer_function_ser_schema(lambda chosen: chosen.as_json())
        return core_schema.is_instance_schema(cls, serialization=as_json)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: object) -> dict[str, Any]:
        """Leave the choice open here; ``tunewright.config.schema`` fills it in from the family."""
        return {}


def Option(default: Any = ..., description: str = "", /, **rules: Any) -> Any:  # noqa: N802 - reads as a declaration
    """A described option; ``rules`` are pydantic's (``gt``, ``le``, ``max_length`` ...). No default makes it required."""
    return Field(default, description=description, **rules)


def ExtensionOption(family: str, default: str, description: str, /) -> Any:  # noqa: N802 - reads as a declaration
    """An option whose value is an extension of ``family``. With the default ``"auto"`` the pipeline chooses it."""
    return Field(default, description=description, json_schema_extra={FAMILY: family})


def choose(family: str, default: str, given: object) -> object:
    """The Extension that ``given`` names: its name, or a mapping of ``name`` (else ``default``) and options.

    Raises pydantic's errors, so that they are reported with all the others.
    """
    if isinstance(given, Extension):
        return given
    options = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = options.pop("name", default)
    if name == AUTO == default:
        if options:
            allowed = {"allowed": ", ".join(extensions.names(family)), "hint": "name it beside its options"}
            raise PydanticCustomError("explained", "options are given to something that is not named", allowed)
        return Extension(family, AUTO, NoOptions())
    name = name if isinstance(name, str) else repr(name)
    try:
        config = config_of(family, name)
    except InputError as error:
        parts = {"given": name, "allowed": error.allowed, "hint": error.hint}
        raise PydanticCustomError("explained", "{problem}", {"problem": error.problem, **parts}) from None
    return Extension(family, name, config.model_validate(options))


def config_of(family: str, name: str) -> type[ComponentConfig]:
    """The options of one extension. Raises InputError with the nearest name when there is no such extension."""
    config: type[ComponentConfig] = getattr(extensions.load(family, name), "Config", NoOptions)
    assert "name" not in config.model_fields, f"{family}.{name}: an option cannot be called `name`"
    return config


def family_of(field: FieldInfo) -> str:
    """The family that the option's value is chosen from; empty for an ordinary option."""
    extra = field.json_schema_extra
    return str(extra.get(FAMILY, "")) if isinstance(extra, dict) else ""


def section_of(field: FieldInfo) -> type[ComponentConfig] | None:
    """The options below this one, where its value is a component's configuration (or that or None)."""
    for member in (field.annotation, *get_args(field.annotation)):
        if isinstance(member, type) and issubclass(member, ComponentConfig):
            return member
    return None
