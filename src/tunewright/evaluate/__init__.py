"""Evaluation: is the tuned model better than what there was before, and how sure is that?

    answers, gold ─▶ metric/*   ─▶ Measures with intervals
    texts, gold   ─▶ baseline/* ─▶ opponents' answers
    both          ─▶ compare    ─▶ judge ─▶ Verdict ─▶ diagnose ─▶ Report

The verb is ``tunewright.evaluate.evaluate.evaluate``. Nothing here imports torch: models come in as callables.
"""
