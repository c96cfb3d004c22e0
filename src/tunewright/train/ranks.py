"""Several processes train one model: who computes which rows, and how their gradients become those of one process.

The batch of an update is divided by rows. Every loss is normalised by the count of the whole batch, so the gradients of the
ranks need only be summed: two processes make the updates of one, up to the order of a sum (and to which row gets which dropout).
The processes are started by ``torchrun``, the sums are those of torch: DDP where the trained module itself computes, which
sends a bucket of gradients while the backward pass still runs (Li et al. 2020, "PyTorch Distributed", section 3.2); buckets
summed after the backward pass where a bf16 copy computes, because its gradients are whole only in fp32, beside the copy; FSDP2
where one process cannot hold the model. What ranks tell each other is tensors and short texts; nothing is pickled.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import distributed
from torch.distributed.rendezvous import rendezvous

from tunewright.errors import InputError, MachineError, TunewrightError
from tunewright.infer.predict import predict_logits
from tunewright.store.artifact import Draft
from tunewright.train.batches import Batches, Examples, token_weights
from tunewright.train.shards import read_shards, write_shards
from tunewright.train.state import read_moments, read_weights, tensors_of, write_tensors
from tunewright.types import Batch, Directive, Floats, Ints

if TYPE_CHECKING:
    from tunewright.train.loop import LossFunction

BUCKET_BYTES = 25 * 2**20
"""Gradients summed in one call; DDP's own default."""
LET_GO_SECONDS = 0.1
"""For gloo's threads to let go of what they summed: the group waits for them while it keeps Python from them."""
PATIENCE = timedelta(days=7)
"""How long a rank waits for the one that prepares the data; a rank that dies ends all of them at once."""


_held: deque[torch.Tensor] = deque(maxlen=64)
"""The last tensors that were summed. A thread of gloo that lets go of the last reference to one needs Python for it, and waits
for ever where the group is being closed meanwhile; so the last reference is here."""


class Whole(torch.nn.Module):
    """The module and the loss in one forward, so that every use of a parameter lies between two hooks of DDP or FSDP."""

    def __init__(self, module: torch.nn.Module, loss_function: LossFunction) -> None:
        """``loss_function`` of what the module gives."""
        super().__init__()
        self.module = module
        self.loss_function = loss_function

    def forward(self, batch: Batch) -> torch.Tensor:
        """The summed loss of a batch; a precision that the caller has set is that of the module alone."""
        outputs = self.module(batch)
        with torch.autocast(batch.streams["source"].ids.device.type, enabled=False):
            return self.loss_function(outputs, batch.columns)[0]

    def answer(self, batch: Batch) -> torch.Tensor:
        """What the module answers."""
        answer: Any = getattr(self.module, "answer", self.module)
        found: torch.Tensor = answer(batch)
        return found


