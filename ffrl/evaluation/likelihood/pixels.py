"""Under which likelihoods a model is scored, the bound no model can exceed, and what may be compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ffrl.config import ObjectiveConfig
from ffrl.distributions.pixels import gaussian_upper_bound, log_likelihood
from ffrl.models.frame_kind import Changes, FeatureValues
from ffrl.models.interface import SequenceModel

NOTES = {
    "gaussian": "density of the pixels; compare only with the same standard deviation",
    "laplace": "density of the pixels; compare only with the same scale, never with a Gaussian",
    "bernoulli": "grey pixels: an expected log-likelihood under stochastic binarisation, not a density of the pixels; "
    "never compare it with the Gaussian",
}


@dataclass(frozen=True)
class PixelLikelihood:
    """A likelihood p(x | z) of :func:`ffrl.distributions.pixels.log_likelihood` with its scale.

    Example:
        >>> likelihood = PixelLikelihood("gaussian")
        >>> likelihood.name, round(likelihood.upper_bound(3 * 28 * 28), 2)
        ('gaussian-1', -2161.34)
    """

    kind: str
    scale: float = 1.0

    @property
    def name(self) -> str:
        """Kind and scale, such as ``laplace-0.3``."""
        return self.kind if self.kind == "bernoulli" else f"{self.kind}-{self.scale:g}"

    @property
    def note(self) -> str:
        """What a figure under this likelihood may be compared with."""
        return NOTES[self.kind]

    def __call__(self, logits: Tensor, frames: Tensor) -> Tensor:
        """log p(x | z), ``(..., C, H, W)`` twice -> ``(...)`` nats per frame."""
        return log_likelihood(logits, frames, self.kind, self.scale)

    def upper_bound(self, pixels: int) -> float:
        """Largest value that any model can reach per frame of ``pixels`` values, in nats."""
        if self.kind == "bernoulli":
            return 0.0
        if self.kind == "laplace":
            return -pixels * math.log(2 * self.scale)
        return gaussian_upper_bound(pixels, self.scale)


@dataclass(frozen=True)
class FeatureLikelihood:
    """The likelihood of vectors with the noise that a model has learned for every feature.

    Example:
        >>> from ffrl.data.features import Feature, Features
        >>> score = FeatureLikelihood(FeatureValues(Features((Feature("x"),)), scale=1.0))
        >>> score.name, round(score.upper_bound(1), 2)
        ('gaussian-learned', -0.92)
    """

    frame_kind: FeatureValues
    name = "gaussian-learned"
    note = "density of standardised features, with the noise that the model has learned for each of them"

    def __call__(self, outputs: Tensor, frames: Tensor) -> Tensor:
        """log p(x | z), ``(..., F)`` -> ``(...)`` nats per frame, of the features that are not missing."""
        return self.frame_kind.log_prob(outputs, frames)

    def upper_bound(self, values: int) -> float:
        """Largest value that this model can reach for a frame of which nothing is missing, in nats."""
        return self.frame_kind.most()


@dataclass(frozen=True)
class ChangeLikelihood:
    """The likelihood of images given their static background, with the scale of every pixel that a model knows.

    Example:
        >>> ChangeLikelihood(Changes((1, 4, 4)), ObjectiveConfig()).name
        'laplace-0.3-spread'
    """

    frame_kind: Changes
    config: ObjectiveConfig
    note = "density of the pixels given their background, each with a scale from its own changes in the training data"

    @property
    def name(self) -> str:
        """Kind, and scale in units of the spread of each pixel."""
        return f"{self.config.likelihood}-{self.config.likelihood_scale:g}-spread"

    def __call__(self, outputs: Tensor, frames: Tensor) -> Tensor:
        """log p(x | z), ``(..., C, H, W)`` twice -> ``(...)`` nats per frame."""
        return self.frame_kind.log_prob(outputs, frames, self.config)

    def upper_bound(self, values: int) -> float:
        """Largest value that any model with these scales can reach for a frame, in nats."""
        return self.frame_kind.most(self.config).item()


Score = PixelLikelihood | FeatureLikelihood | ChangeLikelihood
"""A likelihood p(x | z) that a model is scored under."""


def scores(model: SequenceModel) -> list[Score]:
    """The likelihoods that a model is scored under, that of its training among them.

    Example:
        >>> from ffrl.config import SupervisedConfig
        >>> from ffrl.models.supervised import MODE
        >>> [score.name for score in scores(MODE.build(SupervisedConfig(), (3, 28, 28)))]
        ['gaussian-1', 'laplace-0.3', 'bernoulli']
    """
    own = _own_score(model)
    return [*likelihoods(model.trained.objective)] if own is None else [own]


def trained_score(model: SequenceModel) -> Score:
    """The likelihood that a model was trained with."""
    return _own_score(model) or trained_likelihood(model.trained.objective)


def _own_score(model: SequenceModel) -> Score | None:
    """The likelihood of a model whose scales are its own: of vectors and of changes."""
    kind = model.frame_kind
    if isinstance(kind, Changes):
        return ChangeLikelihood(kind, model.trained.objective)
    return FeatureLikelihood(kind) if isinstance(kind, FeatureValues) else None


def likelihoods(config: ObjectiveConfig) -> list[PixelLikelihood]:
    """The unit-variance Gaussian, the likelihood of training if it is another one, and the Bernoulli.

    Example:
        >>> [likelihood.name for likelihood in likelihoods(ObjectiveConfig())]
        ['gaussian-1', 'laplace-0.3', 'bernoulli']
    """
    every = [PixelLikelihood("gaussian"), trained_likelihood(config), PixelLikelihood("bernoulli")]
    return list(dict.fromkeys(every))


def trained_likelihood(config: ObjectiveConfig) -> PixelLikelihood:
    """The likelihood the model was trained with."""
    if config.likelihood == "bernoulli":
        return PixelLikelihood("bernoulli")
    return PixelLikelihood(config.likelihood, config.likelihood_scale)
