"""Fields by the name of their type."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import Tensor, nn

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
    timed = size.time_dependent and takes_time(made)
    return AutogradFields(made, size.num_fields, size.latent_dim, timed, f"model.fields {size.fields!r}")


def takes_time(function: Callable[..., Tensor]) -> bool:
    """Whether fields are a function of latent and time, not of the latent alone.

    Example:
        >>> takes_time(lambda z: z), takes_time(lambda z, t: z)
        (False, True)
    """
    own = function.forward if isinstance(function, nn.Module) else function
    return callable(own) and len(inspect.signature(own).parameters) > 1