class Alone:
    """One process: nothing to divide, nothing to agree on."""

    rank = 0
    size = 1
    num_local = 1
    keeps_precision = False
    is_sharded = False
    """Whether each process holds, and writes, a part of every weight."""
    gradient_factor = 1.0
    """What each process's loss is multiplied by before the backward pass."""

    def announce(self, *told: str) -> None:
        """Tell the ranks that wait in ``hear``: a run's folder and the key of its model, or nothing where nothing is trained.

        What is told first holds.
        """

    def hear(self) -> Iterator[tuple[str, str]]:
        """Wait for what rank 0 announces."""
        yield from ()

    def begin(self, device: str) -> None:
        """Connect the ranks."""

    def end(self) -> None:
        """Take leave of the others."""

    def place(self, module: torch.nn.Module, loss_function: LossFunction, device: str, dtype: str) -> torch.nn.Module:
        """The module to train, where it is trained."""
        return module.to(device)

    def wrap(self, computing: torch.nn.Module, loss_function: LossFunction, *, is_copy: bool) -> torch.nn.Module:
        """Batch -> summed loss, with the module that computes."""
        self.whole = Whole(computing, loss_function)
        return self.whole

    def micro_batches(self, batches: Batches, step: int) -> Iterator[tuple[Batch, bool]]:
        """What this process computes of an update, and whether it counts."""
        for batch in batches.micro_batches(step):
            yield batch, True

    def accumulating(self) -> AbstractContextManager[None]:
        """Around the forward and backward pass of a micro-batch."""
        return nullcontext()

    def sum_gradients(self, module: torch.nn.Module) -> None:
        """Make the gradients those of the whole batch."""

    def sum_losses(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss of the whole batch from each process's part."""
        return loss

    def agree(self, decide: Callable[[], Collection[Directive]]) -> Collection[Directive]:
        """The directives that all obey."""
        return decide()

    def predict(self, examples: Examples) -> Floats:
        """What the module that computes answers for every row."""
        return predict_logits(self.whole.module, examples.ids, weights=token_weights(examples))

    def snapshot(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[Draft], None]:
        """What writes the weights and moments of now into a draft, whatever is trained meanwhile."""
        weights, moments = tensors_of(module, optimizer, copies=True)
        return lambda draft: write_tensors(draft, weights, moments)

    def read(self, folder: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Load what any number of processes wrote: the weights, and the moments where an optimiser is given."""
        if read_shards(folder, module, optimizer):
            return
        read_weights(folder, module)
        if optimizer is not None:
            read_moments(folder, module, optimizer)

    def same(self, number: int) -> None:
        """Raises MachineError unless every rank has the same number, that of the commit from which it goes on."""

    def help_to_write(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """What the other ranks do while rank 0 commits: nothing, as it has all there is."""

    def random_of(self, seed: int, step: int) -> Sequence[int]:
        """What the random numbers of an update are drawn from."""
        return (seed, step)


ALONE = Alone()


class Group(Alone):
    """This process as one of several, each with a copy of the model (DDP)."""

    def __init__(self, store: Any, rank: int, size: int, num_local: int) -> None:
        """``store`` is where the ranks met, ``num_local`` of them are on this machine."""
        self.store = store
        self.rank = rank
        self.size = size
        self.num_local = num_local
        self._drafts = itertools.count()
        self._parallel: Any = None
        self._is_last = True

    @staticmethod
    def meet(place: str, rank: int, size: int, strategy: str) -> Group:
        """Find the other ranks at ``place``: ``env://`` as torchrun sets it, or ``file://PATH`` on one machine."""
        store, rank, size = next(rendezvous(place, rank, size))
        kind = Sharded if strategy == "fsdp" else Group
        return kind(store, rank, size, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))

    def announce(self, *told: str) -> None:
        """Leave it in the store."""
        if self.rank == 0 and not self.store.check(["tunewright"]):
            self.store.set("tunewright", json.dumps(told))

    def hear(self) -> Iterator[tuple[str, str]]:
        """Wait for the rank that prepares."""
        self.store.wait(["tunewright"], PATIENCE)
        if told := json.loads(bytes(self.store.get("tunewright"))):
            yield told[0], told[1]

    def begin(self, device: str) -> None:
        """Connect the ranks: gloo between CPUs, and NCCL between GPUs."""
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        meeting = distributed.PrefixStore("ranks", self.store)  # type: ignore[attr-defined]
        distributed.init_process_group(backend, store=meeting, rank=self.rank, world_size=self.size)
        self.device = torch.device(device)

    def end(self) -> None:
        """Close the connections."""
        if distributed.is_initialized():
            time.sleep(LET_GO_SECONDS)
            distributed.destroy_process_group()

    def wrap(self, computing: torch.nn.Module, loss_function: LossFunction, *, is_copy: bool) -> torch.nn.Module:
        """DDP around the module that is trained; the copy of it alone, whose gradients ``sum_gradients`` sums."""
        whole = super().wrap(computing, loss_function, is_copy=is_copy)
        if is_copy:
            return whole
        self._parallel = torch.nn.parallel.DistributedDataParallel(whole, find_unused_parameters=True)
        self.gradient_factor = float(self.size)  # DDP takes the mean, and its sum is wanted
        return self._parallel  # type: ignore[no-any-return]

    def micro_batches(self, batches: Batches, step: int) -> Iterator[tuple[Batch, bool]]:
        """This rank's share. Each rank computes equally many: one that has fewer repeats a row, which does not count."""
        rows = batches.rows(step)
        shares = [batches.groups(share) for share in divide(rows, batches.examples, self.size)]
        num_groups = max(len(groups) for groups in shares)
        for number in range(num_groups):
            self._is_last = number == num_groups - 1
            counts = number < len(shares[self.rank])
            yield batches.batch(shares[self.rank][number] if counts else rows[:1]), counts

    def accumulating(self) -> AbstractContextManager[None]:
        """DDP sums with the last micro-batch alone."""
        if self._parallel is None or self._is_last:
            return nullcontext()
        return self._parallel.no_sync()  # type: ignore[no-any-return]

    def sum_gradients(self, module: torch.nn.Module) -> None:
        """Sum the gradients beside a copy, in buckets; a parameter that no rank has used keeps none."""
        if self._parallel is not None:
            return
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        used = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)
        used = self._all(used.to(self.device), distributed.ReduceOp.MAX).cpu()
        gradients = [_gradient(parameter) for parameter, is_used in zip(parameters, used, strict=True) if is_used]
        for bucket in _buckets(gradients):
            flat = self._all(torch.cat([gradient.flatten() for gradient in bucket]))
            ends = np.cumsum([gradient.numel() for gradient in bucket])
            for gradient, end in zip(bucket, ends.tolist(), strict=True):
                gradient.copy_(flat[end - gradient.numel() : end].view_as(gradient))

    def sum_losses(self, loss: torch.Tensor) -> torch.Tensor:
        """The sum over the ranks."""
        return self._all(loss.clone())

    def agree(self, decide: Callable[[], Collection[Directive]]) -> Collection[Directive]:
        """What any rank decides, all obey; where one of them fails, the others stop."""
        try:
            told = decide()
        except TunewrightError:
            self._united((Directive.STOP,))
            raise
        return self._united(told)

    def same(self, number: int) -> None:
        """Compare with the others."""
        smallest, largest = self._all(torch.tensor([-number, number], device=self.device), distributed.ReduceOp.MAX)
        if -smallest != largest:
            raise MachineError(
                "the processes do not see the same checkpoints",
                where=f"rank {self.rank} of {self.size}",
                given=f"commit {number}",
                allowed="one folder of runs that every machine sees",
                hint="put the run's folder (--out) on a shared file system",
            )

    def predict(self, examples: Examples) -> Floats:
        """Every rank answers its share of the rows, and all get all answers."""
        if len(examples) < self.size:
            return predict_logits(self.whole, examples.ids, weights=token_weights(examples))
        rows = divide(np.arange(len(examples)), examples, self.size)[self.rank]
        mine = examples.take(rows)
        answers = predict_logits(self.whole, mine.ids, weights=token_weights(mine))
        found = torch.zeros(len(examples), answers.shape[1], dtype=torch.float64)
        found[torch.from_numpy(rows)] = torch.from_numpy(answers)
        summed: Floats = self._all(found.to(self.device)).cpu().numpy()
        return summed

    def random_of(self, seed: int, step: int) -> Sequence[int]:
        """Each rank draws its own; the first draws what one process would."""
        return (seed, step, self.rank) if self.rank else (seed, step)

    def _united(self, told: Collection[Directive]) -> Collection[Directive]:
        flags = torch.tensor([directive in told for directive in Directive], dtype=torch.uint8, device=self.device)
        flags = self._all(flags, distributed.ReduceOp.MAX).cpu()
        return [directive for directive, is_told in zip(Directive, flags, strict=True) if is_told]

    def _all(self, value: torch.Tensor, operation: Any = distributed.ReduceOp.SUM) -> torch.Tensor:
        distributed.all_reduce(value, operation)
        _held.append(value)
        return value


