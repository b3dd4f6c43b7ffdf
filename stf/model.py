"""The unsupervised model: sparse sums of Helmholtz fields."""

from __future__ import annotations

from torch import Tensor

from ffrl.model import FlowFactorizedVAE
from ffrl.nn import at_least_float32, build_encoder
from ffrl.potential import Potentials
from stf.activity import SpikeSlabActivity
from stf.config import UnsupervisedConfig
from stf.dense_activity import DenseActivity
from stf.helmholtz import HelmholtzFields
from stf.rotational import RotationalFields
from stf.unconstrained import UnconstrainedFields, comparable_width
from stf.warmed_activity import WarmedActivity


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

    def __init__(self, config: UnsupervisedConfig, image_shape: tuple[int, int, int]) -> None:
        super().__init__(config, image_shape)
        size = config.model
        self.divergence_weight = size.divergence_weight if size.divergence == "penalised" else 0.0
        self.activity_encoder = None
        if size.activity_from == "pixels":
            shape = self.image_shape
            self.activity_encoder = build_encoder(size.architecture, shape, size.latent_dim, size.width, size.depth)

    def build_fields(self, config: UnsupervisedConfig) -> HelmholtzFields:
        """K Helmholtz fields."""
        size = config.model
        rotational = None
        if size.rotational_width and size.divergence == "penalised":
            given = size.rotational_width, size.rotational_terms, size.rotational_rank
            width = comparable_width(size.latent_dim, *given)
            timed = size.time_dependent
            rotational = UnconstrainedFields(size.num_fields, size.latent_dim, width, size.activation, timed)
        elif size.rotational_width:
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

    def build_activity(self, config: UnsupervisedConfig) -> WarmedActivity:
        """Spike-and-slab activity over the fields' controls, or activity without spikes."""
        size = config.model
        controls = self.field_model.num_controls
        kind = SpikeSlabActivity if config.sparsity.prior == "spike-slab" else DenseActivity
        return kind(size.num_fields, controls, size.latent_dim, config.sparsity, config.warmup)

    def activity_features(self, frames: Tensor, means: Tensor | None = None) -> Tensor:
        """What activity is inferred from, ``(B, T+1, D)``: posterior means, or outputs of an encoder of its own."""
        if self.activity_encoder is None:
            return super().activity_features(frames, means)
        return at_least_float32(self.activity_encoder(frames.flatten(0, 1))).unflatten(0, frames.shape[:2])

    def field_penalties(self, latents: Tensor, activity: Tensor) -> dict[str, Tensor]:
        """Those of the potentials, and the squared divergence of parts that are not divergence-free by construction."""
        penalties = super().field_penalties(latents, activity)
        if self.divergence_weight:
            squared = self.field_model.rotational.penalty(latents[:, :-1], self._times(activity))
            penalties["divergence"] = self.divergence_weight * squared
        return penalties

    @property
    def potentials(self) -> Potentials:
        """The curl-free part of the fields."""
        return self.field_model.potentials

    def fields(self, z: Tensor, t: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Curl-free and divergence-free part of every field, ``z (B, D)``, t in [0, 1] -> two ``(B, K, D)``.

        A part that was left out is zero; one whose divergence is penalised is as free of it as training made it.
        """
        return self.field_model.parts(z, self._time(t, z))
