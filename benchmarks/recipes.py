"""From raw file to verdict: runs recipes and writes their results into docs/benchmarks.md and both READMEs.

    python benchmarks/recipes.py [NAME ...]
    python benchmarks/recipes.py customer-service=data_small.json       the file is not shipped: see the recipe
    python benchmarks/recipes.py none                                   write what is finished

A run that is finished already is not repeated; its recorded time is shown. A row stays as it is until its recipe is measured
again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import _page

ROOT = _page.PAGE.parent.parent
RUNS = ROOT / "runs" / "benchmarks"
NAMES = ("movie-reviews", "chinese-reviews", "customer-service")
DIALOGUES = ("dialogues", "dialogues-full", "chinese-dialogues")
VARIANTS = {"dialogues-full": ("dialogues", "method=full", "train.epochs=2")}
BASELINES = {"nb_svm": "NB-SVM", "tfidf_lr": "TF-IDF + LR", "majority": "majority"}
TITLES = {
    "README.md": {
        "movie-reviews": "movie reviews (English, MiniLM)",
        "chinese-reviews": "product reviews (Chinese, multilingual-e5)",
        "customer-service": "customers' questions, 150 intents and none of them (English, MiniLM)",
        "dialogues": "dialogues (English, SmolLM2-135M, LoRA)",
        "dialogues-full": "dialogues (English, SmolLM2-135M, all parameters)",
        "chinese-dialogues": "dialogues (Chinese, Gemma 3 270M, LoRA)",
        "columns": "| job | held-out rows | tuned | untouched base | strongest classical baseline | verdict |",
        "of dialogues": "| job | held-out dialogues | tuned | untouched base | prompted base | n-gram | stops | verdict |",
    },
    "README.zh.md": {
        "movie-reviews": "影评（英文，MiniLM）",
        "chinese-reviews": "商品评论（中文，multilingual-e5）",
        "customer-service": "客户提问，150 种意图或都不是（英文，MiniLM）",
        "dialogues": "对话（英文，SmolLM2-135M，LoRA）",
        "dialogues-full": "对话（英文，SmolLM2-135M，全部参数）",
        "chinese-dialogues": "对话（中文，Gemma 3 270M，LoRA）",
        "columns": "| 任务 | 留出的行数 | 微调后 | 未微调的基座 | 最强的经典基线 | 结论 |",
        "of dialogues": "| 任务 | 留出的对话数 | 微调后 | 未微调的基座 | 带示例的基座 | n-gram | 自己停下 | 结论 |",
    },
}


def measure(name: str, path: str = "") -> dict[str, Any]:
    """The result of one recipe, on the data in ``path`` if it is given, run in a process of its own."""
    recipe, *overrides = VARIANTS.get(name, (name,))
    given = [*overrides, *([f"data.path={path}"] if path else [])]
    command = [sys.executable, "-m", "tunewright", "run", f"recipes/{recipe}.yaml", *given, "--out", str(RUNS / name)]
    command += ["--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def figures(result: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Held-out rows, tuned with interval, base, strongest baseline with name, verdict with p."""
    verdict = result["verdict"]
    metric = verdict["metric"]
    low, high = result["metrics"][metric]["interval"]
    deciding = {each["against"]: each for each in verdict["comparisons"] if each["required"]}
    strongest = next(name for name in deciding if name != "untouched_base")
    worst_p = max(each["p"] for each in deciding.values())
    shown = f"p < {0.0001}" if worst_p < 0.0001 else f"p = {worst_p:.4f}"
    return (
        f"{result['num_judged']:,}",
        f"{result['metrics'][metric]['value']:.3f} ({low:.3f} to {high:.3f})",
        f"{deciding['untouched_base']['opponent']:.3f}",
        f"{deciding[strongest]['opponent']:.3f} ({BASELINES[strongest]})",
        f"`{verdict['outcome']}`, {shown}",
    )


def figures_of_dialogues(result: dict[str, Any]) -> tuple[str, ...]:
    """Held-out dialogues; nats a dialogue of every system; answers that stop by themselves; verdict with what failed."""
    verdict = result["verdict"]
    nats = {name: values["nll_per_dialogue"] for name, values in result["systems"].items()}
    low, high = result["metrics"]["nll_per_dialogue"]["interval"]
    deciding = [each for each in verdict["comparisons"] if each["required"]]
    worst_p = max(each["p"] for each in deciding)
    shown = f"p < {0.001}" if worst_p < 0.001 else f"p = {worst_p:.3f}"
    failed = [check["name"] for check in verdict["checks"] if not check["passed"]]
    stops = result["systems"]["tuned"]["stop_rate"], result["systems"]["untouched_base"]["stop_rate"]
    return (
        f"{result['num_judged']:,}",
        f"{nats['tuned']:.1f} ({low:.1f} to {high:.1f})",
        *(f"{nats[name]:.1f}" for name in ("untouched_base", "few_shot", "ngram")),
        f"{stops[0]:.1%} ({stops[1]:.1%})",
        f"`{verdict['outcome']}`, {shown}" + (f"; {', '.join(failed)} failed" if failed else ""),
    )