class Sharded(Group):
    """This process as one of several, each with a part of every weight, gradient and moment (FSDP2).

    Zhao et al. 2023, "PyTorch FSDP", section 3: a layer's weights are gathered before it computes and let go after; its
    gradients are summed and scattered. The module as it was given keeps its place, to take up the best weights at the end.
    """

    keeps_precision = True
    is_sharded = True

    def place(self, module: torch.nn.Module, loss_function: LossFunction, device: str, dtype: str) -> torch.nn.Module:
        """A copy of the module, divided among the ranks layer by layer; products in ``dtype``, sums in fp32."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

        mesh = init_device_mesh(device, (self.size,))
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if dtype == "bf16" else None,
            reduce_dtype=torch.float32,
            cast_forward_inputs=False,
        )
        self.whole = Whole(copy.deepcopy(module), loss_function)
        for layer in _layers(self.whole.module):
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(self.whole, mesh=mesh, mp_policy=policy)
        for part in self.whole.modules():
            if isinstance(part, FSDPModule):
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)
        register_fsdp_forward_method(self.whole, "answer")
        return self.whole.module

    def wrap(self, computing: torch.nn.Module, loss_function: LossFunction, *, is_copy: bool) -> torch.nn.Module:
        """The divided module and its loss."""
        assert not is_copy, "FSDP2 keeps the precision itself"
        self._parallel = self.whole
        return self.whole

    def accumulating(self) -> AbstractContextManager[None]:
        """Every micro-batch sums: what is kept between two of them is a part, not a whole."""
        return nullcontext()

    def predict(self, examples: Examples) -> Floats:
        """Every rank answers every row: all have to gather each layer equally often."""
        return predict_logits(self.whole, examples.ids, weights=token_weights(examples))

    def snapshot(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[Draft], None]:
        """Each rank writes its part into the draft that rank 0 has opened; nothing may be trained until all are done."""

        def write(draft: Draft) -> None:
            self.store.set(f"draft {next(self._drafts)}", str(draft.folder))
            write_shards(draft, module, optimizer, rank=self.rank, size=self.size)
            distributed.barrier()

        return write

    def help_to_write(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write this rank's part into the draft that rank 0 opens."""
        folder = bytes(self.store.get(f"draft {next(self._drafts)}")).decode()
        write_shards(Draft(Path(folder)), module, optimizer, rank=self.rank, size=self.size)
        distributed.barrier()

    def read(self, folder: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Load this rank's part, whoever wrote it."""
        if not read_shards(folder, module, optimizer, of_single_files=True):
            raise InputError("this checkpoint has no weights", where=str(folder))
        reshard: Any = self.whole
        reshard.reshard()


def divide(rows: Ints, examples: Examples, size: int) -> list[Ints]:
    """The rows of each rank: longest first, each to the rank with the fewest tokens (Graham 1969, the LPT rule)."""
    lengths = np.array([len(examples.ids[row]) for row in rows], dtype=np.int64)
    loads, shares = [0] * size, [[] for _ in range(size)]  # type: tuple[list[int], list[list[int]]]
    for at in np.argsort(-lengths, kind="stable"):
        lightest = loads.index(min(loads))
        loads[lightest] += int(lengths[at])
        shares[lightest].append(int(rows[at]))
    return [np.array(share, dtype=np.int64) for share in shares]


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _buckets(gradients: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Gradients of one type in groups of at most ``BUCKET_BYTES``; a larger one is a group of its own."""
    for dtype in dict.fromkeys(gradient.dtype for gradient in gradients):
        same = [gradient for gradient in gradients if gradient.dtype == dtype]
        sizes = [gradient.numel() * gradient.element_size() for gradient in same]
        bucket: list[torch.Tensor] = []
        filled = 0
        for gradient, num_bytes in zip(same, sizes, strict=True):
            if bucket and filled + num_bytes > BUCKET_BYTES:
                yield bucket
                bucket, filled = [], 0
            bucket.append(gradient)
            filled += num_bytes
        if bucket:
            yield bucket


def _layers(module: torch.nn.Module) -> Sequence[torch.nn.Module]:
    """The layers of a transformer: the list of modules with the most weights in it."""
    lists = [part for part in module.modules() if isinstance(part, torch.nn.ModuleList)]
    return list(max(lists, key=lambda part: sum(value.numel() for value in part.parameters()), default=()))
