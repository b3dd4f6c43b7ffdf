r"""Expected statistics of the posterior over states and speeds: all that learning the fields needs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stf.inference.evidence import Evidence, Transitions
from stf.inference.states import StateSpace


@dataclass(frozen=True)
class SpeedStatistics:
    """Expectations of the speeds g (zero where off) over states and slabs.

    Args:
        first: :math:`E[g_k]`, ``(C, *batch)``.
        second: :math:`E[g_k g_l]`, ``(C, C, *batch)``.
    """

    first: Tensor
    second: Tensor

    def among(self, controls: Tensor) -> SpeedStatistics:
        """Those of some controls, by their indices ``(c,)``."""
        return SpeedStatistics(self.first[controls], self.second[controls][:, controls])

    def misfit(self, data: Transitions) -> Tensor:
        r"""Expected squared residual :math:`E \|\Delta - \sum_k g_k V^k\|^2`, ``(*batch)``.

        .. math:: \|\Delta\|^2 - 2 E[g]^T b + \mathrm{tr}(G \, E[g g^T])
        """
        explained = 2 * (self.first * data.cross).sum(0) - (self.second * data.gram).sum((0, 1))
        return data.energy - explained


def expected_speeds(found: Evidence, marginal: Tensor, space: StateSpace) -> SpeedStatistics:
    r"""First and second moments of the speeds under the posterior.

    .. math::
        E[g_k] = \sum_{S \ni k} q(S) \hat s_k, \quad
        E[g_k g_l] = \sum_{S \ni k, l} q(S) (\hat s_k \hat s_l + (P_S^{-1})_{kl})

    Args:
        found: speeds of every state.
        marginal: q(S), ``(M, *batch)``.
        space: the states.
    """
    controls, column = space.num_controls, space.members.T
    first = _sum(marginal * found.mean, column, controls + 1)[:controls]
    moment = marginal * (found.mean.unsqueeze(0) * found.mean.unsqueeze(1) + found.covariance)
    pairs = column.unsqueeze(0) * (controls + 1) + column.unsqueeze(1)
    second = _sum(moment, pairs, (controls + 1) ** 2).unflatten(0, (controls + 1, controls + 1))
    return SpeedStatistics(first, second[:controls, :controls])


def excess_speed(found: Evidence, marginal: Tensor, space: StateSpace) -> Tensor:
    r"""How much faster than 1 every control runs, :math:`E[y_k (|s_k| - 1)]` with :math:`|s|` along its sign.

    Args:
        found: speeds of every state.
        marginal: q(S), ``(M, *batch)``.
        space: the states.

    Returns:
        ``(C, *batch)``.
    """
    signs = space.signs.T.reshape(space.most, -1, *[1] * (marginal.ndim - 1))
    return _sum(marginal * (signs * found.mean - 1), space.members.T, space.num_controls + 1)[:-1]


def _sum(values: Tensor, index: Tensor, rows: int) -> Tensor:
    """Sum ``values (*index.shape, *batch)`` into the rows that ``index`` names: ``(rows, *batch)``."""
    batch = values.shape[index.ndim :]
    target = values.new_zeros(rows, batch.numel())
    return target.index_add_(0, index.flatten(), values.reshape(index.numel(), -1)).view(rows, *batch)
