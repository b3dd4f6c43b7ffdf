"""Fields by the name of their type."""

from __future__ import annotations

from ffrl.config import ModelConfig
from ffrl.fields.autograd import AutogradFields
from ffrl.fields.protocol import FieldModule


def build_fields(size: ModelConfig) -> FieldModule:
    """Fields of the type and sizes of a configuration; modules that are no fields yet are made fields.

    Args:
        size: of a model.

    Raises:
        UserError: the type cannot be imported, or what it makes is no module that can be made fields.

    Example:
        >>> build_fields(ModelConfig(num_fields=5)).num_controls
        5
    """
    made = size.field_types[size.fields](size)
    if isinstance(made, FieldModule):
        return made
    return AutogradFields(made, size.num_fields, size.latent_dim, size.time_dependent, f"model.fields {size.fields!r}")
