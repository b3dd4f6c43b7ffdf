"""What evaluation, training, figures and export need of a model: one interface, and what only some models can do.

Every model is a :class:`SequenceModel`. What it can do beyond that it has the methods for: whoever needs a likelihood
asks ``isinstance(model, Probabilistic)``, and so on for :class:`SequenceLatents`, :class:`FrameLatents`,
:class:`WithFields`, :class:`WithPosterior`, :class:`Calibrated` and :class:`Divisible`. Shapes: B sequences of T + 1
frames ``(C, H, W)``, latents of dimension D, K fields, activity of length C (K, or what else moves the latents).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ffrl.config import ObjectiveConfig, RunConfig
from ffrl.data.base import SequenceData
from ffrl.models.activity import ActivityDraws, ActivityKind, Phase, Pool
from ffrl.models.entry import CHECKED, checked
from ffrl.models.frame_kind import PIXELS, FrameKind
from ffrl.models.outputs import SequenceNoise, SequenceOutputs

if TYPE_CHECKING:
    from ffrl.fields.protocol import FieldModule


@dataclass(frozen=True)
class Trained:
    """How a model is trained, as far as what is measured of it depends on that.

    Args:
        mode: name of its mode.
        sequences: what it sees, see :class:`~ffrl.config.RunConfig`.
        objective: the bound, and the likelihood of the pixels.
    """

    mode: str = "own"
    sequences: Literal["mixed", "single", "labelled"] = "mixed"
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)

    @classmethod
    def by(cls, config: RunConfig) -> Trained:
        """By a run of this configuration.

        Example:
            >>> from ffrl.config import SupervisedConfig
            >>> Trained.by(SupervisedConfig()).sequences
            'labelled'
        """
        return cls(config.mode, config.sequences, config.objective)


class SequenceModel(nn.Module, ABC):
    """A model of sequences: encodes frames, moves their latents by an activity, decodes them.

    A forward pass is a deterministic function of its arguments: all noise is passed in. A model knows neither devices
    nor files.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Check frames where they enter a model in evaluation mode."""
        super().__init_subclass__(**options)
        for name in CHECKED:
            if callable(vars(cls).get(name)):
                setattr(cls, name, checked(name, vars(cls)[name]))

    image_shape: tuple[int, ...]
    """(C, H, W) of a frame, or (F,) of vectors."""
    frame_kind: FrameKind
    """What a frame is."""
    latent_dim: int
    """D, the dimension of what frames are decoded from."""
    num_fields: int
    """K: fields, or transformations whose activity is given."""
    num_steps: int
    """T, the transitions of a training sequence."""
    timed: bool = False
    """Whether what moves the latents depends on t / T."""
    density: str | None = None
    """How the change of density is computed in the paper bound; None for the strict one."""
    trained: Trained = Trained()
    """How it is trained."""
    own_modules: dict[str, str] = {}
    """Classes of ``encoder`` and ``decoder`` where they are not of this package, by name."""
    prediction: str
    """How it predicts later frames, in words."""

    def __init__(self) -> None:
        super().__init__()
        self.frame_kind = PIXELS

    @property
    @abstractmethod
    def activity_kind(self) -> ActivityKind:
        """Where its activity comes from, and what it says."""

    @property
    @abstractmethod
    def num_controls(self) -> int:
        """C, the length of the activity vector."""

    @abstractmethod
    def encode(self, frames: Tensor) -> Tensor:
        """Codes of frames in [0, 1], each by itself: ``(..., C, H, W)`` -> ``(..., D)``."""

    @abstractmethod
    def decode_logits(self, z: Tensor) -> Tensor:
        """Pixel logits, ``(..., D)`` -> ``(..., C, H, W)``."""

    @abstractmethod
    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        """Codes moved by the activity, ``z0 (B, D)``, ``g (B, T, C)`` -> z_0 .. z_T ``(B, T+1, D)``."""

    @abstractmethod
    def infer(self, frames: Tensor) -> Tensor:
        """Activity that is read off frames ``(B, T+1, C, H, W)``: ``(B, T, C)``.

        Raises:
            ValueError: for a model whose activity is given.
        """

    @abstractmethod
    def phase(self, progress: float) -> Phase:
        """Where training stands at ``progress`` in [0, 1]."""

    @abstractmethod
    def draw_noise(
        self, batch_size: int, num_steps: int, generator: torch.Generator | None, device: torch.device | str = "cpu"
    ) -> SequenceNoise:
        """All noise that one forward pass over ``batch_size`` sequences of ``num_steps`` transitions consumes."""

    @abstractmethod
    def forward(
        self, frames: Tensor, noise: SequenceNoise, phase: Phase, activity: Tensor | None = None
    ) -> SequenceOutputs:
        """One pass over sequences.

        Args:
            frames: ``(B, T+1, C, H, W)`` in [0, 1].
            noise: from :meth:`draw_noise`.
            phase: from :meth:`phase`.
            activity: ``(B, T, C)`` where training is told it; else it is inferred, or nothing moves.
        """

    def decode(self, z: Tensor) -> Tensor:
        """Images in [0, 1], ``(..., D)`` -> ``(..., C, H, W)``, or vectors in their own units, ``(..., F)``."""
        return self.frame_kind.mean(self.decode_logits(z))

    def compose(self, g: Tensor, other: Tensor) -> Tensor:
        """Activity under which two act at once, ``(B, T, C)`` twice -> ``(B, T, C)``: their sum."""
        return g + other

    def field_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters that learn at the rate of the fields, ``optimizer.field_factor``: here none."""
        return ()

    def after_step(self) -> None:
        """What follows every step of the optimizer, without gradient: here nothing."""

    def summary(self) -> dict[str, str]:
        """What is worth saying of the model at the end of its training, by name: here nothing."""
        return {}


