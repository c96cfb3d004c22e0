"""Where a tuned model meets its judges: what evaluate asks for, answered by the task, the data and the models.

Everything here is composition: evaluate is handed callables and records, and never learns what a task or a model is. Which
judge it is follows from the kind of Answer that the task's gold is.
"""

from __future__ import annotations

from tunewright.judging.case import Case
from tunewright.types import Preferred, Report, Spans, Text


def judge(case: Case) -> Report:
    """The Report on the tuned model of ``case``."""
    gold = case.task.gold(case.dataset.table("test"))
    if isinstance(gold, Preferred):
        from tunewright.judging.preferences import judge_preferences

        return judge_preferences(case)
    if isinstance(gold, Spans):
        from tunewright.judging.spans import judge_spans

        return judge_spans(case)
    if isinstance(gold, Text):
        from tunewright.judging.text import judge_text

        return judge_text(case)
    from tunewright.judging.labels import judge_labels

    return judge_labels(case)
