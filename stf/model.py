"""The unsupervised model: sparse sums of Helmholtz fields."""

from __future__ import annotations

from stf.activity import SpikeSlabActivity
from stf.config import UnsupervisedConfig
from stf.dense_activity import DenseActivity
from stf.helmholtz_flow import HelmholtzFlow
from stf.warmed_activity import WarmedActivity


class SparseTransformationFlow(HelmholtzFlow):
    r"""Sparse transformation analysis: v = sum_k g^k (grad u^k + r^k) with spike-and-slab activity (STA).

    Encoder, decoder, flow, bound, trainer and evaluation are those of :class:`ffrl.model.FlowFactorizedVAE`; the
    fields gain a divergence-free part and the activity is inferred, sparse and graded.

    Args:
        config: an :class:`~stf.config.UnsupervisedConfig`.
        image_shape: (C, H, W).

    Example:
        >>> import torch
        >>> model = SparseTransformationFlow(UnsupervisedConfig(), (3, 28, 28))
        >>> model.infer(torch.rand(2, 9, 3, 28, 28)).shape
        torch.Size([2, 8, 6])
    """

    def build_activity(self, config: UnsupervisedConfig) -> WarmedActivity:
        """Spike-and-slab activity over the fields' controls, or activity without spikes."""
        size = config.model
        controls = self.field_model.num_controls
        kind = SpikeSlabActivity if config.sparsity.prior == "spike-slab" else DenseActivity
        return kind(size.num_fields, controls, size.latent_dim, config.sparsity, config.warmup)
