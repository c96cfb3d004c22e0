"""The table of contents: the stages in order, from a recipe to a verdict.

    prepare ─▶ select ─▶ encode ─▶ adapt ─▶ train ─▶ evaluate ─▶ report

Each stage leaves its result in the run's folder under the key of all that went into it. Re-issuing a command goes on where
the last one stopped, and a run that differs only in its training takes the prepared data from its neighbour.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tunewright import extensions, result
from tunewright.adapt import encode as encoding
from tunewright.adapt.choose import choose_task
from tunewright.config.base import AUTO
from tunewright.config.load import Loaded, with_automatic, with_recorded
from tunewright.config.write import to_yaml
from tunewright.data.clean.base import build_chain
from tunewright.data.inputs import look
from tunewright.data.prepare import account, content_digest, dataset_key, open_dataset, prepare
from tunewright.errors import GateError, InputError
from tunewright.fitting import Fitting, read_checkpoint
from tunewright.judging import followed, judge
from tunewright.judging.case import Case
from tunewright.model.select import find_source, select
from tunewright.recipe import Recipe, Request, as_command, described, fillable, read_request, run_name
from tunewright.report.config import Report as Shown
from tunewright.report.render import render
from tunewright.seams import Method
from tunewright.store.artifact import open_artifact
from tunewright.store.digest import digest_code, digest_json, sha256_file
from tunewright.store.run import CHECKPOINTS, RECIPE, RESULT, RunFolder, to_finish, unfinished
from tunewright.store.runs import begun
from tunewright.train import memory
from tunewright.train.launch import join, leading, needs_ranks, run_on_nodes, train_on_ranks
from tunewright.train.plan import make_plan, read_plan, use_threads
from tunewright.train.ranks import ALONE, Alone
from tunewright.train.rehearsal import DOCUMENT as FORECAST
from tunewright.types import Base, Checkpoint, Choice, Dataset, Encoded, Finding, Pinned, Plan, Report, Watcher

__all__ = ["Pinned", "Road", "Watcher", "judge_again", "run"]
Until = Literal["prepare", "train", "evaluate"]


def run(
    what: object,
    *,
    out: str | Path | None = None,
    runs: str | Path = "runs",
    overrides: Sequence[str] = (),
    until: Until = "evaluate",
    watcher: Watcher | None = None,
    command: Sequence[str] = (),
    pinned: Pinned | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Carry data to a verdict: ``what`` is a recipe, a data file, or rows (list of dicts, DataFrame, Arrow table).

    ``options`` are sections of the recipe (``train={"epochs": 2}``), ``overrides`` are ``key=value`` strings, ``out`` is the
    run's folder (else a folder of ``runs`` named after the recipe and the digest of all that goes in). Returns what
    ``result.json`` holds. Raises InputError (2), GateError (3), MachineError (1), Interrupted (130).
    """
    request = read_request(what, overrides, options)
    launch = request.recipe.launch
    if launch.nodes > 1 and needs_ranks(launch):
        return run_on_nodes(launch, out, until, as_command(request)[2:], watcher or Watcher())
    road = Road(request, watcher or Watcher(), pinned, ranks=join(launch))
    if road.ranks.rank:
        return follow(road.ranks, road.watcher)
    road.check_names()
    road.recognise()
    with leading(road.ranks), road.open(out, Path(runs), command):
        if (finished := road.finished(until)) is not None:
            return finished
        dataset = road.prepare()
        base = road.select(dataset)
        encoded = road.encode(dataset, base)
        if until == "prepare":
            return road.finish(dataset, base, encoded)
        plan = road.plan(base, encoded)
        checkpoint = road.train(dataset, base, encoded, plan)
        if until == "train":
            return road.finish(dataset, base, encoded, plan, checkpoint)
        report = road.evaluate(dataset, base, encoded, plan)
        return road.finish(dataset, base, encoded, plan, checkpoint, report)


def judge_again(
    folder: Path, *, overrides: Sequence[str] = (), watcher: Watcher | None = None, command: Sequence[str] = ()
) -> dict[str, Any]:
    """Judge the tuned model of a finished run again, with other options of ``evaluate`` and ``report``.

    Raises InputError where the run has no tuned model yet.
    """
    run_folder = RunFolder.open(folder)
    if run_folder.read_json(RESULT) is None:
        raise unfinished(run_folder)
    road = Road(read_request(folder / RECIPE, overrides, {}), watcher or Watcher())
    with road.reopen(run_folder, command):
        dataset, encoded, plan, checkpoint = road.trained()
        base = road.select(dataset)
        report = road.evaluate(dataset, base, encoded, plan)
        return road.finish(dataset, base, encoded, plan, checkpoint, report)


