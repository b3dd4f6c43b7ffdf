"""STA as published: Helmholtz fields with a penalised divergence, and relaxed activity that a network reads off."""

from __future__ import annotations

from torch import Tensor, nn

from ffrl.nn.networks import at_least_float32, build_encoder
from stf.models.helmholtz_flow import HelmholtzFlow
from stf.sta.activity import RelaxedActivity
from stf.sta.config import StaConfig


class SparseTransformationAnalysis(HelmholtzFlow):
    r"""v = sum_k g^k (grad u^k + r^k) with relaxed spike-and-slab activity from a network of its own.

    Encoder, decoder, flow, bound, trainer and evaluation are those of :class:`ffrl.models.flow_vae.FlowFactorizedVAE`,
    a subclass of which has the fields. What differs from the publication is in docs/baselines.md.

    Source: Song, Keller, Yue, Perona and Welling 2024, "Unsupervised Representation Learning from Sparse Transformation
    Analysis", arXiv:2410.05564.

    Args:
        config: a :class:`~stf.sta.config.StaConfig`.
        image_shape: (C, H, W).
        modules: ``encoder`` and ``decoder`` of one's own.

    Example:
        >>> import torch
        >>> model = SparseTransformationAnalysis(StaConfig(), (3, 28, 28))
        >>> model.infer(torch.rand(2, 9, 3, 28, 28)).shape
        torch.Size([2, 8, 6])
    """

    def __init__(self, config: StaConfig, image_shape: tuple[int, int, int], **modules: nn.Module | None) -> None:
        super().__init__(config, image_shape, **modules)
        size = config.model
        self.activity_encoder = None
        if size.activity_from == "pixels":
            shape = self.image_shape
            self.activity_encoder = build_encoder(size.architecture, shape, size.latent_dim, size.width, size.depth)

    def build_activity(self, config: StaConfig) -> RelaxedActivity:
        """Relaxed spike-and-slab activity over the fields' controls."""
        controls = self.field_model.num_controls
        return RelaxedActivity(controls, config.model.latent_dim, config.sparsity, config.relaxation)

    def activity_features(self, frames: Tensor, means: Tensor | None = None) -> Tensor:
        """What activity is inferred from, ``(B, T+1, D)``: outputs of an encoder of its own, or posterior means."""
        if self.activity_encoder is None:
            return super().activity_features(frames, means)
        return at_least_float32(self.activity_encoder(frames.flatten(0, 1))).unflatten(0, frames.shape[:2])
