"""What this machine can do, what would stop a run, and whether the engine keeps its invariances on a recipe (promise N3).

Facts and findings; but for the record of a self-test that passed, nothing is changed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunewright import extensions
from tunewright.data.inputs import look
from tunewright.errors import TunewrightError, shorten
from tunewright.recipe import Request, read_request
from tunewright.result import environment_part
from tunewright.store.home import cache_folder
from tunewright.store.working import working_folder
from tunewright.train.batches import read_examples
from tunewright.train.invariance import Invariance
from tunewright.train.probe import choose_device, gemm_rate
from tunewright.types import Encoded, Tell, tell_nobody

WIDTH = 384
LEAST_DISK_BYTES = 2_000_000_000


def examine(recipe: str | Path | None = None, *, runs: str | Path = "runs", tell: Tell = tell_nobody) -> dict[str, Any]:
    """``machine`` (facts), ``checks`` (each with ``name``, ``ok``, ``detail``, ``hint``) and ``ok`` over all of them.

    With a recipe whose data can be read also ``selftest``: ``note`` (on what) and ``checks`` (each with ``name``, ``passed``,
    ``deviation``, ``bound``, ``sentence``), two processes against one among them.
    """
    import torch

    environment = environment_part()["environment"]
    fp32, bf16 = gemm_rate(WIDTH, torch.float32), gemm_rate(WIDTH, torch.bfloat16)
    machine = {
        **environment,
        "device": choose_device("auto").value,
        "memory_bytes": memory_bytes(),
        "gemm_gflops_fp32": round(fp32, 1),
        "gemm_gflops_bf16": round(bf16, 1),
        "cache": str(cache_folder()),
    }
    checks = [_disk(Path.cwd(), "disk for runs"), _disk(cache_folder(), "disk for models and data")]
    found: dict[str, Any] = {"machine": machine, "checks": checks}
    if recipe is not None:
        checks.append(_recipe(recipe))
        if checks[-1]["ok"]:
            found["selftest"] = examine_engine(read_request(str(recipe), (), {}), Path(runs), tell)
            checks.append(_summed_up(found["selftest"]))
    return {**found, "ok": all(bool(check["ok"]) for check in checks)}


def examine_engine(request: Request, runs: Path, tell: Tell = tell_nobody) -> dict[str, Any]:
    """The self-test of a recipe on a few of its rows: ``note`` and ``checks``. A pass is recorded for the runs to come.

    Raises InputError, GateError and MachineError where the recipe cannot be prepared.
    """
    from tunewright.doctor.job import open_job, read_base, read_encoded, settle
    from tunewright.doctor.pair import check_pair
    from tunewright.infer.native.functions import use_kernels
    from tunewright.train.invariance import check_invariances
    from tunewright.train.plan import make_plan
    from tunewright.train.selftest import pass_key, record_pass

    with working_folder() as folder:
        job = settle(request, folder, runs, tell)
        train = request.recipe.train
        base = read_base(job)
        method: Any = extensions.load(request.recipe.method.family, request.recipe.method.name)
        plan = make_plan(train, base, read_encoded(job).splits["train"], recomputes=method.recomputes)
        use_kernels(plan["train.kernels"] == "native")
        miniature = open_job(job, plan)
        found = [*check_invariances(miniature, tell), *check_xray(read_encoded(job))]
        tell("training with two processes", 0, None, "")
        found.append(check_pair(job, folder))
        if all(each.passed for each in found):
            asked = [request.recipe.task.as_json(), request.recipe.method.as_json()]
            record_pass(pass_key(base, train, asked, plan), found, miniature.note)
    return {"note": miniature.note, "checks": [{**asdict(each), "passed": each.passed} for each in found]}


def check_xray(encoded: Encoded) -> list[Invariance]:
    """What the X-ray says is supervised is what the loss will count, where there is an X-ray."""
    if encoded.xray is None:
        return []
    roles: Any = encoded.xray["roles"]
    shown = sum(int(role["supervised"]) for role in roles)
    counted = sum(int((read_examples(encoded, split).targets > 0).sum()) for split in encoded.splits)
    sentence = f"the X-ray shows {shown:,} supervised tokens, and the loss counts {counted:,}"
    return [Invariance(name="x-ray", deviation=float(abs(shown - counted)), bound=0.0, sentence=sentence)]


def _summed_up(selftest: Mapping[str, Any]) -> Mapping[str, object]:
    failed = [check for check in selftest["checks"] if not check["passed"]]
    if not failed:
        return {"name": "self-test", "ok": True, "detail": f"{len(selftest['checks'])} invariances hold", "hint": ""}
    detail = (
        f"{failed[0]['name']} deviates by {failed[0]['deviation']:.2g}: it should hold that {failed[0]['sentence']}"
    )
    hint = "do not trust a training with these options; a run can be forced with train.selftest=tell, which is recorded"
    return {"name": "self-test", "ok": False, "detail": detail, "hint": hint}


def memory_bytes() -> int | None:
    """Physical memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _disk(folder: Path, name: str) -> Mapping[str, object]:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    detail = f"{free / 1e9:.1f} GB free at {folder}" + ("" if writable else ", not writable")
    return {
        "name": name,
        "ok": free >= LEAST_DISK_BYTES and writable,
        "detail": detail,
        "hint": ""
        if free >= LEAST_DISK_BYTES and writable
        else "free some space, or set TUNEWRIGHT_HOME or --out elsewhere",
    }


def _recipe(recipe: str | Path) -> Mapping[str, object]:
    try:
        request = read_request(str(recipe), (), {})
        profiles = look(request.recipe.data).profiles
    except TunewrightError as error:
        detail = f"{error.where}: {error.problem}: {shorten(error.given)}"
        return {"name": "recipe", "ok": False, "detail": detail, "hint": error.hint}
    columns = ", ".join(profile.name for profile in profiles)
    return {"name": "recipe", "ok": True, "detail": f"valid; the data has the columns {columns}", "hint": ""}
