"""Fixtures that several test files share."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn

from ffrl.fields.ridge import RidgeUnits


@pytest.fixture(autouse=True)
def equal_draws() -> None:
    """Every test draws the same numbers, whichever tests ran before it in its process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def float64() -> Iterator[None]:
    """Double precision as the default type, for the mathematics."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, also where the tests run as a background job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _fit(fields: nn.Module, steps: int = 30) -> None:
    """Pull the summed velocity towards a random nonlinear target, so that weights are no longer independent draws."""
    units: RidgeUnits = fields.units()
    dim, controls = units.weight.shape[1], units.num_controls
    mix = torch.randn(dim, dim)
    optimizer = torch.optim.Adam(fields.parameters(), lr=0.03)
    for _ in range(steps):
        z, g, t = torch.randn(64, dim), torch.rand(64, controls), torch.rand(64)
        target = torch.sin(2 * z @ mix) * g.sum(-1, keepdim=True)
        loss = (fields.units().velocity(z, g, t) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fields.requires_grad_(False)


@pytest.fixture(params=["seed-0", "seed-1", "large", "trained"])
def weights(request: pytest.FixtureRequest, float64: None) -> Callable[[Callable[[], nn.Module]], nn.Module]:
    """A function that builds fields in float64 with random weights, with weights times 100, or after some training."""

    def build(make: Callable[[], nn.Module]) -> nn.Module:
        kind = request.param
        torch.manual_seed(int(kind[-1]) if kind.startswith("seed") else 3)
        fields = make()
        if kind == "large":
            with torch.no_grad():
                for parameter in fields.parameters():
                    parameter.mul_(100)
        elif kind == "trained":
            _fit(fields)
        return fields.requires_grad_(False)

    return build
