"""The stage ``maintain``: requests that a served model got, against what it was tuned on -> Drift."""
