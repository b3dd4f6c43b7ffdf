"""The unsupervised model: sparse sums of Helmholtz fields, with the exact posterior over which of them act."""

from __future__ import annotations

from stf.config import UnsupervisedConfig
from stf.inference.activity import ExactActivity
from stf.inference.prior import ActivityPrior
from stf.models.exact_flow import ExactFlow
from stf.models.helmholtz_flow import HelmholtzFlow


class SparseTransformationFlow(ExactFlow, HelmholtzFlow):
    r"""Sparse sums of flows: v = sum_k g^k (grad u^k + r^k) with spike-and-slab activity, inferred exactly.

    Encoder, decoder, flow, bound, trainer and evaluation are those of :class:`ffrl.models.flow_vae.FlowFactorizedVAE`;
    the fields gain a divergence-free part, and the activity is inferred, sparse and graded.

    Args:
        config: an :class:`~stf.config.UnsupervisedConfig`.
        image_shape: (C, H, W).

    Example:
        >>> import torch
        >>> model = SparseTransformationFlow(UnsupervisedConfig(), (3, 28, 28))
        >>> model.infer(torch.rand(2, 9, 3, 28, 28)).shape
        torch.Size([2, 8, 6])
    """

    def build_activity(self, config: UnsupervisedConfig) -> ExactActivity:
        """Spike-and-slab activity over the fields' controls."""
        sparsity = config.sparsity
        prior = ActivityPrior(sparsity.slab, sparsity.slab_spread, sparsity.most, sparsity.enumerated)
        rates = sparsity.on_rate, sparsity.off_rate
        controls = self.field_model.num_controls
        return ExactActivity(controls, config.model.latent_dim, prior, *rates, sparsity.learn_rates)
