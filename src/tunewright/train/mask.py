"""An update that is not finite is masked where it is computed: no weight and no moment takes it in."""

from __future__ import annotations

from typing import Any

import torch


def masked_step(optimizer: torch.optim.Optimizer, finite: torch.Tensor) -> None:
    """``optimizer.step()`` where the scalar ``finite`` is true; else nothing changes.

    torch's fused optimisers read the flag on the device (``found_inf``, as with scaled losses), so that the host need not wait
    for the gradients. The others, and every optimiser on the CPU, where reading costs nothing, are asked on the host.
    """
    if finite.device.type == "cpu" or not getattr(optimizer, "_step_supports_amp_scaling", False):
        if bool(finite):
            optimizer.step()
        return
    scaled: Any = optimizer
    scaled.found_inf = (~finite).float()
    try:
        optimizer.step()
    finally:
        del scaled.found_inf
