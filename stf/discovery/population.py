r"""Candidate models that learn side by side: the same sequences, one stack of fields, one product for all.

Every candidate is a set of fields of its own. An EM step infers the activity of a batch exactly, without gradient, and
takes one Adam step on the expected complete-data misfit

.. math:: \tfrac1{2\tau} E_S[\|\Delta\|^2 - 2 \hat s_S^T b_S + \mathrm{tr}(G_S (\hat s_S \hat s_S^T + P_S^{-1}))],

whose gradient with respect to the fields is that of the negative log evidence (Fisher's identity). It is written down
in closed form: :math:`\partial / \partial V^k = (\sum_l E[g_k g_l] V^l - E[g_k] \Delta) / \tau`.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ffrl.core.errors import require
from ffrl.fields.protocol import FieldModule, RowFields
from ffrl.flow.integrate import INTEGRATORS
from ffrl.flow.rollout import roll_out
from stf.config import SearchingConfig
from stf.inference.encoded import Encoded
from stf.inference.evidence import FLOOR, Noise, Transitions, relative_misfit, transitions
from stf.inference.posterior import ActivityPosterior, infer
from stf.inference.prior import ActivityPrior
from stf.inference.quadrature import mean_velocities

MOMENTUM = 0.03
"""Weight of a batch in the running mean of the relative misfit."""
GROWTH = 0.1
"""By which share of the mean excess of its speeds over 1 a field grows at every step."""
CLIP = 5.0
"""Largest gradient norm of a candidate."""
CHUNK = 64
"""Sequences times candidates that are evaluated at once."""


def require_rows(config: SearchingConfig, fields: FieldModule) -> None:
    """Raise a UserError if fields are to be searched for, or refined, that cannot be taken one by one.

    Example:
        >>> from ffrl.fields.autograd import AutogradFields
        >>> require_rows(SearchingConfig(), AutogradFields(lambda z: z.unsqueeze(-2), num_fields=1, dim=2))
        Traceback (most recent call last):
        ...
        ffrl.core.errors.UserError: discovery.fraction: found 0.11, expected 0 as 'helmholtz' fields cannot be searched
        for: they are no RowFields
    """
    for name in ("discovery", "refine"):
        found = getattr(config, name).fraction
        expected = f"0 as {config.model.fields!r} fields cannot be searched for: they are no RowFields"
        require(isinstance(fields, RowFields) or found == 0, f"{name}.fraction", found, expected)


def rows_of(fields: RowFields) -> dict[str, Tensor]:
    """The parameters of all fields by name; their first axis counts the fields."""
    return {name: parameter.detach() for name, parameter in fields.named_parameters()}


def with_rows(fields: RowFields, rows: dict[str, Tensor]) -> RowFields:
    """A module like ``fields`` whose fields are those of ``rows``, each moved by one speed."""
    count = len(next(iter(rows.values())))
    made = copy.deepcopy(fields)
    for module in made.modules():
        for name in ("num_fields", "num_controls"):
            if hasattr(module, name):
                setattr(module, name, count)
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(torch.empty(0), requires_grad=parameter.requires_grad)
    for name, value in rows.items():
        made.get_parameter(name).data = value.clone()
    return made


Candidate = tuple[dict[str, Tensor], Tensor]
"""The fields of a model, ``(K, ...)`` by name of the parameter, and which of them it has, ``(K,)`` of 0 and 1."""


@dataclass(frozen=True)
class Setting:
    """What all candidates share: the prior, the rates of its chains, T, and how latents are integrated."""

    prior: ActivityPrior
    on_rate: float
    off_rate: float
    num_steps: int
    timed: bool = False
    unit: float = 0.0
    integrator: str = "midpoint"
    substeps: int = 1

    def times(self, like: Tensor) -> Tensor | None:
        """t / T of every transition ``(T,)``, None for fields without time."""
        if not self.timed:
            return None
        return torch.arange(1, like.shape[-2] + 1, dtype=like.dtype, device=like.device) / self.num_steps

    def mean_velocities(self, fields: RowFields, batch: Encoded) -> Tensor:
        """Whitened fields, averaged over the transitions: ``(B, T, K, D)``."""
        times = self.times(batch.means[:, 1:])
        return mean_velocities(fields.units().per_control, batch.means, times) * batch.unit


class Population:
    """C candidates of K fields each.

    Args:
        fields: a module with C K fields, candidate by candidate.
        alive: which fields a candidate has, ``(C, K)`` of 0 and 1.
        misfit: relative misfit of every candidate, ``(C,)``.
        setting: what they share.
    """

    def __init__(self, fields: RowFields, alive: Tensor, misfit: Tensor, setting: Setting) -> None:
        self.fields, self.alive, self.misfit, self.setting = fields, alive, misfit, setting
        self.complete = bool((alive > 0).all())
        learned = [parameter for parameter in fields.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(learned, fused=True)

    @property
    def count(self) -> int:
        """C."""
        return self.alive.shape[0]

    @property
    def size(self) -> int:
        """K."""
        return self.alive.shape[1]

    def candidate(self, index: int) -> dict[str, Tensor]:
        """The fields of one candidate, by name of the parameter: first axis K."""
        return {
            name: value[index * self.size : (index + 1) * self.size] for name, value in rows_of(self.fields).items()
        }

    def like(self, candidates: list[Candidate], misfit: Tensor) -> Population:
        """A population in the same setting, of given candidates and the relative misfit ``()`` or ``(C,)`` of each."""
        return gather(candidates, self.fields, misfit, self.setting)

    def velocities(self, batch: Encoded) -> Tensor:
        """Whitened fields of all candidates, averaged over the transitions: ``(B, T, C, K, D)``."""
        return self.setting.mean_velocities(self.fields, batch).unflatten(-2, (self.count, self.size))

    def infer(
        self, batch: Encoded, velocities: Tensor, alive: Tensor, misfit: Tensor, temper: float = 1.0
    ) -> ActivityPosterior:
        """Posterior over the activity of all candidates, with candidates times sequences as its batch.

        Args:
            batch: B sequences.
            velocities: ``(B, T, C, K, D)``.
            alive: ``(C, K)``.
            misfit: ``(C,)``.
            temper: weight of the log-likelihood.
        """
        sequences, candidates = len(batch), velocities.shape[2]
        setting, mask = self.setting, None
        if alive is not self.alive or not self.complete:
            velocities = velocities * alive.unsqueeze(-1)
            mask = alive.T.repeat_interleave(sequences, dim=1)
        data = transitions(velocities, batch.displacement.unsqueeze(2).expand(-1, -1, candidates, -1))
        data = Transitions(by_candidate(data.gram), by_candidate(data.cross), by_candidate(data.energy), data.dim)
        noise = Noise(FLOOR, misfit.repeat_interleave(sequences).unsqueeze(-1), setting.prior.speed_spread)
        rate = data.energy.new_ones(velocities.shape[-2])
        return infer(data, setting.prior, noise, setting.on_rate * rate, setting.off_rate * rate, mask, temper)

    def step(
        self,
        batch: Encoded,
        learning_rate: float,
        temper: float = 1.0,
        rollout: float = 0.0,
        misfit: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """One EM step on B sequences; nothing in it waits for the device.

        Args:
            batch: B sequences.
            learning_rate: of Adam.
            temper: weight of the log-likelihood in the chain.
            rollout: weight of the misfit along rollouts, see :meth:`_fit_rollouts`; for a single candidate.
            misfit: the relative misfit that counts for all candidates, ``()``; each has its own for None.

        Returns:
            Means over the batch per candidate, ``(C,)``: ``log_evidence`` (nats per transition, tempered as the chain),
            ``residual`` (expected squared residual per dimension in whitened units) and ``misfit``.
        """
        velocities = self.velocities(batch)
        count, (steps, dim) = self.count, batch.displacement.shape[1:]
        with torch.no_grad():
            moved = velocities.detach()
            noise = self.misfit if misfit is None else misfit.expand(self.count)
            found = self.infer(batch, moved, self.alive, noise, temper)
            expected = found.statistics()
            precision = by_transition(found.found.noise, count).reciprocal().unsqueeze(-1)
            second = by_transition(expected.second, count).movedim((0, 1), (-2, -1)) * precision.unsqueeze(-1)
            first = by_transition(expected.first, count).movedim(0, -1) * precision
            gradient = second @ moved - first.unsqueeze(-1) * batch.displacement[:, :, None, None]
            if self.setting.unit:
                excess = by_transition(found.excess().movedim(-1, 0), count).movedim(0, -1)
                gradient -= self.setting.unit * unit_force(excess, moved)
            gradient *= self.alive.unsqueeze(-1) / (len(batch) * steps)
        self.optimizer.zero_grad(set_to_none=True)
        velocities.backward(gradient)
        if rollout:
            self._fit_rollouts(batch, expected.first.movedim(0, -1), first.squeeze(2), second.squeeze(2), rollout)
        with torch.no_grad():
            self._clip()
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.optimizer.step()
            if rollout and self.setting.prior.speed_spread:
                self.fields.rescale(growth(found.mean_excess()))
            residual = expected.misfit(found.data).view(count, -1).mean(-1) / dim
            energy = batch.displacement.square().mean()
            followed = (1 - MOMENTUM) * self.misfit + MOMENTUM * relative_misfit(residual, energy)
            self.misfit = torch.where(followed.isfinite(), followed, self.misfit)
            evidence = found.log_evidence().view(count, -1).mean(-1) / steps
        return {"log_evidence": evidence, "residual": residual, "misfit": self.misfit}

    def _fit_rollouts(self, batch: Encoded, speeds: Tensor, first: Tensor, second: Tensor, weight: float) -> None:
        r"""Add the gradient of the misfit along rollouts: from where a rollout is, the step to the next code.

        The evidence sees the fields at observed codes. A rollout looks at them elsewhere: at its own stages, from where
        earlier steps have led it. With z_t the rollout from the first code, moved by the expected speeds, and
        :math:`\bar V^k` the field averaged over the stages of a step with the weights of the integrator,

        .. math:: \tfrac12 E[\|\lambda \circ (\mu_t - z_{t-1}) - \sum_k g_k \bar V^k\|^2 / \tau]

        joins the misfit between codes, without gradient through z.

        Args:
            batch: B sequences.
            speeds: expected speeds, ``(B, T, K)``.
            first: :math:`E[g / \tau]`, ``(B, T, K)``.
            second: :math:`E[g g^T / \tau]`, ``(B, T, K, K)``.
            weight: of this misfit beside that between codes.
        """
        setting, means = self.setting, batch.means
        table, times = INTEGRATORS[setting.integrator], setting.times(means[:, 1:])
        with torch.no_grad():
            units = self.fields.units()
            latents, points = roll_out(units, means[:, 0], speeds, times, table, setting.substeps)
            target = (means[:, 1:] - latents[:, :-1]) * batch.unit
            stages = [stage for stage, share in enumerate(table.b) if share]
            points = points[..., stages, :]
            shares = points.new_tensor([table.b[stage] for stage in stages]).view(-1, 1, 1) / setting.substeps
        times = None if times is None else times[:, None, None]
        moved = (self.fields.units().per_control(points, times) * shares).sum((2, 3)) * batch.unit
        gradient = second @ moved.detach() - first.unsqueeze(-1) * target.unsqueeze(2)
        moved.backward(gradient * (weight / (len(batch) * speeds.shape[1])))

    def _clip(self) -> None:
        """Scale the gradient of every candidate down to :data:`CLIP`; to nothing where it is not finite."""
        gradients = [p.grad.view(self.count, -1) for p in self.fields.parameters() if p.grad is not None]
        norm = torch.stack([g.square().sum(-1) for g in gradients]).sum(0).sqrt()
        factor = (CLIP / (norm + 1e-6)).clamp_max(1.0).unsqueeze(-1)
        for g in gradients:
            g.copy_(torch.where(norm.isfinite().unsqueeze(-1), g * factor, 0.0))

    def silent_offset(self, alive: Tensor, num_steps: int) -> Tensor:
        """What the evidence of a candidate pays per transition for chains that it lacks, ``(C,)`` nats.

        They are off throughout, enumerated or not.
        """
        prior, setting = self.setting.prior, self.setting
        if prior.constant:
            return torch.log(alive.sum(-1) / alive.shape[-1]) / num_steps
        rate = alive.new_tensor([setting.on_rate]), alive.new_tensor([setting.off_rate])
        return (1 - alive).sum(-1) * prior.log_silent(*rate, num_steps) / num_steps

    @torch.no_grad()
    def held_out(self, sequences: Encoded, misfit: Tensor | None = None, alive: Tensor | None = None) -> Tensor:
        """Log evidence of held-out sequences, nats per transition.

        Args:
            sequences: N sequences.
            misfit: the same for all candidates, ``()``; each has its own for None.
            alive: ``(A, K)``: variants of a single candidate that lack some of its fields; what they have for None.

        Returns:
            ``(A,)``, A = C unless ``alive`` is given.
        """
        alive = self.alive if alive is None else alive
        variants = len(alive)
        misfit = self.misfit if misfit is None else misfit
        misfit = misfit.expand(variants)
        total, chunk = alive.new_zeros(()), max(1, CHUNK // variants)
        for part in range(0, len(sequences), chunk):
            batch = sequences[part : part + chunk]
            velocities = self.velocities(batch).expand(-1, -1, variants, -1, -1)
            total = total + self.infer(batch, velocities, alive, misfit).log_evidence().view(variants, -1).sum(-1)
        steps = sequences.means.shape[1] - 1
        return total / (len(sequences) * steps) - self.silent_offset(alive, steps)


def unit_force(excess: Tensor, velocities: Tensor) -> Tensor:
    r"""What holds the unit of speed: the direction in which a field has to grow where its mean speed exceeds 1.

    Speed and size of a field are one product, of which the misfit says nothing. The unit is therefore held by the
    estimating equation :math:`E[s - 1 | y = 1] = 0` at every place, whatever the spread of speeds:

    .. math:: E[y_k (s_k - 1)] \, \partial \|V^k\| / \partial V^k = E[y_k (s_k - 1)] \, V^k / \|V^k\|

    Args:
        excess: :math:`E[y_k (s_k - 1)]`, ``(...)``.
        velocities: whitened fields, ``(..., D)``.
    """
    size = velocities.square().sum(-1).clamp_min(1e-3).sqrt()
    return (excess / size).unsqueeze(-1) * velocities


def growth(excess: Tensor) -> Tensor:
    """By which factor every field grows in a step that holds the unit of speed: a share of its mean excess over 1.

    Speed and size of a field are one product, of which neither bound nor misfit say anything. This is the reduction
    step of parameter-expanded expectation-maximisation (Liu, Rubin and Wu 1998), taken by a share of its length for the
    noise of batches.

    Example:
        >>> growth(torch.tensor([0.2, -0.1, 3.0])).tolist()
        [1.0199999809265137, 0.9900000095367432, 1.0499999523162842]
    """
    return 1 + GROWTH * excess.clamp(-0.5, 0.5)


def by_candidate(values: Tensor) -> Tensor:
    """``(..., B, T, C)`` -> ``(..., C B, T)``, contiguous: candidates times sequences as one batch."""
    return values.movedim(-1, -3).flatten(-3, -2).contiguous()


def by_transition(values: Tensor, candidates: int) -> Tensor:
    """``(..., C B, T)`` -> ``(..., B, T, C)``, the inverse of :func:`by_candidate`."""
    return values.unflatten(-2, (candidates, -1)).movedim(-3, -1)


def gather(candidates: list[Candidate], template: RowFields, misfit: Tensor, setting: Setting) -> Population:
    """A population of given candidates and the relative misfit ``()`` or ``(C,)`` of each."""
    names = candidates[0][0].keys()
    rows = {name: torch.cat([rows[name] for rows, _ in candidates]) for name in names}
    alive = torch.stack([alive for _, alive in candidates])
    return Population(with_rows(template, rows), alive, misfit.expand(len(candidates)).clone(), setting)


def annealed(step: int, steps: int, peak: float, warmup: int = 10) -> float:
    """Learning rate of a stage: a short linear warm-up, then half a cosine down to a tenth of the peak."""
    return peak * min(1.0, (step + 1) / warmup) * (0.45 * (1 + math.cos(math.pi * step / steps)) + 0.1)


def tempering(step: int, steps: int, start: float, share: float = 0.6) -> float:
    """Weight of the log-likelihood in the chain: geometrically from ``start`` to 1 over a share of the stage.

    Example:
        >>> round(tempering(30, 100, 0.04), 3), tempering(60, 100, 0.04)
        (0.2, 1.0)
    """
    return min(1.0, start ** (1 - step / (share * steps)))
