"""What every record is made of: arrays, rows, choices and progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
Ints: TypeAlias = "NDArray[np.int64]"
Bools: TypeAlias = "NDArray[np.bool_]"
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that was decided for the user: the config path, the value, and why."""

    path: str
    value: object
    reason: str


Tell = Callable[[str, float, float | None, str], None]
"""Progress, told by a stage and rendered by the command line: ``tell(label, done, total, note)``.

``total`` is None when it is not known. A stage calls it as often as it likes; the renderer thins it out.
"""


def tell_nobody(label: str, done: float, total: float | None, note: str) -> None:
    """The ``Tell`` that drops everything."""
