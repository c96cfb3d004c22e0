"""The options of the evaluation."""

from __future__ import annotations

from typing import Literal

from tunewright.config.base import ComponentConfig, Option


class Evaluate:
    """Judges a tuned model against what there was before."""

    class Config(ComponentConfig):
        """Options of the evaluation."""

        metric: str = Option(
            "auto",
            "The metric that decides; auto: accuracy, macro_f1 where one label has over three times the rows of another, "
            "micro_f1 where rows carry several labels.",
        )
        baselines: Literal["auto"] | list[str] = Option("auto", "What to compare with; auto: the task's references.")
        thresholds: Literal["auto", "off"] = Option(
            "auto", "auto: decision thresholds for rare labels are chosen on validation; off: the most probable label."
        )
        out_of_fold: Literal["auto"] | bool = Option(
            "auto", "Train again in folds and judge all rows; auto: where there are fewer than out_of_fold_rows."
        )
        out_of_fold_rows: int = Option(1000, "With fewer rows than this in all, auto judges out of fold.", ge=0)
        out_of_fold_seconds: float = Option(60.0, "Time for training again in folds.", gt=0)
        resamples: int = Option(10_000, "Resamples of the bootstrap; metrics of ranks take at most 2,000.", ge=200)
        worst_rows: int = Option(50, "How many of the most confident errors are kept.", ge=0)
        seed: int = Option(0, "Draws resamples, folds and the baselines' inner splits.", ge=0)
