"""A mode: the configuration of a model and how it is built; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ffrl.config import RunConfig

if TYPE_CHECKING:
    from torch import nn

    from ffrl.data.features import Features
    from ffrl.models.autoencoder import Networks
    from ffrl.models.interface import SequenceModel


@dataclass(frozen=True)
class Mode:
    """What one name of ``--mode`` stands for.

    Args:
        config: the configuration class; its ``mode`` is the name.
        compose: makes a model of a configuration and the networks of :func:`ffrl.models.autoencoder.build_networks`.
        outputs: numbers that the encoder gives for every latent dimension: a mean and a log-variance, or others.

    Example:
        >>> from ffrl.models.supervised import MODE
        >>> MODE.build(MODE.config(), (3, 28, 28)).num_controls
        3
    """

    config: type[RunConfig]
    compose: Callable[[Any, Networks], SequenceModel]
    outputs: int = 2

    def build(
        self,
        config: RunConfig,
        image_shape: tuple[int, ...],
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        features: Features | None = None,
    ) -> SequenceModel:
        """A freshly initialised model; its weights depend on the global random state.

        Args:
            config: of :attr:`config`.
            image_shape: (C, H, W), or (F,) of vectors.
            encoder: a module of one's own, images ``(N, C, H, W)``, or what
                :class:`~ffrl.models.frame_kind.FeatureValues` shows it of vectors, to ``(N, outputs D)``, means before
                log-variances; that of the configuration for None.
            decoder: one of latents ``(N, D)`` to pixel logits ``(N, C, H, W)``, or to what is said of vectors; that of
                the configuration for None.
            features: of vectors; None for images.

        Raises:
            UserError: a module of one's own has outputs of another shape, or the configuration does not fit.

        Example:
            >>> from ffrl.data.features import Feature, Features
            >>> from ffrl.models.supervised import MODE
            >>> config = MODE.config().for_vectors(2)
            >>> MODE.build(config, (2,), features=Features((Feature("x"), Feature("y")))).image_shape
            (2,)
        """
        from ffrl.models.autoencoder import build_networks
        from ffrl.models.frame_kind import frame_kind
        from ffrl.models.interface import Trained

        if not isinstance(config, self.config):
            raise TypeError(f"found {type(config).__name__}, expected {self.config.__name__}")
        frame = frame_kind(features, config.objective, tuple(image_shape) if config.data.changes else None)
        networks = build_networks(config.model, image_shape, self.outputs, encoder, decoder, frame)
        model = self.compose(config, networks)
        model.trained = Trained.by(config)
        return model
