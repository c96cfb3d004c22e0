"""How fast this machine multiplies at a model's own shapes: `python benchmarks/_ours_gemm.py INPUTS SETTING`.

All products of a mean batch, forward and both of the way back, weighted as often as they occur; each is timed at its best.
"""

from __future__ import annotations

import time

import _meter

METER = _meter.Meter()
TRIES = 12


def main() -> None:
    """Measure bf16 and fp32, and tell GFLOP/s."""
    import torch

    inputs, setting = _meter.orders_given()
    torch.set_num_threads(setting["threads"])
    rates = {}
    for dtype in (torch.bfloat16, torch.float32):
        seconds = work = 0.0
        for rows, narrow, wide, times in inputs["products"]:
            left, right = torch.randn(rows, narrow).to(dtype), torch.randn(wide, narrow).to(dtype)
            flow = torch.randn(rows, wide).to(dtype)
            # read by F.linear, then the gradients of what it read and of its weight
            pairs = [(left, right.T), (flow, right)] + ([] if inputs["rank"] else [(flow.T, left)])
            seconds += times * sum(best(one, two) for one, two in pairs)
            work += times * 2.0 * rows * narrow * wide * len(pairs)
        rates[str(dtype).removeprefix("torch.")] = work / seconds / 1e9
    METER.tell(rates=rates)


def best(one: object, two: object) -> float:
    """Seconds of the quickest of several products."""
    import torch

    taken = []
    for _ in range(TRIES):
        started = time.perf_counter()
        torch.mm(one, two)
        taken.append(time.perf_counter() - started)
    return min(taken)


if __name__ == "__main__":
    main()
