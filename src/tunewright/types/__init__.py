"""The records that flow along the road.

    sources ─▶ Dataset ─▶ Base ─▶ Encoded ─▶ Trainable ─▶ Step, Step, ... ─▶ Checkpoint ─▶ Report

Every record is frozen: it is made in one place and never changed afterwards. Nothing heavy is imported here (no torch,
no pyarrow), so that ``tunewright --help`` stays fast; annotations that name such types are only read by the type checker.
"""

from tunewright.types.answer import Answer, Classified, Label, Labels, Likelihood, Text
from tunewright.types.basic import (
    Bools,
    Choice,
    Floats,
    Ints,
    Row,
    Tell,
    tell_nobody,
)
from tunewright.types.data import (
    ColumnProfile,
    Dataset,
    Facts,
    Field,
    Finding,
    Ledger,
    Origin,
    Outcome,
    Recognition,
    Record,
    SourceFile,
    read_arrow,
)
from tunewright.types.generation import Generation, Sampling
from tunewright.types.maintain import Decision, Drift, Reading, Window
from tunewright.types.model import (
    Base,
    Batch,
    Encoded,
    Objective,
    Phase,
    Stream,
    Trainable,
)
from tunewright.types.report import (
    Comparison,
    Diagnosis,
    Measure,
    Report,
    Verdict,
    WorstRow,
)
from tunewright.types.training import (
    Checkpoint,
    Directive,
    Plan,
    Step,
)

__all__ = [
    "Answer",
    "Base",
    "Batch",
    "Bools",
    "Checkpoint",
    "Choice",
    "Classified",
    "ColumnProfile",
    "Comparison",
    "Dataset",
    "Decision",
    "Diagnosis",
    "Directive",
    "Drift",
    "Encoded",
    "Facts",
    "Field",
    "Finding",
    "Floats",
    "Generation",
    "Ints",
    "Label",
    "Labels",
    "Ledger",
    "Likelihood",
    "Measure",
    "Objective",
    "Origin",
    "Outcome",
    "Phase",
    "Plan",
    "Reading",
    "Recognition",
    "Record",
    "Report",
    "Row",
    "Sampling",
    "SourceFile",
    "Step",
    "Stream",
    "Tell",
    "Text",
    "Trainable",
    "Verdict",
    "Window",
    "WorstRow",
    "read_arrow",
    "tell_nobody",
]
