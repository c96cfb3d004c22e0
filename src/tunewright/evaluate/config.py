"""The options of the evaluation."""

from __future__ import annotations

from typing import Literal

from tunewright.config.base import ComponentConfig, Option
from tunewright.types import Sampling


class Evaluate:
    """Judges a tuned model against what there was before."""

    class Config(ComponentConfig):
        """Options of the evaluation."""

        metric: str = Option(
            "auto",
            "The metric that decides; auto: accuracy, macro_f1 where one label has over three times the rows of another, "
            "micro_f1 where rows carry several labels, nll_per_dialogue for text.",
        )
        baselines: Literal["auto"] | list[str] = Option("auto", "What to compare with; auto: the task's references.")
        thresholds: Literal["auto", "off"] = Option(
            "auto",
            "auto: decision thresholds for rare labels, and the limit for refusing what is out of scope (task.out_of_scope), "
            "are chosen on validation; off: the most probable label.",
        )
        refuse_share: float = Option(
            0.05,
            "Out of scope: the share of the validation rows in scope that may be refused because no label is probable enough.",
            ge=0,
            le=0.5,
        )
        out_of_fold: Literal["auto"] | bool = Option(
            "auto", "Train again in folds and judge all rows; auto: where there are fewer than out_of_fold_rows."
        )
        out_of_fold_rows: int = Option(1000, "With fewer rows than this in all, auto judges out of fold.", ge=0)
        out_of_fold_seconds: float = Option(60.0, "Time for training again in folds.", gt=0)
        resamples: int = Option(10_000, "Resamples of the bootstrap; metrics of ranks take at most 2,000.", ge=200)
        worst_rows: int = Option(50, "How many of the most confident errors are kept.", ge=0)
        generated_rows: int = Option(200, "Text: how many test dialogues are answered; 0: none, and no `better`.", ge=0)
        max_new_tokens: int = Option(256, "Text: the longest answer that is generated, in tokens.", ge=1)
        temperature: float = Option(
            0.0,
            "Text: how tokens of answers are drawn when they are judged, and later by predict and chat; 0: the likeliest.",
            ge=0,
            le=2,
        )
        few_shot: int = Option(3, "Text: training dialogues shown to the prompted base; 0: no prompted base.", ge=0)
        stop_rate: float = Option(0.98, "Text: the share of answers that have to end by themselves.", ge=0, le=1)
        retention_limit: float = Option(
            1.5, "Text: the perplexity of general text may grow by this factor; 1.5 is a size of GPT-2.", ge=1
        )
        seed: int = Option(0, "Draws resamples, folds and the baselines' inner splits.", ge=0)

        @property
        def sampling(self) -> Sampling:
            """How answers are drawn when they are judged."""
            return Sampling(max_tokens=self.max_new_tokens, temperature=self.temperature, seed=self.seed)
