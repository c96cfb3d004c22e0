"""From gradients to new weights: their norm, the clip, the optimiser's step, and the weights of the copy that computes.

With AdamW by our kernel all of that is two passes: one for the norm, one for everything else; and where a batch was not cut, the
gradients are read in bf16 as the products left them. Any other optimiser takes the four passes of torch.
"""

from __future__ import annotations

import torch

from tunewright.train.optimizer.adamw import KernelAdamw
from tunewright.train.worker import Worker


class Update:
    """Moves the weights of ``module`` by the gradients that its ``worker`` has left."""

    def __init__(
        self, module: torch.nn.Module, optimizer: torch.optim.Optimizer, worker: Worker, clip_norm: float
    ) -> None:
        """``clip_norm`` 0 leaves the gradients alone."""
        self.module = module
        self.optimizer = optimizer
        self.worker = worker
        self.clip_norm = clip_norm
        if isinstance(optimizer, KernelAdamw):
            optimizer.copies = worker.copies()

    def expect(self, num_micro_batches: int) -> None:
        """Told before the backward passes: only what adds up needs gradients of its own in fp32."""
        self.worker.holds_gradients = isinstance(self.optimizer, KernelAdamw) and num_micro_batches == 1

    def norm(self) -> torch.Tensor:
        """The norm of all gradients."""
        if not isinstance(self.optimizer, KernelAdamw):
            return torch.nn.utils.get_total_norm(
                [each.grad for each in self.module.parameters() if each.grad is not None]
            )
        held = self.worker.held()
        left = [each.grad for each in self.module.parameters() if each.grad is not None]
        return self.optimizer.native.square_sum([*(each.contiguous() for each in held.values()), *left]).sqrt().float()

    def apply(self, norm: torch.Tensor) -> None:
        """Scale the gradients down to the clipping norm (Pascanu et al. 2013, algorithm 1), and step."""
        clip = min(1.0, self.clip_norm / (float(norm) + 1e-6)) if self.clip_norm else 1.0
        if isinstance(self.optimizer, KernelAdamw):
            self.optimizer.clip, self.optimizer.gradients = clip, self.worker.held()
            self.optimizer.step()
            self.optimizer.gradients = {}
            return
        if clip < 1.0:
            torch._foreach_mul_([each.grad for each in self.module.parameters() if each.grad is not None], clip)
        self.optimizer.step()
        self.worker.take_up()

    def clear(self) -> None:
        """Let all gradients go."""
        self.worker.let_go()
        self.optimizer.zero_grad(set_to_none=True)
