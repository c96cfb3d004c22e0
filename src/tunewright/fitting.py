"""One training of a run, from a base and encoded rows to the tuned model in the run's folder, on this process or as one rank.

    attach ─▶ compact ─▶ wrap ─▶ self-test ─▶ forecast ─▶ train ─▶ thresholds ─▶ fold ─▶ save

Its collaborators are the stages `adapt` and `train` and the run's folder; `pipeline` composes it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from tunewright import result
from tunewright.errors import Interrupted
from tunewright.infer.predict import predict_logits
from tunewright.judging import followed
from tunewright.recipe import Recipe
from tunewright.seams import Method
from tunewright.store.artifact import Artifact
from tunewright.store.events import EventLog
from tunewright.store.run import RunFolder
from tunewright.train import rows as embedding_rows
from tunewright.train.batches import Examples, read_examples, token_weights
from tunewright.train.ranks import Alone
from tunewright.train.rehearsal import Rehearsal
from tunewright.train.selftest import examine_before_run, pass_key
from tunewright.train.train import Fit, Watch, train
from tunewright.types import Base, Checkpoint, Choice, Dataset, Encoded, Ints, Plan, Trainable, Watcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """What a training is made of; ``key`` is the model's, ``decide`` says and keeps a choice, ``command`` repeats the run."""

    task: Any
    method: Method
    recipe: Recipe
    dataset: Dataset
    base: Base
    encoded: Encoded
    plan: Plan
    folder: RunFolder
    events: EventLog
    key: str
    command: Sequence[str]
    ranks: Alone
    watcher: Watcher
    decide: Callable[..., None]

    def run(self) -> None:
        """Train, and leave the tuned model under ``model`` and its adapter, if any, under ``adapter``.

        Raises Interrupted where somebody asked to stop, GateError where the machine or the engine is not fit for it.
        """
        self.ranks.begin(str(self.plan["train.device"]))
        self.watcher.tell("loading the model", 0, None, self.base.name)
        module: Any = self.task.attach(self.base, self.recipe.seed)
        compaction = embedding_rows.compact(module, embedding_rows.rows_that_occur(self.encoded, self.encoded.splits))
        remap = compaction.remap if compaction else None
        rows, validation = (self._examples(module, split, remap) for split in ("train", "validation"))
        trainable = self.method.wrap(module, self.task.objective(), self.recipe.seed)
        rehearsal = self._rehearsal(validation)
        fit = Fit(
            trainable=trainable, plan=self.plan, config=self.recipe.train, seed=self.recipe.seed, ranks=self.ranks
        )
        watch = self._watch(validation, rehearsal)
        choices = [*trainable.choices]
        if self.ranks.rank == 0:
            choices.append(self._self_test(fit, rows))
        self.decide(*choices)
        checkpoint = train(fit, rows, watch)
        if self.ranks.rank:
            return
        self.events.flush()
        if not checkpoint.stopped_because:
            problem = "stopped on request; everything up to this step is kept"
            raise Interrupted(problem, where=str(self.folder.folder), hint=shlex.join(self.command))
        thresholds = followed.decision_thresholds(
            self.task, self.dataset, trainable.module, validation, watch.metric, self.recipe.evaluate
        )
        if compaction:
            embedding_rows.expand(module.trunk, compaction)
        self._save(trainable, checkpoint, thresholds, choices)
        rehearsal.compare()

    def _examples(self, module: Any, split: str, remap: Ints | None) -> Examples:
        """The rows of a split, with what the untouched module makes of them where the task asks for that."""
        examples = read_examples(self.encoded, split, remap)
        if not self.task.has_reference or not len(examples):
            return examples
        label = f"reading the {split} rows with the reference"
        weights = token_weights(examples)
        module.to(str(self.plan["train.device"]))
        answers = predict_logits(module, examples.ids, weights=weights, tell=self.watcher.tell, label=label)
        module.to("cpu")
        return replace(examples, targets=self.task.with_reference(examples.targets, examples.bounds, answers))

    def _self_test(self, fit: Fit, rows: Examples) -> Choice:
        """The self-test, where this code, architecture and options have no recorded pass."""
        asked = [self.recipe.task.as_json(), self.recipe.method.as_json()]
        key = pass_key(self.base, fit.config, asked, fit.plan)
        return examine_before_run(fit.trainable, rows, fit.config, key=key, plan=fit.plan, tell=self.watcher.tell)

    def _rehearsal(self, validation: Examples) -> Rehearsal:
        return Rehearsal(
            config=self.recipe.train,
            plan=self.plan,
            folder=self.folder,
            base=self.base,
            encoded=self.encoded,
            validation=validation,
            command=self.command,
            say=self.watcher.say,
            tell=self.watcher.tell,
        )

    def _watch(self, validation: Examples, rehearsal: Rehearsal) -> Watch:
        """Who watches; what an earlier process wrote down after its last commit is taken back."""
        score, declared, higher_is_better = followed.validation_score(
            self.task, self.dataset, self.recipe.evaluate.metric
        )
        checkpoints = self.folder.checkpoints(keep_last=self.recipe.train.keep_last)
        latest = checkpoints.latest()
        origin = result.check_code(self.folder, latest)
        for damage in checkpoints.findings():
            self.watcher.say(Choice("train.checkpoint", "passed over", damage))
        if self.ranks.rank == 0 and (latest or self.events.read("step")):
            self.events.rewind(latest.step if latest else 0)
        return Watch(
            validation=validation,
            score=score,
            metric=str(declared.value),
            higher_is_better=higher_is_better,
            checkpoints=checkpoints,
            events=self.events,
            asked_to_stop=self.watcher.asked_to_stop,
            measured=self.watcher.measured,
            healed=lambda incidents: self.decide(result.save_incidents(self.folder, self.dataset, incidents)),
            origin=origin,
            tell=self.watcher.tell,
            rehearse=rehearsal if self.watcher.forecasts and self.ranks.size == 1 else None,
        )

    def _save(
        self, trainable: Trainable, checkpoint: Checkpoint, thresholds: object, choices: Sequence[Choice]
    ) -> None:
        adapter = self.method.adapter(trainable)
        tuned = self.method.fold(trainable).to("cpu")
        if adapter is not None:
            save = partial(self.task.save_adapter, adapter=adapter, module=tuned, base=self.base)
            self.folder.commit_stage("adapter", self.key, save)
        card = {
            "max_length": self.encoded.max_length,
            "thresholds": thresholds,
            "step": checkpoint.step,
            "clean": self.recipe.data.clean,
        }
        facts: dict[str, object] = {
            "step": checkpoint.step,
            "metric": checkpoint.metric,
            "stopped_because": checkpoint.stopped_because,
            "choices": [asdict(choice) for choice in choices],
        }
        self.folder.commit_stage("model", self.key, lambda draft: self.task.save(draft, tuned, self.base, card), facts)


def read_checkpoint(model: Artifact) -> tuple[Checkpoint, tuple[Choice, ...]]:
    """The tuned model, and what its method decided when it was trained."""
    facts: dict[str, Any] = dict(model.facts)
    choices = tuple(Choice(**choice) for choice in facts.pop("choices", ()))
    return Checkpoint(folder=model.folder, digest=model.digest, **facts), choices
