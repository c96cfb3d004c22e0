"""From raw file to verdict: runs recipes and writes their results into docs/benchmarks.md and both READMEs.

    python benchmarks/recipes.py [NAME ...]

A run that is finished already is not repeated; its recorded time is shown.
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
NAMES = ("movie-reviews", "chinese-reviews")
BASELINES = {"nb_svm": "NB-SVM", "tfidf_lr": "TF-IDF + LR", "majority": "majority"}
TITLES = {
    "README.md": {
        "movie-reviews": "movie reviews (English, MiniLM)",
        "chinese-reviews": "product reviews (Chinese, multilingual-e5)",
        "columns": "| job | held-out rows | tuned | untouched base | strongest classical baseline | verdict |",
    },
    "README.zh.md": {
        "movie-reviews": "影评（英文，MiniLM）",
        "chinese-reviews": "商品评论（中文，multilingual-e5）",
        "columns": "| 任务 | 留出的行数 | 微调后 | 未微调的基座 | 最强的经典基线 | 结论 |",
    },
}


def measure(name: str) -> dict[str, Any]:
    """The result of one recipe, run in a process of its own."""
    command = [sys.executable, "-m", "tunewright", "run", f"recipes/{name}.yaml", "--out", str(RUNS / name), "--json"]
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


def write_readme(file: str, results: dict[str, dict[str, Any]]) -> None:
    """Replace the results of one README."""
    titles = TITLES[file]
    rows = [f"| {titles[name]} | {' | '.join(figures(result))} |" for name, result in results.items()]
    table = "\n".join([titles["columns"], "|---|---|---|---|---|---|", *rows])
    path = ROOT / file
    text = path.read_text(encoding="utf-8")
    section = f"<!-- results -->\n{table}\n<!-- /results -->"
    path.write_text(
        re.sub(r"<!-- results -->.*?<!-- /results -->", lambda _: section, text, flags=re.DOTALL), encoding="utf-8"
    )


def main() -> None:
    """Run, and write the three tables."""
    names = sys.argv[1:] or NAMES
    results = {name: measure(name) for name in names}
    rows = []
    for name, result in results.items():
        timings = result["timings"]
        stages = ", ".join(f"{stage} {timings[stage]:.0f}" for stage in ("train", "evaluate") if stage in timings)
        memory = f"{result['peak_memory_bytes'] / 1e9:.1f} GB"
        rows.append((f"`{name}`", *figures(result), f"{timings['total']:.0f} s ({stages})", memory))
    columns = (
        "recipe",
        "held-out rows",
        "tuned",
        "untouched base",
        "strongest baseline",
        "verdict",
        "time after start",
        "peak memory",
    )
    _page.write("recipes", columns, rows)
    if set(results) == set(NAMES):
        for file in TITLES:
            write_readme(file, results)


if __name__ == "__main__":
    main()