def write_readme(file: str, results: dict[str, dict[str, Any]]) -> None:
    """Replace the results of one README."""
    titles = TITLES[file]
    text = (ROOT / file).read_text(encoding="utf-8")
    for section, names, shown, columns in (
        ("results", NAMES, figures, "columns"),
        ("dialogues", DIALOGUES, figures_of_dialogues, "of dialogues"),
    ):
        known = rows_of(text, section)
        for name in names:
            if name in results:
                known[titles[name]] = f"| {titles[name]} | {' | '.join(shown(results[name]))} |"
        head = [titles[columns], "|---" * (titles[columns].count("|") - 1) + "|"]
        write_section(file, section, [*head, *(known[titles[name]] for name in names if titles[name] in known)])


def rows_of(text: str, section: str) -> dict[str, str]:
    """The rows of a section's table, each by its first cell."""
    found = re.search(rf"<!-- {section} -->(.*?)<!-- /{section} -->", text, flags=re.DOTALL)
    lines = [line for line in (found[1] if found else "").splitlines() if line.startswith("| ")]
    return {line.split("|")[1].strip(): line for line in lines[1:] if not line.startswith("| ---")}


def write_page(section: str, names: tuple[str, ...], columns: tuple[str, ...], measured: dict[str, Any]) -> None:
    """Replace the rows of docs/benchmarks.md that were measured; the others stay."""
    known = rows_of(_page.PAGE.read_text(encoding="utf-8"), section)
    kept = {
        name: [*(cell.strip() for cell in known[f"`{name}`"].strip("|").split("|")), "", ""][: len(columns) + 5]
        for name in names
        if f"`{name}`" in known
    }
    rows = [measured.get(name) or kept[name] for name in names if name in measured or name in kept]
    if rows:
        costs = ("time after start", "peak memory", "forecast of training", "of memory")
        _page.write(section, ("recipe", *columns, *costs), rows)


def write_section(file: str, name: str, lines: list[str]) -> None:
    """Put lines between the markers of one README."""
    path = ROOT / file
    text = path.read_text(encoding="utf-8")
    section = "\n".join([f"<!-- {name} -->", *lines, f"<!-- /{name} -->"])
    found = re.sub(rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _: section, text, flags=re.DOTALL)
    path.write_text(found, encoding="utf-8")


def cost(result: dict[str, Any]) -> tuple[str, ...]:
    """Time after the start by stage, peak memory, and what the forecast made of training's time and memory."""
    timings = result["timings"]
    stages = ", ".join(f"{stage} {timings[stage]:.0f}" for stage in ("train", "evaluate") if stage in timings)
    return f"{timings['total']:.0f} s ({stages})", f"{result['peak_memory_bytes'] / 1e9:.1f} GB", *foretold(result)


def foretold(result: dict[str, Any]) -> tuple[str, str]:
    """The forecast and how far it was off, of the seconds of training and of its memory; empty where there was none."""
    found = result.get("forecast") or {}
    cells = []
    for key, unit, size in (("train_seconds", "s", 1.0), ("memory_bytes", "GB", 1e9)):
        told, fact = (found.get(part, {}).get(key) for part in ("forecast", "fact"))
        digits = 0 if unit == "s" else 1
        cells.append(f"{told / size:.{digits}f} {unit} ({told / fact - 1:+.0%})" if told and fact else "")
    return cells[0], cells[1]


def finished(name: str) -> dict[str, Any] | None:
    """The result of a run that ended earlier."""
    path = RUNS / name / "result.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found if found and found.get("verdict") else None


def main() -> None:
    """Run, and write the tables of this page and of both READMEs."""
    names = sys.argv[1:] or [*NAMES[:2], *DIALOGUES]
    asked = dict(name.partition("=")[::2] for name in names if name != "none")
    results = {name: measure(name, path) for name, path in asked.items()}
    for name in (*NAMES, *DIALOGUES):
        if name not in results and (found := finished(name)):
            results[name] = found
    labels = {name: (f"`{name}`", *figures(results[name]), *cost(results[name])) for name in NAMES if name in results}
    judged = ("held-out rows", "tuned", "untouched base", "strongest baseline", "verdict")
    write_page("recipes", NAMES, judged, labels)
    texts = {
        name: (f"`{name}`", *figures_of_dialogues(results[name]), *cost(results[name]))
        for name in DIALOGUES
        if name in results
    }
    judged = ("held-out dialogues", "tuned", "untouched base", "prompted base", "n-gram", "ends by itself", "verdict")
    write_page("dialogues", DIALOGUES, judged, texts)
    for file in TITLES:
        write_readme(file, results)


if __name__ == "__main__":
    main()
