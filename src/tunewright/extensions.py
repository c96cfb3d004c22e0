"""Find an extension by family and name: the file name is the extension's name.

    names("adapt.task")            ("classify", ...)           lists the folder, imports nothing
    load("adapt.task", "classify")  <class Classify>           imports that one file

A family is a sub-package (``data.source``, ``adapt.task`` ...). Its files that start with ``_`` and ``base`` are not
extensions. The class is the file name in CamelCase; its options are the nested ``Config``. Packages of third parties
join a family by an entry point of the group ``tunewright.<family>``; a name that is taken is an error.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from functools import cache
from pathlib import Path

from tunewright.errors import InputError, nearest


@cache
def names(family: str) -> tuple[str, ...]:
    """The names in ``family``, sorted, third parties included; nothing is imported."""
    return tuple(sorted({*_own(family), *_foreign(family)}))


def check(family: str, name: str, *, where: str = "", otherwise: str = "") -> None:
    """Raise InputError with the nearest name when there is no such extension; nothing is imported.

    ``where`` is the option that names it, ``otherwise`` the hint where no name is near.
    """
    known = names(family)
    if name in known:
        return
    suggestion = nearest(name, known)
    raise InputError(
        f"there is no {family.rpartition('.')[2]} of this name",
        where=where,
        given=name,
        allowed=", ".join(known),
        hint=f"did you mean {suggestion}?" if suggestion else otherwise,
    )


@cache
def load(family: str, name: str) -> type:
    """The class of one extension. Raises InputError with the nearest name when it does not exist."""
    check(family, name)
    foreign = _foreign(family)
    if name in foreign:
        loaded: type = foreign[name].load()
        return loaded
    module = importlib.import_module(f"tunewright.{family}.{name}")
    found: type = getattr(module, class_name(name))
    return found


def class_name(name: str) -> str:
    """``tfidf_lr`` -> ``TfidfLr``."""
    return "".join(part.capitalize() for part in name.split("_"))


def _own(family: str) -> tuple[str, ...]:
    spec = importlib.util.find_spec(f"tunewright.{family}")
    if spec is None or not spec.submodule_search_locations:
        raise AssertionError(f"no such family: {family}")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return tuple(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_") and path.stem != "base")


@cache
def _foreign(family: str) -> dict[str, importlib.metadata.EntryPoint]:
    found: dict[str, importlib.metadata.EntryPoint] = {}
    own = _own(family)
    for point in importlib.metadata.entry_points(group=f"tunewright.{family}"):
        if point.name in own or point.name in found:
            raise InputError(
                "two extensions have the same name",
                where=f"entry point tunewright.{family}",
                given=f"{point.name} = {point.value}",
                allowed="a name that is not taken; prefix it with the name of your distribution",
            )
        found[point.name] = point
    return found
