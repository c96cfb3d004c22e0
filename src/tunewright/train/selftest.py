"""The self-test before a run: once for each code, architecture and options; its passes are kept in the cache folder."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.errors import GateError, MachineError
from tunewright.infer.load import read_config
from tunewright.infer.native.functions import use_kernels
from tunewright.store import durable
from tunewright.store.digest import digest_code, digest_json
from tunewright.store.document import parse_object, render_json
from tunewright.store.home import cache_folder
from tunewright.train.batches import Examples
from tunewright.train.invariance import Invariance, check_invariances
from tunewright.train.miniature import make_miniature
from tunewright.train.recompute import set_recompute
from tunewright.train.split import splits
from tunewright.types import Base, Choice, Plan, Tell, Trainable, tell_nobody

if TYPE_CHECKING:
    from tunewright.train.config import Train

PATH = "train.selftest"


def pass_key(base: Base, train: Train.Config, asked: Sequence[Mapping[str, Any]], plan: Plan) -> str:
    """What a pass holds for: code, libraries, the machine's kind, the architecture, and the options that choose code paths.

    ``asked`` are the task's and the method's options as they stand in the recipe. Rates and lengths do not count.
    """
    import torch

    kind = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    kind += [str(plan[f"train.{name}"]) for name in ("device", "dtype", "kernels", "recompute")]
    code = [digest_code("tunewright.train", "tunewright.adapt", "tunewright.infer"), version("torch")]
    architecture = {name: value for name, value in read_config(base.folder).items() if not name.startswith("_")}
    options = [train.optimizer.name, train.master, list(asked)]
    return digest_json([code, version("transformers"), kind, architecture, options])


def recorded_pass(key: str) -> str | None:
    """What was tested when a pass was recorded under the key; None without one."""
    try:
        return str(parse_object(_record(key).read_bytes())["told"])
    except (OSError, ValueError, KeyError):
        return None


def record_pass(key: str, found: Sequence[Invariance], note: str) -> str:
    """Keep a pass and return what was tested; a disk that refuses costs the next run a second, and stops nothing."""
    names = ", ".join(each.name for each in found)
    told = f"{names}; on {note}; once for this code, architecture and these options"
    checks = [{"name": each.name, "deviation": each.deviation, "bound": each.bound} for each in found]
    with suppress(MachineError):
        durable.replace_document(_record(key), render_json({"key": key, "checks": checks, "told": told}))
    return told


def examine_before_run(
    trainable: Trainable, examples: Examples, train: Train.Config, *, key: str, plan: Plan, tell: Tell = tell_nobody
) -> Choice:
    """Test in this process what has not passed yet. Raises GateError for a failure, unless the recipe lets it pass.

    The module to be trained, its rows and all random numbers are afterwards what they were.
    """
    if train.selftest == "off":
        return Choice(PATH, "off", "as asked: the engine was not tested on these rows")
    if (told := recorded_pass(key)) is not None:
        return Choice(PATH, "passed", told)
    use_kernels(plan["train.kernels"] == "native")
    device, dtype = str(plan["train.device"]), str(plan["train.dtype"])
    set_recompute(trainable.module, wanted=plan["train.recompute"])
    is_split = splits(train, plan, remembers=trainable.look_ahead is not None)
    miniature = make_miniature(trainable, examples, train.optimizer, device, dtype, splits=is_split)
    found = check_invariances(miniature, tell)
    failed = [each for each in found if not each.passed]
    if not failed:
        return Choice(PATH, "passed", record_pass(key, found, miniature.note))
    if train.selftest == "tell":
        figured = "; ".join(f"{each.name}: {figures(each)}" for each in failed)
        return Choice(PATH, "failed", f"{figured}; the run goes on, as asked")
    raise failure(failed)


def figures(found: Invariance) -> str:
    """The deviation beside its bound."""
    return f"deviation {found.deviation:.2g}, at most {found.bound:g}"


def failure(failed: Sequence[Invariance]) -> GateError:
    """The error of a failed self-test."""
    return GateError(
        f"the self-test fails; it should hold that {failed[0].sentence}",
        where=f"{PATH}, {failed[0].name}",
        given="; ".join(f"{each.name}: {each.deviation:.2g}" for each in failed),
        allowed=f"a deviation of at most {failed[0].bound:g}",
        hint="tunewright doctor RECIPE shows every check; to run all the same, which is recorded: train.selftest=tell",
    )


def _record(key: str) -> Path:
    return cache_folder() / "selftests" / f"{key[:32]}.json"
