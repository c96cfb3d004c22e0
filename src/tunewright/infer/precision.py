"""In which precision matrix products are computed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def precision(dtype: str, device: str) -> AbstractContextManager[object]:
    """A context in which products run in ``bf16`` (weights stay fp32), or one that does nothing for ``fp32``."""
    return torch.autocast(device, dtype=torch.bfloat16) if dtype == "bf16" else nullcontext()