@runtime_checkable
class Probabilistic(Protocol):
    """A model with likelihood bounds: its latents have a posterior."""

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), ``(..., C, H, W)`` -> two of ``(..., D')``."""

    def conditional(self) -> bool:
        """Whether the likelihood is one given the activity: log p(frames | activity)."""


@runtime_checkable
class SequenceLatents(Protocol):
    """A probabilistic model with latents of the first frame alone, which activity that it can draw moves."""

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), as of :class:`Probabilistic`."""

    def draw_activity(
        self, frames: Tensor, means: Tensor, samples: int, generator: torch.Generator | None
    ) -> ActivityDraws:
        """Hard draws of the activity of frames ``(B, T+1, C, H, W)`` with latent means ``(B, T+1, D)``."""


@runtime_checkable
class FrameLatents(Protocol):
    """A probabilistic model with latents of its own for every frame; others have those of the first frame alone."""

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), as of :class:`Probabilistic`."""

    def codes(self, latents: Tensor, activity: Tensor) -> Tensor:
        """What frames are decoded from, ``(..., T+1, D')`` and ``(..., T, C)`` -> ``(..., T+1, D)``."""

    def log_latent_prior(self, latents: Tensor) -> Tensor:
        """log p(z_1, .., z_T | z_0), ``(..., T+1, D')`` -> ``(...)`` nats."""


@runtime_checkable
class WithFields(Protocol):
    """A model whose activity drives vector fields, ``field_model``, that can be drawn."""

    if TYPE_CHECKING:  # what ``isinstance`` looks for is methods: it does not find the modules of a module

        @property
        def field_model(self) -> FieldModule:
            """The fields as a module."""

    def fields(self, z: Tensor, t: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Both parts of every field, ``z (B, D)``, t in [0, 1] -> two ``(B, K, D)``; their sum moves the latents."""

    def log_density_change(
        self, z: Tensor, g: Tensor, t: float | Tensor | None = None, method: str = "exact"
    ) -> Tensor:
        """log q(z_t) - log q(z_{t-1}) of a transition from ``z (B, D)`` under ``g (B, C)``: ``(B,)`` nats."""


def fields_of(model: SequenceModel) -> FieldModule:
    """The fields of a model that has to have some.

    Raises:
        TypeError: it has none.
    """
    if not isinstance(model, WithFields):
        raise TypeError(f"model: found {type(model).__name__}, without vector fields, expected one with some")
    return model.field_model


class SpeedPosterior(Protocol):
    """A posterior over activity, ``(B, T, C)`` each."""

    @property
    def probability(self) -> Tensor:
        """Of each control being on."""

    @property
    def speed(self) -> Tensor:
        """Mean of its speed where it is."""

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of that."""


@runtime_checkable
class WithPosterior(Protocol):
    """A model that says how sure it is of the activity it infers."""

    def activity(self, frames: Tensor) -> SpeedPosterior:
        """The posterior over the activity of frames ``(B, T+1, C, H, W)``."""


@runtime_checkable
class Calibrated(Protocol):
    """A model of which training leaves something open, without which it cannot predict."""

    def calibrate(self, data: SequenceData, images: int) -> None:
        """Estimate it after the last step.

        Args:
            data: sequences on the device where they are made.
            images: how many images of the training split may be used, the first ones.
        """


@runtime_checkable
class Divisible(Protocol):
    """A model whose noise and losses belong to single sequences, so that parts of a batch can be trained on apart."""

    def see_parts(self, pool: Pool) -> None:
        """Let estimates that follow the batches be those of whole batches, of which the model sees a part each.

        Args:
            pool: maps means and sums over the part to those over the whole batch.
        """
