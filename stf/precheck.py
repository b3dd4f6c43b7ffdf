"""What is looked at before training: whether data and sizes look wrong, said in one line each."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import torch

from ffrl.config import RunConfig
from ffrl.core.errors import UserError
from ffrl.core.progress import say
from ffrl.data.base import SequenceData
from ffrl.data.findings.finding import Finding
from ffrl.data.findings.inspect import inspect
from ffrl.storage.machine import memory
from ffrl.storage.room import Watched
from ffrl.training.parallel import join

NUMBER = 4
"""Bytes of a number in float32."""
COPIES = 4
"""How often a trained number is there: itself, its gradient and the two moments of the optimiser."""


class Doubts:
    """What looks wrong, told as it is found; with ``strict`` it ends what was to begin.

    Args:
        strict: whether findings are errors.
        quiet: whether nothing is said of them.

    Example:
        >>> doubts = Doubts(strict=True, quiet=True)
        >>> doubts.add([Finding("cut", "a.mp4", "a cut at frame 7", "divide it")])
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: strict: found 1 thing that looks wrong (cut), expected none
    """

    def __init__(self, strict: bool = False, quiet: bool = False) -> None:
        self.strict, self.quiet = strict, quiet or not join().first
        self.findings: list[Finding] = []

    def add(self, findings: Iterable[Finding]) -> None:
        """Tell of findings.

        Raises:
            UserError: there are some, and they are errors.
        """
        new = list(findings)
        self.findings += new
        for one in new if not self.quiet else ():
            say(f"warning: {one}")
        if new and self.strict:
            things = "things that look" if len(new) > 1 else "thing that looks"
            kinds = ", ".join(dict.fromkeys(one.kind for one in new))
            raise UserError(f"strict: found {len(new)} {things} wrong ({kinds}), expected none")

    def of_data(self, data: SequenceData, config: RunConfig) -> None:
        """Look through the data, and at the sizes of a batch of them, which process 0 does for all.

        Raises:
            UserError: something looks wrong, and findings are errors.
        """
        found = join().shared(lambda: inspect(data, config.model.num_fields).findings)
        self.add([*found, *large_batch(config, data)])

    def of_weights(self, device: torch.device) -> Watched:
        """A context for making a model: tells before more numbers are made than can be trained on the device.

        Raises:
            UserError: inside the context, if there are too many and findings are errors.
        """
        room = memory(device)

        def tell(numbers: int) -> None:
            what = f"{numbers:,} weights or more, which take {numbers * NUMBER * COPIES / 2**30:,.1f} GiB to be trained"
            do = "take smaller model.latent-dim, model.width, model.potential-width or model.num-fields"
            self.add([Finding("memory", "model", f"{what}, of {(room or 0) / 2**30:,.1f} GiB there are", do)])

        return Watched(None if room is None else room // (NUMBER * COPIES), tell)


def large_batch(config: RunConfig, data: SequenceData, room: int | None = None) -> list[Finding]:
    """Say whether a batch alone takes more than the memory there is: frames, their predictions, and all fields.

    At least 2 B (T + 1) V + B T K D numbers are in memory at once, with V values of a frame and B sequences, of several
    processes those of one.

    Args:
        config: of the run.
        data: its sequences.
        room: bytes there are; those of the device of the data for None.

    Example:
        >>> import numpy as np
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.data.arrays import arrays
        >>> data = arrays(np.zeros((10, 9, 16, 16), np.uint8))
        >>> [one.kind for one in large_batch(SupervisedConfig(), data, room=2**20)]
        ['memory']
    """
    room = memory(data.device) if room is None else room
    size, steps, model = -(-config.batch_size // join().size), data.num_steps, config.model
    needed = NUMBER * size * (2 * (steps + 1) * prod(data.image_shape) + steps * model.num_fields * model.latent_dim)
    if room is None or needed <= room:
        return []
    sizes = f"batch-size {size:,}, T {steps:,}, {model.num_fields:,} fields"
    what = f"{needed / 2**30:,.1f} GiB or more for a step, of {room / 2**30:,.1f} GiB there are"
    do = "take a smaller batch-size, data.num-steps or model.num-fields"
    return [Finding("memory", sizes, what, do)]
