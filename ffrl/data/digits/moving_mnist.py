"""Moving-MNIST: digits that move about a frame and bounce off its walls."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ffrl.config import DataConfig
from ffrl.core.errors import require
from ffrl.data.base import Split
from ffrl.data.catalogue import transformations
from ffrl.data.contents import Contents
from ffrl.data.digits.idx import IMAGE_SIZE
from ffrl.data.digits.mnist import MnistSequences
from ffrl.data.synthesis.activity_process import mixed_activity, states
from ffrl.data.synthesis.states import StateSequences
from ffrl.data.synthesis.variation import Factor

SIZE = 64
STEP = 3.0
"""Pixels that one unit step moves a digit."""
ROOM = (SIZE - IMAGE_SIZE[0]) / 2 / STEP
"""Unit steps from the centre of the frame to each wall."""
APART = 3.0
"""Unit steps, to both sides, that several digits stand away from the centre."""
CORNERS = ((-1.0, -1.0), (1.0, 1.0), (1.0, -1.0), (-1.0, 1.0))
"""Towards which corner each of several digits stands, (right, down)."""


class MovingMnistSequences(StateSequences):
    """MNIST digits, in grey, that are translated within a frame of 64 x 64 pixels, by bilinear resampling.

    Every digit d has four transformations, right, left, down and up, and its 28 x 28 pixels stand s unit steps of 3
    pixels from the centre of the frame, s_x = right - left and s_y = down - up, each within [-6, 6]: no pixel is lost.
    A digit that stands alone starts in the centre; several stand 3 unit steps off it, towards different corners. The
    frame shows the brightest of its digits at every pixel.

    One direction acts throughout a single sequence, so T is at most 12; it starts where the image is, or as near to it
    as the way to go allows. In mixed sequences horizontal and vertical motion of every digit are switched on and off,
    at speeds of at most 6, as the protocol says. Each goes on in its direction and **bounces before a step that would
    cross the wall**: the whole step is taken in the opposite direction. So a step belongs to exactly one of right and
    left, or down and up, and is as long as its speed says.

    The splits are those of MNIST. Image i shows digit i of the split and, after it, further digits of the same split
    in a fixed pseudo-random pairing. The digits stay on the device as bytes.

    Args:
        config: which files, sequence length, activity process and number of digits.
        device: where the digits are kept and the frames are rendered.

    Raises:
        UserError: T is too long for the frame, or files are missing or damaged, or cannot be downloaded.

    Example:
        >>> data = MovingMnistSequences(DataConfig(name="moving-mnist", digits=2))
        >>> data.mixed("train", torch.arange(4), torch.Generator().manual_seed(0)).frames.shape
        torch.Size([4, 9, 1, 64, 64])
    """

    name, title = "moving-mnist", "Moving MNIST"
    image_shape = (1, SIZE, SIZE)
    limits = f"digits at most {ROOM:g} unit steps from the centre"

    def __init__(self, config: DataConfig, device: torch.device | str = "cpu") -> None:
        longest = int(2 * ROOM)
        expected = f"at most {longest}: a digit crosses the frame in {longest} unit steps"
        require(config.num_steps <= longest, "data.num-steps", config.num_steps, expected)
        self.config, self.num_steps, self.device = config, config.num_steps, torch.device(device)
        self.transformations = transformations(config)
        self.unit_steps = tuple(f"{STEP:g} pixels {way}" for way in ("to the right", "to the left", "down", "up"))
        self.unit_steps *= config.digits
        self._digits = MnistSequences(config, device)
        self._pairings: dict[Split, Tensor] = {}
        corners = torch.tensor(CORNERS[: config.digits], device=self.device)
        self._origin = APART * corners if config.digits > 1 else torch.zeros(1, 2, device=self.device)

    def contents(self) -> Contents:
        """Hash of the digits that are trained and validated on."""
        return self._digits.contents()

    def size(self, split: Split) -> int:
        return self._digits.size(split)

    def origin(self, split: Split, indices: Tensor) -> Tensor:
        return _counted(self._origin).expand(len(indices), -1)

    def placed(
        self, split: Split, indices: Tensor, activity: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        offsets = _offsets(states(activity))
        least, largest = -ROOM - offsets.amin(1), ROOM - offsets.amax(1)
        if generator is None:
            start = torch.clamp(self._origin.expand_as(least), least, largest)
        else:
            start = torch.lerp(least, largest, torch.rand(least.shape, generator=generator, device=self.device))
        return activity, _counted(start)

    def moved_factors(self) -> tuple[Factor, ...]:
        """Return the offsets from the centre to the right and down.

        Raises:
            UserError: several digits.
        """
        expected = "1: a frame does not tell which of several digits is which"
        require(self.config.digits == 1, "data.digits", self.config.digits, expected)
        return tuple(Factor(name, -int(ROOM), 2 * int(ROOM) + 1) for name in ("horizontal", "vertical"))

    def states_of(self, split: Split, indices: Tensor, values: Tensor) -> Tensor:
        """Return offsets as counts of right, left, down and up, ``(B, N, 2)`` -> ``(B, N, 4)``."""
        return _counted(values.float().unflatten(-1, (-1, 2)))

    def showable(self, visited: Tensor) -> Tensor:
        return (_offsets(visited).abs() <= ROOM + 1e-4).flatten(-2).all(-1)

    def in_states(self, split: Split, indices: Tensor, visited: Tensor) -> Tensor:
        """Return digits in given states, ``indices (B,)``, ``visited (B, N, 4 d)`` -> ``(B, N, 1, 64, 64)``.

        Raises:
            UserError: if the split is not there.

        Example:
            >>> data = MovingMnistSequences(DataConfig(name="moving-mnist"))
            >>> data.in_states("validation", torch.arange(2), torch.zeros(2, 3, 4)).shape
            torch.Size([2, 3, 1, 64, 64])
        """
        chosen = self._pairing(split).index_select(0, indices)
        digits = self._digits.images(split, chosen.flatten())[:, 0].to(visited).unflatten(0, chosen.shape)
        return translated(digits, (_offsets(visited) + ROOM) * STEP, SIZE).amax(2).unsqueeze(2)

    def _mixed(self, split: Split, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        shape = (len(indices), self.num_steps, 2 * self.config.digits)
        speeds = mixed_activity(self.config, shape, self.graded, generator).clamp(0, ROOM)
        place, way = torch.rand((2, *speeds[:, 0].shape), generator=generator, device=self.device).unbind(0)
        start = ROOM * (2 * place - 1)
        moves = bounced(speeds, start, torch.where(way < 0.5, -1.0, 1.0), ROOM)
        activity, start = (_counted(moved.unflatten(-1, (-1, 2))) for moved in (moves, start))
        return activity, states(activity, start)

    def _pairing(self, split: Split) -> Tensor:
        """The digits of every image, (N, d): along a fixed shuffled circle, so that they differ."""
        if split not in self._pairings:
            order = np.random.RandomState(0).permutation(self.size(split))  # a stream that never changes (NEP 19)
            table = np.empty((len(order), self.config.digits), dtype=np.int64)
            table[order] = np.stack([np.roll(order, -further) for further in range(self.config.digits)], axis=1)
            self._pairings[split] = torch.from_numpy(table).to(self.device)
        return self._pairings[split]


def bounced(speeds: Tensor, start: Tensor, direction: Tensor, room: float) -> Tensor:
    """Return the moves of points on [-room, room] that turn round before a step that would leave it.

    o_t = o_{t-1} + m_t, m_t = e_t s_t; e_t = -e_{t-1} if |o_{t-1} + e_{t-1} s_t| > room, else e_{t-1}.

    Args:
        speeds: s, ``(B, T, A)``, in [0, room], so that one of the two ways is always free.
        start: o_0, ``(B, A)``.
        direction: e_0, ``(B, A)``, 1 or -1.
        room: how far the points go to either side.

    Returns:
        ``(B, T, A)``, with the sizes of ``speeds`` exactly.

    Example:
        >>> bounced(torch.full((1, 4, 1), 2.0), torch.tensor([[1.0]]), torch.ones(1, 1), 6.0).flatten().tolist()
        [2.0, 2.0, -2.0, -2.0]
    """
    moves, offset = [], start
    for speed in speeds.unbind(1):
        direction = torch.where((offset + direction * speed).abs() > room, -direction, direction)
        moves.append(direction * speed)
        offset = offset + moves[-1]
    return torch.stack(moves, dim=1)


def translated(images: Tensor, corners: Tensor, size: int) -> Tensor:
    """Return images put into square frames at given places, between pixels by bilinear resampling.

    With the hat weights A(p)_{xi} = max(0, 1 - |x - p - i|), the frame of an image I is A(p_y) I A(p_x)^T: two matrix
    products. Its sum is that of I, and its centroid that of I moved by exactly p, while 0 <= p <= size - h.

    Args:
        images: ``(B, D, h, w)`` in [0, 1].
        corners: p = (p_x, p_y), the place of the upper left pixel, ``(B, N, D, 2)``.
        size: pixels along each side of the frame.

    Returns:
        ``(B, N, D, size, size)`` in [0, 1].

    Example:
        >>> translated(torch.ones(1, 1, 1, 1), torch.tensor([[[[0.25, 1.0]]]]), 2).flatten().tolist()
        [0.0, 0.0, 0.75, 0.25]
    """
    height, width = images.shape[-2:]
    across, down = (_hats(corners[..., axis], size, count) for axis, count in ((0, width), (1, height)))
    return (down @ images[:, None] @ across.mT).clamp_(0, 1)


def _hats(place: Tensor, size: int, count: int) -> Tensor:
    """A(p) for every place, (..., size, count)."""
    pixels = torch.arange(size, device=place.device, dtype=place.dtype)
    distance = pixels[:, None] - pixels[:count] - place[..., None, None]
    return distance.abs_().neg_().add_(1).clamp_(min=0)


def _offsets(counted: Tensor) -> Tensor:
    """Return (right - left, down - up) of every digit, (..., 4 d) -> (..., d, 2)."""
    forth, back = counted.unflatten(-1, (-1, 2, 2)).unbind(-1)
    return forth - back


def _counted(offsets: Tensor) -> Tensor:
    """Return offsets as non-negative counts of right, left, down and up, (..., d, 2) -> (..., 4 d)."""
    return torch.stack((offsets.clamp(min=0), offsets.clamp(max=0)), dim=-1).abs_().flatten(-3)
