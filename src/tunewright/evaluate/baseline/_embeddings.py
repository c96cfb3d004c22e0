"""What the baselines on frozen embeddings share.

N rows, H dimensions
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tunewright.types import Floats


def unit_rows(rows: Floats) -> Floats:
    """rows[N, H] scaled to length 1; a zero row stays zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    result: Floats = np.asarray(rows, dtype=np.float64) / np.where(lengths > 0, lengths, 1.0)
    return result
