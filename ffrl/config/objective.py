"""The bound that is maximised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ffrl.config.checks import non_negative, positive


@dataclass(frozen=True)
class ObjectiveConfig:
    """The evidence lower bound that is maximised."""

    bound: Literal["strict", "paper"] = "strict"
    """strict: one deterministic flow shared by model and posterior; paper: with the diffusion prior's KL per step."""
    density: Literal["exact", "trace", "poster"] = "exact"
    """Density change of the paper bound: exact log-determinant, its continuous-time limit, or the poster's formula."""
    likelihood: Literal["bernoulli", "gaussian", "laplace"] = "laplace"
    """p(x | z) per pixel. Bernoulli on grey pixels is an expected log-likelihood, not a density."""
    likelihood_scale: float = 0.3
    """Standard deviation of the Gaussian, or scale b of the Laplace likelihood."""
    hj_weight: float = 0.0
    """Weight of the Hamilton-Jacobi residual (time-dependent potentials only)."""
    hj_initial_weight: float = 0.0
    """Weight of the initial condition of the Hamilton-Jacobi equation (time-dependent potentials only)."""
    hj_source: bool = True
    """Learn the source f <= 0 of the Hamilton-Jacobi equation; otherwise f = 0."""

    def __post_init__(self) -> None:
        positive("objective.likelihood-scale", self.likelihood_scale)
        non_negative("objective.hj-weight", self.hj_weight)
        non_negative("objective.hj-initial-weight", self.hj_initial_weight)
