"""Models that cannot do something."""

from __future__ import annotations

from torch import nn


def lack(model: nn.Module, *methods: str) -> nn.Module:
    """Take methods away from a model, so that it has an interface no more."""
    for name in methods:
        vars(model).pop(name, None)
    model.__class__ = type(type(model).__name__, (type(model),), dict.fromkeys(methods))
    return model
