"""Only the head moves: the trunk is frozen and without dropout, so it reads each row once and its state is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import torch

from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import InputError
from tunewright.infer.batch import flatten, to_device
from tunewright.infer.predict import predict_logits
from tunewright.types import Adapter, Batch, Ints, Objective, Phase, Plan, Space, Tell, Trainable


class Remembering(torch.nn.Module):
    """The module with its trunk asked once a text: Batch -> logits[N, C].

    What is remembered is found by the token ids alone, so that a validation row is never taken for a training row. Rows are
    remembered in evaluation mode only, whose order never depends on the step: a resumed run reads the same numbers. The
    head's own dropout acts on what is remembered as on what is fresh.
    """

    def __init__(self, module: Any, room_bytes: int) -> None:
        super().__init__()
        self.module = module
        self.room_bytes = room_bytes
        self.states: dict[bytes, torch.Tensor] = {}

    def train(self, mode: bool = True) -> Remembering:
        """Switch the head alone; the trunk stays in evaluation mode."""
        super().train(mode)
        self.module.trunk.eval()
        return self

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits[N, C]."""
        stream = batch.streams["source"]
        ids = stream.ids.cpu().numpy()
        texts = [ids[start:end] for start, end in pairwise(stream.bounds.tolist())]
        keys = [blake2b(text.tobytes(), digest_size=16).digest() for text in texts]
        fresh = self._read({key: text for key, text in zip(keys, texts, strict=True) if key not in self.states})
        states_NH = torch.stack([self.states[key] if key in self.states else fresh[key] for key in keys])
        logits_NC: torch.Tensor = self.module.head(states_NH.to(stream.ids.device))
        return logits_NC

    def look_ahead(self, ids: Sequence[Ints], tell: Tell) -> None:
        """Read all rows once, in an order of their own."""
        predict_logits(self, ids, tell=tell, label="reading each row once")

    def _read(self, texts: dict[bytes, Ints]) -> dict[bytes, torch.Tensor]:
        """The states[H] of some texts in fp32, on the CPU where they are remembered."""
        if not texts:
            return {}
        stream = flatten(list(texts.values()))
        device = next(self.module.parameters()).device
        batch = to_device(Batch({"source": stream}, {}, tuple(range(len(texts))), len(stream.ids)), device)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            found = dict(zip(texts, self.module.pool(batch).cpu().clone(), strict=True))
        for key, state in found.items() if not self.training else ():
            if self.room_bytes >= state.nbytes:
                self.states[key] = state.clone()
                self.room_bytes -= state.nbytes
        return found


class Head:
    """Train the head alone on the frozen trunk; after the first pass a row costs no more than the head."""

    class Config(ComponentConfig):
        """Options of training the head alone."""

        cache_mib: int = Option(1024, "Most memory for remembered states, in MiB; other rows are read each time.", ge=0)

    lr_factor = 20.0
    recomputes = False

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def wrap(self, module: torch.nn.Module, objective: Objective, seed: int) -> Trainable:
        """The module with a memory for its trunk's states. Raises InputError for a head that came with the base."""
        if not getattr(module, "trains_head", True) or not hasattr(module, "pool"):
            raise InputError(
                "only a fresh head that answers whole texts is trained alone",
                where="method",
                given="head",
                allowed="a task with a fresh head, such as classify",
                hint="method=lora",
            )
        remembering = Remembering(module.requires_grad_(False), self.config.cache_mib * 2**20)
        remembering.module.head.requires_grad_(True)
        return Trainable(remembering, (Phase(objective, r"^module\.head\."),), look_ahead=remembering.look_ahead)

    def adapter(self, trainable: Trainable) -> Adapter | None:
        """None: a head is not beside the base but on top of it."""
        return None

    def fold(self, trainable: Trainable) -> torch.nn.Module:
        """The module itself, without the memory."""
        folded: torch.nn.Module = trainable.module.get_submodule("module")
        return folded

    def search_space(self, plan: Plan) -> Space:
        """Nothing: the memory changes how long a trial takes, not what it learns."""
        return {}
