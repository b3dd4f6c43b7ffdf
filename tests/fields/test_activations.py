"""The smooth functions phi of the potentials: derivatives, and no overflow for large arguments."""

from __future__ import annotations

import pytest
import torch

from ffrl.fields.activations import ACTIVATIONS

ARGUMENTS = [0.0, 1e-3, 0.3, 1.0, 5.0, 12.0, 16.0, 19.9, 21.0, 60.0, 300.0]


def _derivatives(name: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(ACTIVATIONS[name].value(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    return first.detach(), second


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("sign", [1, -1])
def test_derivatives_match_autograd_even_where_they_are_tiny(name: str, sign: int) -> None:
    x = sign * torch.tensor(ARGUMENTS, dtype=torch.float64)
    first, second = _derivatives(name, x)
    torch.testing.assert_close(ACTIVATIONS[name].first(x), first, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(ACTIVATIONS[name].second(x), second, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("logcosh", lambda x: torch.log(torch.cosh(x))),
        ("softplus", lambda x: torch.log1p(torch.exp(x))),
        ("sine", lambda x: -torch.cos(x)),
    ],
)
def test_values(name: str, reference) -> None:
    x = torch.linspace(-30, 30, 241, dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name].value(x), reference(x), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_curvature_is_not_identically_zero(name: str) -> None:
    assert (ACTIVATIONS[name].second(torch.linspace(-1, 1, 21)).abs() > 0.1).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_arguments_stay_finite_with_finite_gradients(name: str, dtype: torch.dtype) -> None:
    for function in ACTIVATIONS[name]:
        x = torch.tensor([-1e30, -1e4, -100.0, 100.0, 1e4, 1e30], dtype=dtype, requires_grad=True)
        value = function(x)
        value.sum().backward()
        assert value.isfinite().all() and x.grad.isfinite().all()
