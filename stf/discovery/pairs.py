"""One field for what two explain, fitted for every pair at once."""

from __future__ import annotations

import torch
from torch import Tensor

from ffrl.fields.protocol import RowFields
from stf.discovery.population import Population, rows_of, with_rows
from stf.inference.encoded import Encoded
from stf.inference.posterior import ON

MOST = 40
"""Pairs that are fitted at most, the most promising ones."""

Pair = tuple[int, int, int]
"""Two fields, and whether the second one counts as it is (1) or turned (-1)."""


class PairFit:
    r"""Fields that each take the place of two, fitted to what both of them contribute.

    For the pair (a, b), at the steps where either is on, at the speed that both had, the new field v minimises

    .. math:: \| g_a V^a + g_b V^b + r - g v \|^2,

    with the residual r that all fields leave. It starts as the busier of the two. Where speeds have signs, two fields
    may be one with its sign turned: b then counts as :math:`-V^b` at :math:`-g_b`.

    Args:
        base: the model whose fields are paired; it has one candidate and stays as it is.
        pairs: P of them: the busier field, the other one, and 1 or -1, whether the second one is turned.
        rows: fields of the pairs as fitted until now; the busier ones for None.
    """

    def __init__(self, base: Population, pairs: list[Pair], rows: dict[str, Tensor] | None = None) -> None:
        self.base, self.pairs = base, pairs
        device = base.alive.device
        self.first, self.second, self.turned = torch.tensor(pairs, device=device).unbind(1)
        start = {name: value[self.first] for name, value in rows_of(base.fields).items()} if rows is None else rows
        self.fields: RowFields = with_rows(base.fields, start)
        learned = [parameter for parameter in self.fields.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(learned, fused=True)

    def _errors(self, batch: Encoded) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Squared errors ``(P, B, T)`` of the new fields where either is on, that mask, and what is to be explained."""
        base = self.base
        with torch.no_grad():
            velocities = base.velocities(batch)
            found = base.infer(batch, velocities, base.alive, base.misfit)
            probability = found.probability.movedim(-1, 0)
            first = found.statistics().first
            contribution = first.unsqueeze(-1) * velocities.squeeze(2).movedim(2, 0)
            residual = batch.displacement - contribution.sum(0)
            a, b = probability[self.first], probability[self.second]
            on = ((1 - (1 - a) * (1 - b)) > ON).to(a.dtype)
            turned = self.turned.view(-1, 1, 1)
            speed = (first[self.first] + turned * first[self.second]) / (a + b).clamp_min(1e-3)
            target = contribution[self.first] + contribution[self.second] + residual
        moved = base.setting.mean_velocities(self.fields, batch).movedim(-2, 0)
        error = (target - speed.unsqueeze(-1) * moved).square().sum(-1) * on
        return error, on, target, residual

    def step(self, batch: Encoded, learning_rate: float) -> Tensor:
        """One Adam step on B sequences; the mean squared error per dimension over pairs."""
        error, on, _, _ = self._errors(batch)
        loss = error.sum((1, 2)) / on.sum((1, 2)).clamp_min(1) / batch.means.shape[-1]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        self.optimizer.step()
        return loss.detach().mean()

    @torch.no_grad()
    def excess(self, sequences: Encoded, chunk: int = 64) -> Tensor:
        """Share of what a pair explains that its one field fails to explain, ``(P,)``: 0 where it does as well."""
        sums = [self.base.alive.new_zeros(()) for _ in range(3)]
        for part in range(0, len(sequences), chunk):
            error, on, target, residual = self._errors(sequences[part : part + chunk])
            sums[0] = sums[0] + error.sum((1, 2))
            sums[1] = sums[1] + (residual.square().sum(-1) * on).sum((1, 2))
            sums[2] = sums[2] + (target.square().sum(-1) * on).sum((1, 2))
        return (sums[0] - sums[1]) / (sums[2] - sums[1]).clamp_min(1e-6)


def all_pairs(on: list[float], signed: bool = False) -> list[Pair]:
    """Every pair of fields, the busier one first; in both orientations where speeds have signs.

    Example:
        >>> all_pairs([0.1, 0.3, 0.2])
        [(1, 0, 1), (2, 0, 1), (1, 2, 1)]
        >>> all_pairs([0.1, 0.3], signed=True)
        [(1, 0, 1), (1, 0, -1)]
    """
    fields = range(len(on))
    pairs = [(a, b) if on[a] >= on[b] else (b, a) for a in fields for b in fields if a < b]
    return [(*pair, turned) for pair in pairs for turned in ((1, -1) if signed else (1,))]


def promising(base: Population, pairs: list[Pair], sequences: Encoded) -> list[Pair]:
    """The :data:`MOST` pairs whose busier field alone explains most of what both do."""
    if len(pairs) <= MOST:
        return pairs
    excess: list[float] = []
    for part in range(0, len(pairs), MOST):
        excess += PairFit(base, pairs[part : part + MOST]).excess(sequences).tolist()
    best = sorted(range(len(pairs)), key=excess.__getitem__)[:MOST]
    return [pairs[index] for index in sorted(best)]