def follow(ranks: Alone, watcher: Watcher) -> dict[str, Any]:
    """Train with the rank that prepares, once it says where and under which key. Returns nothing: that one has the result."""
    for place, key in ranks.hear():
        request = read_request(Path(place) / RECIPE, (), {})
        Road(request, watcher, ranks=ranks).train_as_rank(RunFolder.open(Path(place)), key)
        ranks.end()
    return {}


@dataclass
class Road:
    """One journey along the stages: what was asked, what was decided, where it is kept."""

    request: Request
    watcher: Watcher
    pinned: Pinned | None = None
    ranks: Alone = ALONE
    choices: list[Choice] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    earlier: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The validated recipe as it was given."""
        return self.request.recipe

    def check_names(self) -> None:
        """Refuse a cleaner, model, metric or baseline that does not exist before anything is read or written."""
        build_chain(self.recipe.data.clean)
        followed.check_names(self.recipe.evaluate)
        if self.recipe.base is None and self.recipe.model.name != AUTO:
            find_source(self.recipe.model.name)

    def recognise(self) -> None:
        """Look at the data: which task it is for, and which column fills which field."""
        with self._timed("recognise"):
            self.inputs = look(self.recipe.data, self.request.rows, self.watcher.tell)
            named = {field: str(column) for field, column in self.recipe.data.columns.items()}
            self.task, chosen = choose_task(self.recipe.task, self.inputs.profiles, named)
        self._decide(*chosen)

    @contextmanager
    def open(self, out: str | Path | None, runs: Path, command: Sequence[str]) -> Iterator[None]:
        """The run's folder, locked; named by the recipe's name and the digest of all that goes in."""
        self.command = list(command) or as_command(self.request, out)
        self.data_key = dataset_key(self.recipe.data, self.task, self.inputs)
        asked = self.recipe.model_dump(mode="json", exclude={"name", "launch", "report", "tune"})
        asked["data"] = None  # its content counts, not its path
        identity = digest_json([asked, self.data_key])
        folder = Path(out) if out is not None else runs / f"{run_name(self.request)}-{identity[:8]}"
        with begun(folder, identity, self.command, CHECKPOINTS, described(self.recipe, self.inputs.entries)) as opened:
            self._enter(opened)
            yield

    @contextmanager
    def reopen(self, folder: RunFolder, command: Sequence[str]) -> Iterator[None]:
        """The folder of an earlier run, locked, with the task that it decided on; what it recorded is taken over."""
        self.command = list(command) or ["tunewright", "evaluate", str(folder.folder)]
        self._enter(folder)
        with self.folder.lock():
            self.earlier = self.folder.read_json(RESULT) or {}
            loaded = with_recorded(self.request.loaded, self.earlier["config"]["origins"])
            self.request = replace(self.request, loaded=loaded)
            self._take_task()
            yield

    def _take_task(self) -> None:
        """The task that an earlier process decided on."""
        self.task = extensions.load("adapt.task", self.recipe.task.name)(self.recipe.task.config)

    def _enter(self, folder: RunFolder) -> None:
        self.folder = folder
        self.runs = folder.folder.absolute().parent
        self.events = folder.events()

    def finished(self, until: Until) -> dict[str, Any] | None:
        """The result of a run that has come this far before, by the same code and with the same report options."""
        content = self.folder.read_json(RESULT)
        if content is None or content.get("key") != self._result_key(until):
            return None
        self.watcher.say(Choice("run", str(self.folder.folder), "finished before; nothing to do"))
        return content

    def trained(self) -> tuple[Dataset, Encoded, Plan, Checkpoint]:
        """What an earlier run left on the road up to its tuned model."""
        model = open_artifact(self.folder.stage("model"))
        if model is None:
            raise unfinished(self.folder)
        return *self._prepared(), read_checkpoint(model)[0]

    def _prepared(self) -> tuple[Dataset, Encoded, Plan]:
        """What stands in the folder of the run up to its plan."""
        data, encoded = (open_artifact(self.folder.stage(name)) for name in ("data", "encoded"))
        plan = self.folder.read_json("plan.json")
        if data is None or encoded is None or plan is None:
            raise unfinished(self.folder)
        dataset = open_dataset(data.folder)
        self.digest = content_digest(dataset)
        self.task = self.task.bind(dataset)
        return dataset, encoding.open_encoded(encoded), read_plan(plan)

    def prepare(self) -> Dataset:
        """Sources -> Dataset."""
        with self._timed("prepare"):
            standing = self.folder.open_stage("data", self.data_key)
            if standing is not None:
                dataset = open_dataset(standing.folder)
            else:
                target = self.folder.stage("data")
                dataset = prepare(self.recipe.data, self.task, target, inputs=self.inputs, tell=self.watcher.tell)
        self._decide(*dataset.choices, account(dataset))
        self.digest = content_digest(dataset)
        if self.pinned and self.pinned.data != self.digest:
            raise InputError(
                "the data are not those of the original run",
                where=", ".join(file.path for file in dataset.files),
                given=self.digest[:16],
                allowed=self.pinned.data[:16],
                hint="restore the files, or start a new run: tunewright run",
            )
        self._gate(dataset.findings)
        self.task = self.task.bind(dataset)
        return dataset

    def _gate(self, findings: Sequence[Finding]) -> None:
        """Stop on a violation in the data, unless the recipe allows it; what is allowed is said and recorded."""
        for finding in findings:
            if finding.severity != "violation":
                continue
            if finding.code not in self.recipe.data.allow:
                allowed = [*self.recipe.data.allow, finding.code]
                raise GateError(
                    finding.message,
                    where=", ".join(finding.origins[:3]) or "data",
                    given=finding.code,
                    allowed="data without this finding, or one that the recipe allows",
                    hint=f"data.allow=[{', '.join(allowed)}]",
                )
            self._decide(Choice(f"data.allow.{finding.code}", "allowed", finding.message))

    def select(self, dataset: Dataset) -> Base:
        """Dataset facts -> Base."""
        with self._timed("select"):
            base = select(
                self.recipe.model,
                dataset.facts,
                needs=self.task.needs,
                base_run=self.recipe.base,
                runs=self.runs,
                tell=self.watcher.tell,
            )
        if self.recipe.base is None and self.recipe.model.name == "auto":
            self._decide(Choice("model.name", base.name, base.reason))
        return base

    def encode(self, dataset: Dataset, base: Base) -> Encoded:
        """Dataset -> Encoded; closes the Ledger."""
        with self._timed("encode"):
            described = digest_json([self.recipe.task.name, self.recipe.task.config.of_rows(), list(dataset.labels)])
            key = encoding.encoding_key(self.recipe.encode, dataset, base, described)
            standing = self.folder.open_stage("encoded", key)
            if standing is not None:
                encoded = encoding.open_encoded(standing)
            else:
                encoded = encoding.encode(
                    self.recipe.encode,
                    dataset=dataset,
                    base=base,
                    encoder=self.task.open_encoder(base),
                    target=self.folder.stage("encoded"),
                    key=key,
                    tell=self.watcher.tell,
                )
        self._decide(*encoded.choices)
        self._gate(encoded.findings)
        return encoded

    def plan(self, base: Base, encoded: Encoded) -> Plan:
        """What the start-up probe decides, once for the run."""
        saved = self.folder.read_json("plan.json")
        if saved is not None:
            plan = read_plan(saved)
        else:
            if self.pinned:
                plan = read_plan({"choices": self.pinned.choices})
            else:
                method = self._method()
                plan = make_plan(
                    self.recipe.train,
                    base,
                    encoded.splits["train"],
                    lr_factor=method.lr_factor,
                    recomputes=method.recomputes,
                )
            self.folder.write_document("plan.json", {"choices": [asdict(choice) for choice in plan.choices]})
        use_threads(plan)
        self._decide(*(choice for choice in plan.choices if choice.reason != "as asked"))
        return plan

    def train(self, dataset: Dataset, base: Base, encoded: Encoded, plan: Plan) -> Checkpoint:
        """Encoded -> Checkpoint, and the tuned model in the ecosystem's format under ``model``."""
        key = self._train_key(base, encoded, plan)
        _, declared, _ = followed.validation_score(self.task, dataset, self.recipe.evaluate.metric)
        self._decide(declared)  # said also where the model is there already: the report names what its curve shows
        trained = self.folder.open_stage("model", key)
        if trained is None:
            with self._timed("train"):
                self.folder.write_document(RECIPE, to_yaml(self._filled()))  # from which other processes read it
                if needs_ranks(self.recipe.launch):
                    self._decide(*train_on_ranks(self.recipe.launch, self.folder, key, self.watcher))
                else:
                    self.ranks.announce(self.folder.folder.absolute().as_posix(), key)
                    self._fit(dataset, base, encoded, plan, key)
            trained = self.folder.open_stage("model", key)
        assert trained is not None
        checkpoint, choices = read_checkpoint(trained)
        self._decide(*choices)  # where a run before a kill, or a sibling, has trained it
        return checkpoint

    def train_as_rank(self, folder: RunFolder, key: str) -> None:
        """Train as one rank of several, from the stages that stand in the folder of the run."""
        self.command = list(folder.command)
        self._enter(folder)
        self._take_task()
        dataset, encoded, plan = self._prepared()
        self._fit(dataset, self.select(dataset), encoded, plan, key)

    def _fit(self, dataset: Dataset, base: Base, encoded: Encoded, plan: Plan, key: str) -> None:
        Fitting(
            task=self.task,
            method=self._method(),
            recipe=self.recipe,
            dataset=dataset,
            base=base,
            encoded=encoded,
            plan=plan,
            folder=self.folder,
            events=self.events,
            key=key,
            command=self.command,
            ranks=self.ranks,
            watcher=self.watcher,
            decide=self._decide,
        ).run()

    def evaluate(self, dataset: Dataset, base: Base, encoded: Encoded, plan: Plan) -> Report:
        """Tuned model and Dataset -> Report with its verdict."""
        with self._timed("evaluate"):
            report = judge(
                Case(
                    task=self.task,
                    dataset=dataset,
                    encoded=encoded,
                    base=base,
                    plan=plan,
                    recipe=self.recipe,
                    method=self._method(),
                    model=self.folder.stage("model"),
                    events=self.events.read(),
                    command=shlex.join(as_command(self.request)),
                    run=str(self.folder.folder),
                    tell=self.watcher.tell,
                )
            )
        self._decide(*report.choices)
        return report

    def finish(
        self,
        dataset: Dataset,
        base: Base,
        encoded: Encoded,
        plan: Plan | None = None,
        checkpoint: Checkpoint | None = None,
        report: Report | None = None,
    ) -> dict[str, Any]:
        """Write the filled recipe, ``result.json`` and the report; return what the JSON says."""
        loaded = self._filled()
        known = {each["path"]: Choice(**each) for each in self.earlier.get("choices", ())}
        known |= {choice.path: choice for choice in self.choices}
        timings = {**self.earlier.get("timings", {}), "total": 0.0, **self.timings}
        content: dict[str, Any] = {
            "format": result.FORMAT,
            "id": self.folder.folder.name,
            "key": self._result_key("evaluate" if report else "train" if checkpoint else "prepare"),
            "run": str(self.folder.folder),
            "report": str(self.folder.document("report.html")),
            "created": self.folder.created,
            "command": shlex.join(self.command),
            "task": loaded.config.task.name,
            "method": loaded.config.method.name,
            **result.model_part(base),
            **result.data_part(dataset, encoded),
            **result.config_part(loaded, tuple(known.values())),
            **result.environment_part(),
            "hashes": {"data": self.digest, "encoded": encoded.fingerprint, "base": base.digest},
            "timings": {**timings, "total": sum(timings.values())},
            "peak_memory_bytes": memory.peak_bytes(),
            "next_commands": result.next_commands(self.folder.folder, report) if report else [to_finish(self.command)],
        }
        if encoded.xray is not None:
            content["xray"] = Shown(self.recipe.report).select_xray(encoded.xray)
        if plan is not None and checkpoint is not None:
            content |= result.training_part(plan, checkpoint, self.events.read(), self._followed())
            content["forecast"] = self.folder.read_json(FORECAST)
            content["incidents"] = result.read_incidents(self.folder)
            content["hashes"]["weights"] = sha256_file(checkpoint.folder / "model.safetensors")
        if report is not None:
            shown = Shown(self.recipe.report)
            content |= result.verdict_part(report, dataset, shown, self.task)
        content |= {name: self.earlier[name] for name in ("command", "curves") if name in self.earlier}
        content = result.plain(content)
        self.folder.write_document(RECIPE, to_yaml(loaded))
        self.folder.write_document("report.html", render(content))
        self.folder.write_document("result.json", content)
        return content

    def _filled(self) -> Loaded[Recipe]:
        return with_automatic(self.request.loaded, fillable(self.request.loaded, self.choices))

    def _followed(self) -> str:
        return self._chosen("train.followed_metric") or self._chosen("evaluate.metric")

    def _chosen(self, path: str) -> str:
        return next((str(choice.value) for choice in self.choices if choice.path == path), "")

    def _method(self) -> Method:
        chosen = self.recipe.method
        method: Method = extensions.load(chosen.family, chosen.name)(chosen.config)
        return method

    def _train_key(self, base: Base, encoded: Encoded, plan: Plan) -> str:
        recipe = self.recipe
        asked = [recipe.train.model_dump(mode="json"), recipe.method.as_json(), recipe.task.as_json(), recipe.seed]
        decided = [[choice.path, choice.value] for choice in plan.choices]
        code = digest_code("tunewright.train", "tunewright.adapt", "tunewright.infer")
        return digest_json([encoded.fingerprint, base.digest, asked, decided, code])

    def _result_key(self, until: Until) -> str:
        """What must be the same for a result to be taken as it stands."""
        judged = [self.recipe.evaluate.model_dump(mode="json"), self.recipe.report.model_dump(mode="json")]
        return digest_json([until, self.folder.identity, judged, digest_code("tunewright")])

    def _decide(self, *choices: Choice) -> None:
        for choice in choices:
            if choice.path not in {known.path for known in self.choices}:
                self.choices.append(choice)
                self.watcher.say(choice)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.timings[stage] = self.timings.get(stage, 0.0) + time.monotonic() - started
