"""Several processes that train one model, as ``torchrun`` starts them: what each does, and what they tell each other.

Every process draws the whole batch of a step from the same random streams and computes its part of it; gradients and
logged terms are then averaged over all parts, so that every process takes the step that one alone would take. Tensors
on GPUs go through NCCL, everything else through gloo, which waits for no GPU.
"""

from __future__ import annotations

import atexit
import importlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ffrl.core.errors import UserError, reason_of

T = TypeVar("T")

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
"""What ``torchrun`` sets in the environment of a process."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one model; one alone tells nobody anything.

    Args:
        rank: number of this process, from 0; process 0 writes the run folder.
        size: how many processes there are.

    Example:
        >>> ranks = Ranks()
        >>> ranks.first, ranks.part(128), ranks.agree(None)
        (True, slice(0, 128, None), None)
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def part(self, batch_size: int) -> slice:
        """Return the places of this process in a batch; parts differ by one sequence at most.

        Example:
            >>> [Ranks(rank, 3).part(8) for rank in range(3)]
            [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
        """
        return slice(batch_size * self.rank // self.size, batch_size * (self.rank + 1) // self.size)

    def average(self, tensors: Sequence[Tensor], batch_size: int) -> None:
        """Replace means over this process's part of a batch by those over the whole batch, in place.

        Args:
            tensors: on one device.
            batch_size: of the whole batch.

        Raises:
            UserError: another process has ended.
        """
        if self.size > 1:
            for tensor, mean in zip(tensors, self.pool(batch_size, tensors, [])[0], strict=True):
                tensor.copy_(mean)

    def pool(
        self, batch_size: int, means: Sequence[Tensor], sums: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return means and sums over a whole batch from those over the part of this process, in one message.

        Args:
            batch_size: of the whole batch.
            means: over the sequences of the part, on one device.
            sums: over them, on the same device.

        Raises:
            UserError: another process has ended.

        Example:
            >>> Ranks().pool(8, [torch.ones(())], [torch.ones(2)])
            ([tensor(1.)], [tensor([1., 1.])])
        """
        if self.size == 1:
            return list(means), list(sums)
        place = self.part(batch_size)
        values = [*means, *sums]
        flat = torch.cat([value.reshape(-1) for value in values])
        flat[: sum(mean.numel() for mean in means)] *= (place.stop - place.start) / batch_size
        with self._telling():
            dist.all_reduce(flat)
        parts = flat.split([value.numel() for value in values])
        found = [part.view(value.shape) for part, value in zip(parts, values, strict=True)]
        return found[: len(means)], found[len(means) :]

    @torch.no_grad()
    def broadcast(self, model: nn.Module) -> None:
        """Give every process the parameters and buffers that the model of process 0 has.

        Raises:
            UserError: another process has ended.
        """
        if self.size == 1:
            return
        state = {name: value.clone(memory_format=torch.contiguous_format) for name, value in model.state_dict().items()}
        with self._telling():
            for value in state.values():
                dist.broadcast(value, 0)
        if not self.first:
            model.load_state_dict(state)

    def shared(self, make: Callable[[], T]) -> T:
        """Return what ``make`` returns in process 0, where alone it is called.

        Raises:
            UserError: another process has ended.
        """
        if self.size == 1:
            return make()
        values = [make() if self.first else None]
        with self._telling():
            dist.broadcast_object_list(values, 0, device=torch.device("cpu"))
        found: list[T] = values  # type: ignore[assignment]
        return found[0]

    def agree(self, number: int | None) -> int | None:
        """Return the largest of the positive numbers that processes have, None if no process has one.

        Raises:
            UserError: another process has ended.
        """
        if self.size == 1:
            return number
        largest = torch.tensor(number or 0)
        with self._telling():
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest) or None

    def wait(self) -> None:
        """Wait until every process is here.

        Raises:
            UserError: another process has ended.
        """
        self.agree(None)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let process 0 go through the context before the others enter it: they find there what it has fetched.

        Raises:
            UserError: another process has ended.
        """
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            reason = re.sub(r"^\[\S+\] ", "", reason_of(error)).partition(". ")[0]
            raise UserError(
                f"process {self.rank} of {self.size}: found no answer of another process, which has probably ended "
                f"({reason}), expected all of them to go on"
            ) from None


def join() -> Ranks:
    """Join the processes that ``torchrun`` has started, for good; without it there is one process.

    Raises:
        UserError: the other processes cannot be reached.

    Example:
        >>> join()
        Ranks(rank=0, size=1)
    """
    if not all(name in os.environ for name in VARIABLES) or os.environ["WORLD_SIZE"] == "1":
        return Ranks()
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if not dist.is_initialized():
        # optimisers import it; where it finds a group it keeps it, with threads that may abort the interpreter's exit
        importlib.import_module("torch._dynamo")
        with ranks._telling():
            dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(dist.destroy_process_group)
    return ranks
