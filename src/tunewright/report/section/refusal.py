"""What is refused: how rows in scope fare, how the others do, and by which limit."""

from __future__ import annotations

from tunewright.report.blocks import code, paragraph, part, table
from tunewright.report.markup import Markup, join
from tunewright.report.node import Node
from tunewright.report.wording import decimal, whole


def refusal(result: Node) -> Markup | None:
    """The part about the label for what is out of scope; nothing where there is no such label."""
    name = result["out_of_scope"].text()
    if not name:
        return None
    limit = result["thresholds"][name].number()
    said: list[str] = ["A text is refused, that is answered ", code(name), ", where that is its likeliest label"]
    if limit is None:
        return part("What is refused", paragraph(*said, ". There is no limit on the others."), _fates(result))
    said.append(f", or where no other label has a probability of {decimal(limit)} or more. ")
    share = result["config"]["values"]["evaluate"]["refuse_share"].number()
    if share is not None:
        said.append(
            f"This limit was chosen so that at most {100 * share:.3g} % of the validation rows in scope are refused for it."
        )
    if result["judged_on"].text() == "out-of-fold":
        said.append(" It is the saved model's; the rows below were judged with limits chosen on the other folds.")
    return part("What is refused", paragraph(*said), _fates(result))


def _fates(result: Node) -> Markup | None:
    """Two lines: what became of the rows in scope, and of the others; each only where there are such rows."""
    found = result["metrics"]
    right, refused, caught = (
        found[name]["value"].number() for name in ("in_scope_accuracy", "in_scope_refused", "out_of_scope_recall")
    )
    rows: list[list[str]] = []
    if right is not None and refused is not None:
        cells = [_share(share) for share in (right, max(0.0, 1 - right - refused), refused)]
        rows.append(["In scope", _rows(found["in_scope_accuracy"]), *cells])
    if caught is not None:
        rows.append(["Out of scope", _rows(found["out_of_scope_recall"]), "–", _share(1 - caught), _share(caught)])
    if not rows:
        return None
    heads = ["The tuned model", "Rows", "Answered rightly", "Answered wrongly", "Refused"]
    note = (
        None if caught is not None else paragraph("No judged row is out of scope, so what refusing gains is not known.")
    )
    return join((table("What became of rows in scope and out of scope", heads, rows, numeric=(1, 2, 3, 4)), note))


def _rows(measure: Node) -> str:
    count = measure["num_rows"].count()
    return whole(count) if count is not None else ""


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"
