"""From gradients to new weights: their norm, the clip, the optimiser's step, and the weights of the copy that computes.

With AdamW by our kernel all of that is two passes: one for the norm, one for everything else; and where a batch was not cut, the
gradients are read in bf16 as the products left them, which is also how split weights are moved. Any other optimiser takes the
four passes of torch.
"""

from __future__ import annotations

import torch

from tunewright.train.mask import masked_step
from tunewright.train.optimizer.base import Direct
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
        if isinstance(optimizer, Direct):
            optimizer.copies = worker.copies()

    def expect(self, *, is_one: bool) -> None:
        """Told before the backward passes: only what adds up, over micro-batches or ranks, needs gradients in fp32."""
        self.worker.holds_gradients = is_one and isinstance(self.optimizer, Direct)

    def norm(self) -> torch.Tensor:
        """The norm of all gradients."""
        given = {id(each): each.grad for each in self.module.parameters() if each.grad is not None}
        if not isinstance(self.optimizer, Direct):
            return torch.nn.utils.get_total_norm([*given.values()])
        return self.optimizer.square_sum([*(given | self.worker.held()).values()]).sqrt().float()

    def apply(self, norm: torch.Tensor, finite: torch.Tensor) -> None:
        """Scale the gradients down to the clipping norm (Pascanu et al. 2013, algorithm 1) and step, if ``finite``."""
        if isinstance(self.optimizer, Direct):
            if bool(finite):
                self.optimizer.clip = min(1.0, self.clip_norm / (float(norm) + 1e-6)) if self.clip_norm else 1.0
                self.optimizer.gradients = self.worker.held()
                self.optimizer.step()
                self.optimizer.gradients = {}
            return
        if self.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(self.module.parameters(), self.clip_norm, norm)
        masked_step(self.optimizer, finite)
        self.worker.take_up()

    def clear(self) -> None:
        """Let all gradients go."""
        self.worker.let_go()
        self.optimizer.zero_grad(set_to_none=True)
