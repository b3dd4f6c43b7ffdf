"""What a frame is: pixels of an image, or features of a vector; what networks see of it, and how likely it is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ffrl.config import ObjectiveConfig
from ffrl.core.errors import require
from ffrl.data.features import interpolated, shortest
from ffrl.data.static import UNCHANGED, restored
from ffrl.distributions.features import gaussian_log_density, von_mises_log_density
from ffrl.distributions.pixels import log_likelihood, pixel_error

if TYPE_CHECKING:
    from ffrl.data.features import Features
    from ffrl.data.static import Static

LEAST_CHANGE = 0.02
"""Root mean square of what a pixel changes by without anything moving, as the noise of a camera: less is not told."""
LEAST_NOISE = 0.01
"""Standard deviation of a feature given its latents that is not learned, in standard deviations of the feature:
without it the density of data without noise has no bound, and the codes become as sharp as the training is long."""


class FrameKind(nn.Module, ABC):
    """Frames of shape ``(*frame)``, and decoder outputs of shape ``(*outputs)``."""

    rank: int
    """Dimensions of a frame."""

    @abstractmethod
    def outputs(self, frame_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of what a decoder says of a frame."""

    @abstractmethod
    def entered(self, frame_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of what an encoder sees of a frame."""

    @abstractmethod
    def enter(self, frames: Tensor) -> Tensor:
        """What an encoder sees, ``(N, *frame)`` -> ``(N, *entered)``."""

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """The frame that a decoder says, ``(..., *outputs)`` -> ``(..., *frame)``."""

    def standard(self, frames: Tensor) -> Tensor:
        """Frames in units that their values share: images as they are, vectors standardised."""
        return frames

    def filled(self, frames: Tensor) -> Tensor:
        """Frames with the mean of the training data where a value is missing: here they are as they are."""
        return frames

    def between(self, frames: Tensor) -> Tensor:
        """Sequences ``(..., T+1, *frame)`` with what is missing taken from the frames around it: here as they are."""
        return frames

    def empty(self, frames: Tensor) -> Tensor | None:
        """Frames of the static background alone, of the shape of ``frames``; None where that is not known."""
        return None

    @abstractmethod
    def difference(self, found: Tensor, frames: Tensor) -> Tensor:
        """found - frames, elementwise, in units in which they can be summed; 0 where a value is missing."""

    @abstractmethod
    def error(self, outputs: Tensor, frames: Tensor) -> Tensor:
        """:meth:`difference` of the decoder's frame and the true one."""

    @abstractmethod
    def log_prob(self, outputs: Tensor, frames: Tensor, config: ObjectiveConfig, error: Tensor | None = None) -> Tensor:
        """log p(x | z) in nats per frame, ``(...)``; ``error`` from :meth:`error`, if it is there already."""

    @abstractmethod
    def cross_entropy(self, outputs: Tensor, frames: Tensor) -> Tensor | None:
        """Cross-entropy of binarised values in nats per frame, ``(...)``; None where there is no such thing."""

    @abstractmethod
    def check(self, config: ObjectiveConfig) -> None:
        """Raise a UserError unless the likelihood of ``config`` is one for such frames."""

    def total(self, values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Sum over a frame, ``(..., *frame)`` -> ``(...)``."""
        return values.sum(tuple(range(-self.rank, 0)), dtype=dtype)


class Pixels(FrameKind):
    """Images ``(C, H, W)`` in [0, 1], whose mean is the sigmoid of logits; see :mod:`ffrl.distributions.pixels`.

    Example:
        >>> Pixels().mean(torch.zeros(1, 1, 1, 1)).item()
        0.5
    """

    rank = 3

    def outputs(self, frame_shape: tuple[int, ...]) -> tuple[int, ...]:
        return frame_shape

    def entered(self, frame_shape: tuple[int, ...]) -> tuple[int, ...]:
        return frame_shape

    def enter(self, frames: Tensor) -> Tensor:
        return frames

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def difference(self, found: Tensor, frames: Tensor) -> Tensor:
        return found - frames

    def error(self, outputs: Tensor, frames: Tensor) -> Tensor:
        return pixel_error(outputs, frames)

    def log_prob(self, outputs: Tensor, frames: Tensor, config: ObjectiveConfig, error: Tensor | None = None) -> Tensor:
        return log_likelihood(outputs, frames, config.likelihood, config.likelihood_scale, error)

    def cross_entropy(self, outputs: Tensor, frames: Tensor) -> Tensor | None:
        return -log_likelihood(outputs, frames, "bernoulli")

    def check(self, config: ObjectiveConfig) -> None:
        return None


class Changes(Pixels):
    r"""Images as changes from a static background, see :func:`ffrl.data.static.changes`, in what each pixel changes by.

    With the spread s_p of a pixel, the root mean square of its change in the training data (and :data:`LEAST_CHANGE`),
    the decoder says :math:`x_p - b_p = \tanh(s_p o_p(z))` by its outputs o, and the likelihood of the image x, given
    its background b, has the scale c s_p, c being ``likelihood-scale``: a Gaussian or Laplace density of known scale.
    What hardly ever changes can then neither be gained nor lost, and a rare change is many times as large as the scale
    of its pixel. The encoder sees changes in units of the root mean square of s.

    Args:
        frame_shape: (C, H, W).

    Example:
        >>> from ffrl.data.static import Static
        >>> kind = Changes((1, 1, 2))
        >>> kind.measured(Static(torch.tensor([[[0.1, 0.0]]])))
        >>> kind.mean(torch.tensor([[[1.0, 1.0]]])).round(decimals=3)
        tensor([[[0.5510, 0.5100]]])
    """

    spread: Tensor
    background: Tensor
    known: Tensor

    def __init__(self, frame_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("spread", torch.ones(frame_shape))
        self.register_buffer("background", torch.zeros(frame_shape))
        self.register_buffer("known", torch.tensor(0.0))

    def measured(self, static: Static) -> None:
        """Take what is static from the training data."""
        self.spread.copy_((static.spread.square() + LEAST_CHANGE**2).sqrt())
        self.known.fill_(static.background is not None)
        self.background.copy_(torch.zeros_like(self.spread) if static.background is None else static.background)

    def pictured(self, frames: Tensor) -> Tensor:
        """Images to look at: on the background if there is one, else on grey, as they are."""
        return restored(frames, self.background) if self.known else frames

    def empty(self, frames: Tensor) -> Tensor | None:
        return torch.full_like(frames, UNCHANGED)

    def enter(self, frames: Tensor) -> Tensor:
        return (2 * frames - 1) / self.spread.square().mean().sqrt()

    def mean(self, outputs: Tensor) -> Tensor:
        return (2 * self.spread * outputs).sigmoid()

    def difference(self, found: Tensor, frames: Tensor) -> Tensor:
        return 2 * (found - frames)

    def error(self, outputs: Tensor, frames: Tensor) -> Tensor:
        return self.difference(self.mean(outputs), frames)

    def log_prob(self, outputs: Tensor, frames: Tensor, config: ObjectiveConfig, error: Tensor | None = None) -> Tensor:
        error = self.error(outputs, frames) if error is None else error
        scale = config.likelihood_scale * self.spread
        if config.likelihood == "laplace":
            return -(error.abs() / scale).sum((-3, -2, -1)) + self.most(config)
        return -0.5 * (error / scale).square().sum((-3, -2, -1)) + self.most(config)

    def most(self, config: ObjectiveConfig) -> Tensor:
        """Largest log p(x | z) of an image, in nats."""
        level = math.log(2) if config.likelihood == "laplace" else 0.5 * math.log(2 * math.pi)
        return -((config.likelihood_scale * self.spread).log() + level).sum()

    def cross_entropy(self, outputs: Tensor, frames: Tensor) -> Tensor | None:
        return None

    def check(self, config: ObjectiveConfig) -> None:
        expected = "laplace or gaussian for changes (data.sequences.static)"
        require(config.likelihood != "bernoulli", "objective.likelihood", config.likelihood, expected)


class FeatureValues(FrameKind):
    r"""Vectors ``(F,)`` in their own units, NaN where a value is missing, with a learned noise for every feature.

    Networks see standardised values, (x - mean) / scale, of a periodic feature cosine and sine; 0 where a value is
    missing, and, if training data miss any, a further 1 for every value that is there and 0 for every other. The
    likelihood of a feature is Gaussian, of a periodic one von Mises,

    .. math:: p(x|z) = \prod_{f \text{ there}} N(x_f; m_f(z), \sigma_f^2), \qquad \kappa_f = \sigma_f^{-2}, \qquad
        \sigma_f^2 = e^{2 s_f} + \sigma_{\min}^2,

    in units of the standard deviation of the feature, or in radians; s is learned, and the second term is
    :data:`LEAST_NOISE`.

    Args:
        features: of the training data.
        scale: first standard deviation of the noise.

    Example:
        >>> from ffrl.data.features import Feature, Features
        >>> frame_kind = FeatureValues(Features((Feature("x", 5.0, 2.0), Feature("angle", 0.0, 180 / torch.pi, 360.0))))
        >>> frame_kind.enter(torch.tensor([[7.0, 60.0]])).round(decimals=2)
        tensor([[1.0000, 0.5000, 0.8700]])
        >>> frame_kind.mean(torch.tensor([[1.0, 0.0, 3.0]])).round(decimals=2)
        tensor([[ 7., 90.]], dtype=torch.float64)
    """

    rank = 1
    centre: Tensor
    unit: Tensor
    period: Tensor
    around: Tensor
    straight: Tensor
    turning: Tensor
    order: Tensor

    def __init__(self, features: Features, scale: float = 0.3) -> None:
        super().__init__()
        self.features = features
        each = features.each
        straight = [place for place, feature in enumerate(each) if feature.period is None]
        turning = [place for place, feature in enumerate(each) if feature.period is not None]
        wide = torch.float64
        for name, value in (
            ("centre", torch.tensor([feature.mean for feature in each], dtype=wide)),
            ("unit", torch.tensor([feature.scale for feature in each], dtype=wide)),
            ("period", torch.tensor([each[place].period for place in turning], dtype=wide)),
            ("around", features.periods()),
            ("straight", torch.tensor(straight, dtype=torch.long)),
            ("turning", torch.tensor(turning, dtype=torch.long)),
            ("order", torch.tensor(straight + turning, dtype=torch.long).argsort()),
        ):
            self.register_buffer(name, value, persistent=False)
        self.log_noise = nn.Parameter(torch.full((len(each),), math.log(scale)))

    def outputs(self, frame_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (frame_shape[0] + len(self.turning),)

    def entered(self, frame_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (frame_shape[0] * (2 if self.features.missing else 1) + len(self.turning),)

    def enter(self, frames: Tensor) -> Tensor:
        there = ~frames.isnan()
        seen = self._seen(frames.nan_to_num(0.0), there)
        return torch.cat([seen, there.to(seen.dtype)], -1) if self.features.missing else seen

    def mean(self, outputs: Tensor) -> Tensor:
        count = len(self.straight)
        straight = outputs[..., :count].double() * self.unit[self.straight] + self.centre[self.straight]
        cosine, sine = outputs[..., count:].double().unflatten(-1, (2, -1)).unbind(-2)
        angle = torch.remainder(torch.atan2(sine, cosine) * self.unit[self.turning], self.period)
        return torch.cat([straight, angle], -1)[..., self.order]

    def standard(self, frames: Tensor) -> Tensor:
        return ((frames.double() - self.centre) / self.unit).float()

    def filled(self, frames: Tensor) -> Tensor:
        return torch.where(frames.isnan(), self.centre, frames)

    def between(self, frames: Tensor) -> Tensor:
        """A missing value is on the straight line between the nearest known ones, or the nearest one at an end."""
        return interpolated(frames, self.around) if self.features.missing else frames

    def difference(self, found: Tensor, frames: Tensor) -> Tensor:
        apart = shortest(found.double(), frames.double(), self.around)
        return (apart / self.unit).nan_to_num(0.0).float()

    def error(self, outputs: Tensor, frames: Tensor) -> Tensor:
        return self.difference(self.mean(outputs.detach()), frames)  # the likelihood does not go through it

    def log_prob(
        self, outputs: Tensor, frames: Tensor, config: ObjectiveConfig | None = None, error: Tensor | None = None
    ) -> Tensor:
        there = ~frames.isnan()
        seen = self._seen(frames.nan_to_num(0.0), there)
        count, noise = len(self.straight), self.log_scale()
        straight = gaussian_log_density(outputs[..., :count] - seen[..., :count], noise[self.straight])
        said, true = (values[..., count:].unflatten(-1, (2, -1)) for values in (outputs, seen))
        cosine = (nn.functional.normalize(said, dim=-2) * true).sum(-2)
        turning = von_mises_log_density(cosine, noise[self.turning])
        values = torch.cat([straight, turning], -1)[..., self.order]
        return torch.where(there, values, 0.0).sum(-1)

    def cross_entropy(self, outputs: Tensor, frames: Tensor) -> Tensor | None:
        return None

    def check(self, config: ObjectiveConfig) -> None:
        require(config.likelihood == "gaussian", "objective.likelihood", config.likelihood, "gaussian for vectors")

    def log_scale(self) -> Tensor:
        """log sigma of every feature, ``(F,)``."""
        return 0.5 * torch.logaddexp(2 * self.log_noise, torch.full_like(self.log_noise, 2 * math.log(LEAST_NOISE)))

    def most(self) -> float:
        """Largest log p(x | z) of a frame of which no value is missing, in nats."""
        noise = self.log_scale().detach()
        at_best = gaussian_log_density(torch.zeros_like(noise), noise)
        at_best[self.turning] = von_mises_log_density(torch.ones_like(noise), noise)[self.turning]
        return at_best.sum().item()

    def _seen(self, frames: Tensor, there: Tensor) -> Tensor:
        """Standardised values, then cosines and sines, ``(..., F)`` -> ``(..., F + P)`` float32; 0 where missing."""
        values = (frames.double() - self.centre) / self.unit
        values = torch.where(there, values, 0.0).to(self.log_noise.dtype)
        angles, known = values[..., self.turning], there[..., self.turning]
        parts = (values[..., self.straight], torch.where(known, angles.cos(), 0.0), angles.sin())
        return torch.cat(parts, -1)


PIXELS = Pixels()
"""What frames of images are."""


def frame_kind(
    features: Features | None, config: ObjectiveConfig, changing: tuple[int, ...] | None = None
) -> FrameKind:
    """What frames are: vectors of these features, images of this shape as changes, or images as they are.

    Raises:
        UserError: the likelihood is not one for them.
    """
    if changing is not None:
        made: FrameKind = Changes(changing)
    else:
        made = PIXELS if features is None else FeatureValues(features, config.likelihood_scale)
    made.check(config)
    return made
