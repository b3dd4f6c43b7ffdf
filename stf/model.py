"""The unsupervised model: sparse sums of Helmholtz fields."""

from __future__ import annotations

from torch import Tensor

from ffrl.model import FlowFactorizedVAE
from ffrl.potential import Potentials
from stf.activity import SpikeSlabActivity
from stf.config import UnsupervisedConfig
from stf.helmholtz import HelmholtzFields
from stf.rotational import RotationalFields


class SparseTransformationFlow(FlowFactorizedVAE):
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

    def build_fields(self, config: UnsupervisedConfig) -> HelmholtzFields:
        """K Helmholtz fields."""
        size = config.model
        rotational = None
        if size.rotational_width:
            rotational = RotationalFields(
                size.num_fields,
                size.latent_dim,
                size.rotational_width,
                size.rotational_terms,
                size.rotational_rank,
                size.activation,
                size.time_dependent,
            )
        return HelmholtzFields(super().build_fields(config), rotational, separate=size.control == "separate")

    def build_activity(self, config: UnsupervisedConfig) -> SpikeSlabActivity:
        """Spike-and-slab activity over the fields' controls."""
        size = config.model
        controls = self.field_model.num_controls
        return SpikeSlabActivity(size.num_fields, controls, size.latent_dim, config.sparsity, config.warmup)

    @property
    def potentials(self) -> Potentials:
        """The curl-free part of the fields."""
        return self.field_model.potentials

    def fields(self, z: Tensor, t: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Curl-free and divergence-free part of every field, ``z (B, D)``, t in [0, 1] -> two ``(B, K, D)``."""
        return self.field_model.parts(z, self._time(t, z))
