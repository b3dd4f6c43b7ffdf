r"""Expected statistics of the posterior over states and speeds: all that learning the fields needs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stf.inference.evidence import Evidence, Transitions
from stf.inference.states import StateSpace


@dataclass(frozen=True)
class SpeedStatistics:
    r"""Expectations of the speeds g (zero where off) over states and slabs, weighted or not by :math:`1/\tau_S`.

    Args:
        first: :math:`E[g_k]`, ``(C, *batch)``.
        second: :math:`E[g_k g_l]`, ``(C, C, *batch)``.
        weight: :math:`E[1/\tau_S]`, ``(*batch)``, or 1.
    """

    first: Tensor
    second: Tensor
    weight: Tensor | float

    def misfit(self, data: Transitions) -> Tensor:
        r"""Expected squared residual :math:`E \|\Delta - \sum_k g_k V^k\|^2` with these weights, ``(*batch)``.

        .. math:: w \|\Delta\|^2 - 2 E[g]^T b + \mathrm{tr}(G \, E[g g^T])
        """
        explained = 2 * (self.first * data.cross).sum(0) - (self.second * data.gram).sum((0, 1))
        return self.weight * data.energy - explained


def expected_speeds(found: Evidence, marginal: Tensor, space: StateSpace, weighted: bool = False) -> SpeedStatistics:
    r"""First and second moments of the speeds under the posterior.

    .. math::
        E[g_k] = \sum_{S \ni k} q(S) \hat s_k, \quad
        E[g_k g_l] = \sum_{S \ni k, l} q(S) (\hat s_k \hat s_l + (P_S^{-1})_{kl})

    Args:
        found: speeds of every state.
        marginal: q(S), ``(M, *batch)``.
        space: the states.
        weighted: weigh every state by :math:`1/\tau_S`, as the fields' own objective does.
    """
    size, controls, batch = space.most, space.num_controls, marginal.shape[1:]
    weights = marginal / found.noise if weighted else marginal
    column = space.members.T

    def scatter(rows: int, index: Tensor, values: Tensor) -> Tensor:
        target = values.new_zeros(rows, batch.numel())
        return target.index_add_(0, index.flatten(), values.reshape(index.numel(), -1)).view(rows, *batch)

    first = scatter(controls + 1, column, weights * found.mean)[:controls]
    moment = weights * (found.mean.unsqueeze(0) * found.mean.unsqueeze(1) + found.covariance)
    pairs = column.unsqueeze(0) * (controls + 1) + column.unsqueeze(1)
    second = scatter((controls + 1) ** 2, pairs, moment).view(controls + 1, controls + 1, *batch)
    assert size == moment.shape[0]
    return SpeedStatistics(first, second[:controls, :controls], weights.sum(0) if weighted else 1.0)
