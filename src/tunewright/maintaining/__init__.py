"""Life after launch: watch what comes in, tune anew with more rows, and let the better model be live.

requests ─▶ watch ─▶ Drift
live version + new rows ─▶ pipeline.run ─▶ challenger ─▶ both on rows that neither has seen ─▶ Decision ─▶ registry
"""

from __future__ import annotations

from tunewright.maintaining.retraining import retrain
from tunewright.maintaining.watching import watch

__all__ = ["retrain", "watch"]
