"""Show a run: one self-contained HTML page, and a summary for the terminal. Both read ``result.json`` and nothing else."""

from tunewright.report.page import Report, render
from tunewright.report.privacy import mask
from tunewright.report.terminal import Summary, summary

__all__ = ["Report", "Summary", "mask", "render", "summary"]
