"""Models whose fields have a curl-free and a divergence-free part."""

from __future__ import annotations

from torch import Tensor, nn

from ffrl.config import RunConfig
from ffrl.fields.potential import Potentials
from ffrl.models.flow_vae import FlowFactorizedVAE
from stf.fields.helmholtz import HelmholtzFields
from stf.fields.rotational import RotationalFields
from stf.fields.unconstrained import UnconstrainedFields, comparable_width


class HelmholtzFlow(FlowFactorizedVAE):
    r"""A flow-factorised VAE with fields v^k = grad u^k + r^k; subclasses say where the activity comes from.

    The second part has no divergence by construction, or is free and pays for its squared divergence.

    Args:
        config: of a mode with a :class:`~stf.fields.config.SparseModelConfig`.
        image_shape: (C, H, W).
        modules: ``encoder`` and ``decoder`` of one's own.
    """

    def __init__(self, config: RunConfig, image_shape: tuple[int, int, int], **modules: nn.Module | None) -> None:
        super().__init__(config, image_shape, **modules)
        size = config.model
        self.divergence_weight = size.divergence_weight if size.divergence == "penalised" else 0.0

    def build_fields(self, config: RunConfig) -> HelmholtzFields:
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
