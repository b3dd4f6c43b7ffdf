"""What the figures show of a model: frames moved by single fields, and inferred against true activity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ffrl.data.base import SequenceBatch, SequenceData, Split
from ffrl.data.synthesis.states import moved, renderable
from ffrl.evaluation.matching import strongest_part
from ffrl.evaluation.measures.equivariance import frame_errors
from ffrl.evaluation.protocol.kind import activity_of, likeliest, with_posterior
from ffrl.evaluation.protocol.sequences import batch_size
from ffrl.models.frame_kind import PIXELS, FrameKind
from ffrl.models.interface import SequenceModel
from stf.plot.compute.certainty import Certainty, certainty_of, joined, per_field
from stf.plot.compute.pictures import pictures
from stf.plot.compute.roles import FieldRole, drawn

MOST_FRAMES = 18
"""Frames in a row of a traversal; longer ones are thinned out."""
FEWEST, CODES = 4, 128
"""Sequences whose frames, and whose codes, are kept at least if there are as many."""


@dataclass(frozen=True)
class Traversal:
    """Images moved by one field alone.

    Args:
        role: the field.
        inputs: the real images x_0, ``(N, C, H, W)``.
        steps: the S transitions made until each frame, negative ones backwards.
        frames: decoded, ``(N, S, C, H, W)``.
        trained: T, the transitions of a training sequence.
        truth: frames of the true transformation, ``(N, C, H, W)`` by step, where they are known.
        frame_kind: what a frame is.
    """

    role: FieldRole
    inputs: Tensor
    steps: tuple[int, ...]
    frames: Tensor
    trained: int
    truth: Mapping[int, Tensor] = field(default_factory=dict)
    frame_kind: FrameKind = PIXELS

    def shown(self) -> Traversal:
        """The same with frames as images, see :func:`stf.plot.compute.pictures.pictures`."""
        inputs, frames = (pictures(part, self.frame_kind) for part in (self.inputs, self.frames))
        truth = {step: pictures(true, self.frame_kind) for step, true in self.truth.items()}
        return replace(self, inputs=inputs, frames=frames, truth=truth, frame_kind=PIXELS)

    def errors(self) -> dict[int, list[float]]:
        r"""L1 error of each image at each step drawn whose true frame is known.

        .. math:: \| decode(z_t) - x_t \|_1

        Summed over channels and pixels, as in the equivariance error (FFRL, "Quantitative Evaluation").
        """
        return {
            step: (self.frames[:, place] - self.truth[step]).abs().flatten(1).sum(1).tolist()
            for place, step in enumerate(self.steps)
            if step in self.truth
        }


@dataclass(frozen=True)
class ErrorCurve:
    """L1 errors per step of one field alone, over many images.

    Args:
        steps: the S steps, in order.
        flow: of the moved image, ``(N, S)``.
        unmoved: of the decoded image that is not moved, ``(N, S)``.
        reconstruction: of the true frame encoded and decoded, ``(N, S)``: what encoder and decoder leave.
    """

    steps: NDArray[np.int64]
    flow: NDArray[np.float64]
    unmoved: NDArray[np.float64]
    reconstruction: NDArray[np.float64]

    def mean(self, first: int, last: int) -> float:
        """Mean error of the moved images from step ``first`` to step ``last``."""
        return float(self.flow[:, (self.steps >= first) & (self.steps <= last)].mean())


@dataclass(frozen=True)
class Observed:
    """Sequences, and their inferred and true activity.

    Args:
        frames: of the first sequences, ``(N, T+1, C, H, W)``, on the device of the data.
        inferred: one speed per field, ``(M, T, K)``, M >= N.
        truth: ``(M, T, J)``, J = 0 where transformations are not known.
        codes: encoded frames of the first sequences, of at least those with frames, ``(N', T+1, D)``, if they are kept.
        certainty: of the inferred activity, where the model has a posterior of it.
        frame_kind: what a frame is.
    """

    frames: Tensor
    inferred: NDArray[np.float64]
    truth: NDArray[np.float64]
    codes: Tensor | None = None
    certainty: Certainty | None = None
    frame_kind: FrameKind = PIXELS

    @property
    def example(self) -> int:
        """The sequence among those with frames in which most is to be seen; see :func:`most_eventful`."""
        return most_eventful(self.frame_kind.standard(self.frames), self.truth[: len(self.frames)])


def alone(roles: Sequence[FieldRole], num_fields: int, num_controls: int) -> Tensor:
    """Activity ``(F, C)`` in which each of F fields runs alone at unit speed, in the direction of its transformation.

    Under separate control both parts of a field run together.

    Example:
        >>> alone([FieldRole(1)], num_fields=2, num_controls=4)
        tensor([[0., 1., 0., 1.]])
    """
    onehot = torch.eye(num_fields)[[role.field for role in roles]]
    directions = torch.tensor([role.direction for role in roles])
    return (onehot * directions[:, None]).repeat(1, num_controls // num_fields)


@torch.no_grad()
def traverse(model: SequenceModel, images: Tensor, activity: Tensor, backward: int, forward: int) -> Tensor:
    """Decoded frames of images moved under constant activity, backwards (activity negated) and forwards.

    Args:
        model: with ``encode``, ``flow`` and ``decode``.
        images: ``(N, C, H, W)``, or others for each case, ``(F, N, C, H, W)``.
        activity: F cases, ``(F, C)``.
        backward: transitions backwards from the image.
        forward: transitions forwards.

    Returns:
        ``(F, N, backward + 1 + forward, C, H, W)``, the decoded image itself at place ``backward``.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> model = MODE.build(SupervisedConfig(), (3, 28, 28))
        >>> traverse(model, torch.rand(2, 3, 28, 28), torch.eye(3), backward=1, forward=2).shape
        torch.Size([3, 2, 4, 3, 28, 28])
    """
    shape = model.image_shape
    cases, count, several = len(activity), images.shape[-1 - len(shape)], images.ndim - len(shape) == 2
    codes = model.encode(images.reshape(-1, *shape))
    start = codes if several else codes.repeat(cases, 1)
    speeds = activity.to(start).repeat_interleave(count, 0).unsqueeze(1)
    latents = torch.cat(
        [
            model.flow(start, -speeds.expand(-1, backward, -1))[:, 1:].flip(1),
            model.flow(start, speeds.expand(-1, forward, -1)),
        ],
        dim=1,
    )
    return model.decode(latents).unflatten(0, (cases, count))


def reach(trained: int) -> tuple[int, int]:
    """Transitions that a field is applied backwards and forwards: half the trained length, and one and a half times it.

    Example:
        >>> reach(8), reach(1)
        ((4, 12), (1, 2))
    """
    return max(1, trained // 2), math.ceil(1.5 * trained)


def true_frames(data: SequenceData, split: Split, indices: Tensor, row: int, steps: Sequence[int]) -> dict[int, Tensor]:
    """Frames of the images ``indices (N,)`` after each of ``steps`` of one transformation alone, where they are known.

    Where the images can be shown after all the steps 0 .. T as they are, these are counted from them and reach as far
    as can be shown, also backwards. Otherwise, and of other data, they are those of the data's own sequences of one
    transformation, which may start from another state of the image, and only the steps 0 .. T are known. None is known
    where no transformation can be asked for.

    Returns:
        ``(N, C, H, W)`` by step; that of step 0 is what the transformation starts from.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> list(true_frames(load(DataConfig()), "validation", torch.arange(4), 0, [-20, -1, 0, 12]))
        [-1, 0, 12]
    """
    if not data.prescribed:
        return {}
    onehot = torch.eye(len(data.transformations))[row]
    whole = onehot.expand(data.num_steps, -1)
    if renderable(data, split, indices, whole):
        still = whole[:0]
        shown = [step for step in steps if renderable(data, split, indices, still, step * onehot)]
        return {step: moved(data, split, indices, still, step * onehot).frames[:, 0] for step in shown}
    frames, activity = data.single(split, indices, torch.full_like(indices, row))
    steady = (activity == onehot.to(activity)).all(-1).all(0).cumprod(0).sum()
    return {step: frames[:, step] for step in steps if 0 <= step <= int(steady)}


def starting_images(data: SequenceData, split: Split, indices: Tensor, row: int | None) -> Tensor:
    """What :func:`true_frames` of a transformation start from; the images as they are for None: ``(N, C, H, W)``.

    Example:
        >>> from ffrl.config import DataConfig
        >>> from ffrl.data import load
        >>> starting_images(load(DataConfig()), "validation", torch.arange(4), None).shape
        torch.Size([4, 3, 28, 28])
    """
    if row is None or not data.prescribed:
        return data.images(split, indices)
    return true_frames(data, split, indices, row, [0])[0]


@torch.no_grad()
def move_images(
    model: SequenceModel, data: SequenceData, split: Split, indices: Tensor, roles: Sequence[FieldRole]
) -> list[Traversal]:
    """Traversals of all fields that are not silent, from -T/2 to 3T/2, with the true frames where they are known."""
    shown = drawn(roles)
    trained = data.num_steps
    backward, forward = reach(trained)
    stride = math.ceil((backward + forward) / (MOST_FRAMES - 1))
    steps = tuple(step for step in range(-backward, forward + 1) if step % stride == 0)
    if not shown:
        return []
    truths = [{} if role.row is None else true_frames(data, split, indices, role.row, steps) for role in shown]
    images = data.images(split, indices)
    inputs = torch.stack([truth.get(0, images) for truth in truths])
    frames = traverse(model, inputs, alone(shown, model.num_fields, model.num_controls), backward, forward)
    frames = frames[:, :, [step + backward for step in steps]].cpu()
    return [
        Traversal(role, start.cpu(), steps, moved, trained, _on_cpu(truth), model.frame_kind)
        for role, start, moved, truth in zip(shown, inputs, frames, truths, strict=True)
    ]


def _on_cpu(frames: Mapping[int, Tensor]) -> dict[int, Tensor]:
    return {step: images.cpu() for step, images in frames.items()}


@torch.no_grad()
def error_curve(model: SequenceModel, data: SequenceData, split: Split, indices: Tensor, role: FieldRole) -> ErrorCurve:
    """Errors of a matched field alone against its transformation, at every step from -T/2 to 3T/2 that is known."""
    backward, forward = reach(data.num_steps)
    speeds = alone([role], model.num_fields, model.num_controls).to(indices.device)
    pieces = []
    for part in indices.split(batch_size(data)):
        truth = true_frames(data, split, part, cast(int, role.row), range(-backward, forward + 1))
        errors: dict[int, Tensor] = {}
        for sign in (-1, 1):
            path = [sign * step for step in range(backward + forward + 1) if sign * step in truth]
            if len(path) > 1:
                frames = torch.stack([truth[step] for step in path], dim=1)
                g = (sign * speeds).expand(len(part), len(path) - 1, -1)
                found = torch.stack(frame_errors(model, frames, g))
                errors |= {step: found[..., place] for place, step in enumerate(path)}
        steps = sorted(errors)
        pieces.append(torch.stack([errors[step] for step in steps], dim=-1).cpu())
    flow, reconstruction, unmoved = torch.cat(pieces, dim=1).numpy()
    return ErrorCurve(np.array(steps), flow, unmoved, reconstruction)


@torch.no_grad()
def observe(model: SequenceModel, batches: Iterable[SequenceBatch]) -> Observed:
    """Infer the activity of batches of sequences, and keep the first frames and codes.

    Kept are all frames until there are :data:`FEWEST` sequences, and all codes until there are :data:`CODES`. The
    activity of a supervised model is given, not inferred.
    """
    frames: list[Tensor] = []
    codes: list[Tensor] = []
    inferred, truth, sure = [], [], []
    for batch in batches:
        if sum(map(len, frames)) < FEWEST:
            frames.append(batch.frames)
        if sum(map(len, codes)) < CODES:
            codes.append(model.encode(batch.frames))
        found = model.activity(batch.frames) if with_posterior(model) else None
        inferred.append(activity_of(model, batch) if found is None else likeliest(found))
        sure.append(None if found is None else certainty_of(found))
        truth.append(batch.activity)
    every = torch.cat(inferred).cpu().numpy()
    speeds, known = strongest_part(every, model.num_fields), joined(sure)
    known = None if known is None else per_field(known, every, model.num_fields)
    true = torch.cat(truth).cpu().numpy().astype(np.float64)
    kept = torch.cat(codes)[: max(CODES, sum(map(len, frames)))]
    return Observed(torch.cat(frames), speeds, true, kept, known, model.frame_kind)


def most_eventful(frames: Tensor, truth: ArrayLike) -> int:
    """The first of the sequences in the order of :func:`eventful`; without known transformations, where most moves.

    How much moves is the median over time of the mean change between frames: a single cut does not count.

    Args:
        frames: ``(N, T+1, C, H, W)``.
        truth: true activity ``(N, T, J)``.

    Example:
        >>> frames = torch.tensor([[0.0, 0.1, 0.2, 0.3], [0.0, 0.2, 0.4, 0.6], [0.0, 0.0, 0.0, 1.0]])
        >>> most_eventful(frames.view(3, 4, 1, 1, 1), np.zeros((3, 3, 0)))
        1
    """
    truth = np.asarray(truth)
    if truth.shape[-1]:
        return int(eventful(truth)[0])
    return int(frames.diff(dim=1).abs().flatten(2).nanmean(2).nanquantile(0.5, dim=1).argmax())


def eventful(truth: ArrayLike) -> NDArray[np.int64]:
    """Order of sequences by how much there is to see: transformations that act, then how far the least of them goes.

    It depends on the true activity ``(M, T, J)`` alone, so a figure's example is not chosen by how well it came out.

    Example:
        >>> eventful([[[1, 0], [1, 0]], [[1, 0], [0, 1]], [[2, 0], [0, 2]]]).tolist()
        [2, 1, 0]
    """
    way = np.abs(truth).sum(axis=1)
    least = np.where(way > 0, way, np.inf).min(axis=-1)
    return np.lexsort((-least, -(way > 0).sum(-1)))


def count_distribution(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Distribution of the number of independent events that happen, from the probability of each ``(K,)``: ``(K+1,)``.

    Example:
        >>> count_distribution([0.5, 0.5]).tolist()
        [0.25, 0.5, 0.25]
    """
    distribution = np.ones(1)
    for probability in np.asarray(probabilities, dtype=np.float64):
        distribution = np.convolve(distribution, [1 - probability, probability])
    return distribution


def prior_counts(model: SequenceModel) -> NDArray[np.float64]:
    """Distribution of the number of fields that act at once under the prior of a model's activity, ``(n + 1,)``.

    Exactly one where one acts throughout; nothing beyond the most that its exact posterior lets act at once.
    """
    prior = getattr(model.activity_model, "prior", None)
    if prior is not None and prior.constant:
        return np.array([0.0, 1.0])
    distribution = count_distribution(prior_on(model))
    distribution = distribution if prior is None else distribution[: prior.most + 1]
    return distribution / distribution.sum()


class _Rated(Protocol):
    """An activity with a prior over spikes."""

    def prior_on(self) -> Tensor:
        """Stationary probability that each control is on, ``(C,)``."""


def prior_on(model: SequenceModel) -> NDArray[np.float64]:
    """Stationary probability that each field is on under the prior of its activity: ``(K,)``.

    Under separate control a field is on if one of its parts is.
    """
    on = cast(_Rated, model.activity_model).prior_on().detach().cpu().double().numpy()
    return 1 - (1 - on).reshape(-1, model.num_fields).prod(axis=0)
