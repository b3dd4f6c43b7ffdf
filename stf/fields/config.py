"""Configuration of Helmholtz fields; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ffrl.config import ModelConfig, RunConfig
from ffrl.config.checks import at_least, non_negative, size
from ffrl.config.field_types import FIELDS as PLAIN
from ffrl.config.field_types import GROUP, KIND
from ffrl.core.errors import require
from ffrl.core.registry import Registry

FIELDS = Registry(GROUP, KIND, {"helmholtz": "stf.fields.helmholtz:helmholtz", **PLAIN.built_in})
"""By name what makes fields of a :class:`SparseModelConfig`, see :data:`ffrl.config.field_types.FIELDS`."""
SPARE = 3
"""Fields that models which find theirs have by default beyond the transformations of the data."""


@dataclass(frozen=True)
class SparseModelConfig(ModelConfig):
    """Encoder, decoder and Helmholtz fields."""

    num_fields: int = 6
    """K, the number of fields; those that the data does not need fall silent."""
    fields: str = "helmholtz"
    """Type of the fields: curl-free and divergence-free parts, potentials alone, or one that an installed package
    adds."""
    potential_width: int = 64
    """Hidden units of each field's potential; 0 leaves the curl-free part out."""
    rotational_width: int = 64
    """Hidden units of each field's divergence-free part; 0 leaves that part out."""
    rotational_terms: int = 2
    """M, the number of skew-symmetric matrices S_m of each divergence-free part."""
    rotational_rank: int = 8
    """Rank of P and Q in S = P Q' - Q P'."""
    divergence: Literal["exact", "penalised"] = "exact"
    """exact: those parts have no divergence, by construction; penalised: they are unconstrained, with as many
    parameters, and the loss gains their squared divergence."""
    divergence_weight: float = 1.0
    """Weight of the squared divergence of penalised parts, summed over fields and averaged over steps."""
    control: Literal["single", "separate"] = "single"
    """single: one speed for both parts of a field; separate: the parts have spikes and speeds of their own."""
    narrowest_potential = 0
    field_types = FIELDS

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.rotational-width", self.rotational_width, 0)
        for key in ("rotational_width", "rotational_terms", "rotational_rank"):
            size("model." + key.replace("_", "-"), max(getattr(self, key), key == "rotational_width"))
        non_negative("model.divergence-weight", self.divergence_weight)
        width, terms = self.rotational_width, self.rotational_terms
        curl_free, exact = self.potential_width > 0, self.divergence == "exact"
        require(curl_free or width > 0, "model.rotational-width", 0, "above 0 as model.potential-width is 0")
        require(exact or width > 0, "model.divergence", self.divergence, "exact as model.rotational-width is 0")
        fits = not exact or width % terms == 0
        require(fits, "model.rotational-width", width, f"a multiple of model.rotational-terms, {terms}")
        both = self.control == "single" or (curl_free and width > 0)
        require(both, "model.control", self.control, "single unless fields have both parts")


def require_potentials(config: RunConfig) -> None:
    """Raise a UserError if the Hamilton-Jacobi equation is asked for and there are no potentials that could obey it.

    Args:
        config: with a :class:`SparseModelConfig`.

    Example:
        >>> require_potentials(RunConfig(model=SparseModelConfig(potential_width=0)))
    """
    if config.model.potential_width == 0:
        for key in ("hj_weight", "hj_initial_weight"):
            value = getattr(config.objective, key)
            require(value == 0.0, "objective." + key.replace("_", "-"), value, "0 as model.potential-width is 0")
