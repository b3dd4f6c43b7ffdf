"""Stand-ins for the tests of the evaluation, small enough that the truth is known, and checks of that truth."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.distributions import LowRankMultivariateNormal, Normal

from ffrl.config import DataConfig, ModelConfig, ObjectiveConfig, SupervisedConfig
from ffrl.core.errors import require
from ffrl.data.base import SequenceBatch, SequenceData
from ffrl.data.synthesis.activity_process import markov_spikes, single_activity, states, uniform_speeds
from ffrl.data.synthesis.states import StateSequences
from ffrl.models.activity import Activity, ActivityDraws, ActivityKind, ActivitySample, Phase
from ffrl.models.frame_kind import PIXELS
from stf.config import SparseModelConfig, UnsupervisedConfig, WeakConfig
from stf.inference.evidence import Noise, transitions
from stf.inference.posterior import ActivityPosterior, infer
from stf.inference.prior import ActivityPrior
from stf.models.sparse_flow import SparseTransformationFlow
from stf.registry import MODES
from stf.sta.activity import RelaxedActivity
from stf.sta.config import RelaxationConfig, SpikeSlabConfig


class ShiftedPictures(SequenceData):
    """Constant grey pictures that each transformation j brightens by ``shift[j]`` per unit step, pixel j alone."""

    name, title = "shifted", "shifted pictures"

    def __init__(self, num_steps: int = 8, shift: tuple[float, ...] = (0.05, 0.03, 0.02), size: int = 12) -> None:
        self.num_steps = num_steps
        self.shift = torch.tensor(shift)
        self.image_shape = (1, 4, 4)
        self.transformations = tuple(f"change {j}" for j in range(len(shift)))
        self.unit_steps = tuple(f"+ {step}" for step in shift)
        self.device = torch.device("cpu")
        self._size = size

    def size(self, split: str) -> int:
        require(split == "validation", "split", split, "'validation'")
        return self._size

    def images(self, split: str, indices: Tensor) -> Tensor:
        return self._batch(indices, torch.zeros(len(indices), self.num_steps, len(self.shift))).frames[:, 0]

    def single(self, split: str, indices: Tensor, which: Tensor) -> SequenceBatch:
        return self._batch(indices, single_activity(which, self.num_steps, len(self.transformations)))

    def mixed(self, split: str, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
        shape = (len(indices), self.num_steps, len(self.transformations))
        spikes, speeds = markov_spikes(shape, 0.2, 0.4, generator), uniform_speeds(shape, 0.5, generator)
        return self._batch(indices, torch.where(spikes, speeds, 0.0))

    def _batch(self, indices: Tensor, activity: Tensor) -> SequenceBatch:
        start = (0.1 + 0.2 * indices / self._size).view(-1, 1, 1).expand(-1, self.num_steps + 1, 16)
        frames = start.clone()
        frames[..., : len(self.shift)] += states(activity) * self.shift
        return SequenceBatch(frames.clamp(0, 1).unflatten(-1, self.image_shape), activity)


class ShiftedStates(StateSequences):
    """Such pictures as a function of state; they are in state 1, and only what acts in published sequences starts at 0.

    Args:
        limit: largest state that is shown, per transformation.
        total: largest sum of states that is shown.
    """

    name, title, limits = "shifted", "shifted states", "few states"

    def __init__(
        self,
        num_steps: int = 8,
        shift: tuple[float, ...] = (0.04, 0.03, 0.02),
        size: int = 12,
        limit: tuple[float, ...] = (math.inf,) * 3,
        total: float = math.inf,
    ) -> None:
        self.config, self.num_steps = DataConfig(num_steps=num_steps), num_steps
        self.shift, self.limit, self.total = torch.tensor(shift), torch.tensor(limit), total
        self.image_shape = (1, 4, 4)
        self.transformations = tuple(f"change {j}" for j in range(len(shift)))
        self.unit_steps = tuple(f"+ {step}" for step in shift)
        self.device = torch.device("cpu")
        self._size = size

    def size(self, split: str) -> int:
        return self._size

    def brightness(self, indices: Tensor) -> Tensor:
        """Of the images as such."""
        return 0.1 + 0.1 * indices / self._size

    def origin(self, split: str, indices: Tensor) -> Tensor:
        return torch.ones(len(indices), len(self.shift))

    def placed(self, split: str, indices: Tensor, activity: Tensor, generator: object) -> tuple[Tensor, Tensor]:
        return activity, torch.where((activity != 0).any(1), 0.0, self.origin(split, indices))

    def showable(self, visited: Tensor) -> Tensor:
        return (visited <= self.limit).all(-1) & (visited.sum(-1) <= self.total)

    def in_states(self, split: str, indices: Tensor, visited: Tensor) -> Tensor:
        frames = self.brightness(indices).view(-1, 1, 1).repeat(1, visited.shape[1], 16)
        frames[..., : len(self.shift)] += visited * self.shift
        return frames.unflatten(-1, self.image_shape)


class UnknownPictures(ShiftedPictures):
    """The same mixed sequences, of which nothing is told."""

    name, title = "unknown", "unknown pictures"
    single = SequenceData.single

    def __init__(self, num_steps: int = 8) -> None:
        super().__init__(num_steps)
        self.transformations = self.unit_steps = ()

    def mixed(self, split: str, indices: Tensor, generator: torch.Generator) -> SequenceBatch:
        known = ShiftedPictures(self.num_steps).mixed(split, indices, generator)
        return SequenceBatch(known.frames, known.activity[..., :0])


class LinearGaussian(nn.Module):
    """Linear fields, linear decoder, Gaussian pixels: given the activity, the frames are jointly Gaussian.

    z_0 ~ N(0, I), z_t = z_{t-1} + sum_k g_t^k (A_k z_{t-1} + b_k), x_t ~ N(W z_t + c, sigma^2 I), and a posterior
    q(z_0 | x_0) that is the true posterior given x_0, but diagonal, wider and misplaced.
    """

    frame_kind = PIXELS
    density = "exact"
    sigma = 1.0

    def __init__(self, activity_model: nn.Module, seed: int, num_steps: int, dim: int = 2, pixels: int = 2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        controls = activity_model.num_controls
        self.activity_model = activity_model
        self.num_steps = num_steps
        self.slope, self.shift = 0.2 * normal(controls, dim, dim), 0.7 * normal(controls, dim)
        if isinstance(activity_model, Inferred):
            activity_model.velocities = self.shift
        self.weight, self.offset = 0.7 * normal(pixels, dim), normal(pixels)
        precision = torch.eye(dim).double() + self.weight.T @ self.weight / self.sigma**2
        self.encoder = torch.linalg.solve(precision, self.weight.T) / self.sigma**2
        self.log_variance = -precision.diagonal().log() + 0.2
        self.log_diffusion = 0.3 * normal(controls) - 1

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        means = (frames.flatten(-3) - self.offset) @ self.encoder.T + 0.15
        return means, self.log_variance.expand_as(means)

    def encode(self, frames: Tensor) -> Tensor:
        return self.posterior(frames)[0]

    def draw_activity(
        self, frames: Tensor, means: Tensor, samples: int, generator: torch.Generator | None
    ) -> ActivityDraws:
        return self.activity_model.draws(means, samples, generator)

    def decode_logits(self, z: Tensor) -> Tensor:
        return (z @ self.weight.T + self.offset).unflatten(-1, (1, 1, -1))

    def log_prob(self, logits: Tensor, frames: Tensor) -> Tensor:
        normal = torch.distributions.Normal(logits, self.sigma)
        return normal.log_prob(frames).sum((-3, -2, -1))

    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        latents = [z0]
        for speeds in g.double().unbind(1):
            moved = torch.einsum("kij,bj->bki", self.slope, latents[-1]) + self.shift
            latents.append(latents[-1] + (speeds.unsqueeze(-1) * moved).sum(1))
        return torch.stack(latents, 1)

    def log_density_change(self, z: Tensor, g: Tensor, t: float, method: str) -> Tensor:
        assert method == "exact"
        return -torch.linalg.slogdet(self.step_matrix(g)).logabsdet

    def step_matrix(self, g: Tensor) -> Tensor:
        """I + sum_k g^k A_k, ``(..., C)`` -> ``(..., D, D)``."""
        return torch.eye(len(self.slope[0]), dtype=torch.float64) + torch.einsum("...k,kij->...ij", g, self.slope)

    def affine(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """z_t = M_t z_0 + m_t for t = 0 .. T: ``g (N, T, C)`` -> ``(N, T+1, D, D)``, ``(N, T+1, D)``."""
        matrices = [torch.eye(len(self.slope[0]), dtype=torch.float64).expand(len(g), -1, -1)]
        offsets = [torch.zeros(len(g), len(self.slope[0]), dtype=torch.float64)]
        for speeds in g.unbind(1):
            step = self.step_matrix(speeds)
            matrices.append(step @ matrices[-1])
            offsets.append((step @ offsets[-1].unsqueeze(-1)).squeeze(-1) + speeds @ self.shift)
        return torch.stack(matrices, 1), torch.stack(offsets, 1)

    def exact(self, frames: Tensor, g: Tensor) -> Tensor:
        """log p(frames | g) in closed form, B sequences and N activities: ``(N, B)``."""
        matrices, offsets = self.affine(g)
        factor = (self.weight @ matrices).flatten(1, 2)
        mean = (offsets @ self.weight.T + self.offset).flatten(1)
        law = LowRankMultivariateNormal(mean, factor, torch.full_like(mean, self.sigma**2))
        return torch.stack([law.log_prob(sequence.flatten()) for sequence in frames], dim=1)

    def expected_reconstruction(self, frames: Tensor, g: Tensor) -> Tensor:
        """E_q(z_0|x_0)[sum_t log p(x_t | z_t)] in closed form: ``(N, B)``."""
        matrices, offsets = self.affine(g)
        means, log_variances = self.posterior(frames[:, :1])
        latents = torch.einsum("ntij,bj->nbti", matrices, means[:, 0]) + offsets.unsqueeze(1)
        at_mean = self.log_prob(self.decode_logits(latents), frames.expand(len(g), *frames.shape)).sum(-1)
        spread = (self.weight @ matrices).square() @ log_variances[0, 0].exp()
        return at_mean - spread.sum((1, 2)).unsqueeze(1) / (2 * self.sigma**2)

    def expected_flow_kl(self, frames: Tensor, g: Tensor) -> Tensor:
        """sum_t KL[q_t || p_t] of one activity per sequence, both Gaussian: ``(B,)``."""
        matrices, offsets = (x[:, 1:] for x in self.affine(g))
        means, log_variances = self.posterior(frames[:, :1])
        mean = torch.einsum("btij,bj->bti", matrices, means[:, 0]) + offsets
        covariance = matrices @ log_variances[0, 0].exp().diag() @ matrices.mT
        sigmas = [torch.ones(len(g)).double()]
        for drift in (g.abs() @ self.log_diffusion.exp()).unbind(1):
            sigmas.append(sigmas[-1] + drift / sigmas[-1])
        variance = torch.stack(sigmas[1:], 1).square()
        trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1) + mean.square().sum(-1)
        dim = mean.shape[-1]
        return 0.5 * (trace / variance - dim + dim * variance.log() - covariance.logdet()).sum(1)


def sample_frames(model: LinearGaussian, g: Tensor, seed: int) -> Tensor:
    """One sequence of the model itself per activity, ``(B, T, C)`` -> ``(B, T+1, 1, 1, P)``."""
    generator = torch.Generator().manual_seed(seed)
    z0 = torch.randn(len(g), len(model.slope[0]), generator=generator, dtype=torch.float64)
    images = model.decode_logits(model.flow(z0, g))
    return images + model.sigma * torch.randn(images.shape, generator=generator, dtype=torch.float64)


class Enumeration:
    """All values of the activity with their prior and posterior probabilities: (nearly) everything is a finite sum.

    Args:
        g: ``(N, T, C)``.
        log_p: log prior probability, ``(N,)``.
        log_q: log posterior probability given each sequence, ``(N, B)``.
        kl: exact KL of the activity, ``(B,)``.
    """

    def __init__(self, g: Tensor, log_p: Tensor, log_q: Tensor, kl: Tensor) -> None:
        self.g, self.log_p, self.log_q, self.kl = g, log_p, log_q, kl


class Inferred(Activity):
    """The exact posterior under fields that move every latent alike, drawn as the models draw it.

    They are but a part of the fields of the stand-in, which sets them, so that the posterior is wrong for it.
    """

    def __init__(self, slab: str, num_fields: int, dim: int = 2, constant: bool = False) -> None:
        super().__init__(num_fields, noise_channels=2)
        self.prior = ActivityPrior(slab, spread=0.2, most=1 if constant else num_fields, constant=constant)
        self.constant = constant
        self.kind = ActivityKind.CONSTANT if constant else ActivityKind.FREE
        self.velocities = torch.zeros(num_fields, dim, dtype=torch.float64)
        self.rates = torch.full((num_fields,), 0.3).double(), torch.full((num_fields,), 0.2).double()

    def posterior(self, means: Tensor) -> ActivityPosterior:
        moved = self.velocities.expand(*means[:, 1:].shape[:2], *self.velocities.shape)
        noise = Noise(1.2, 0.1, self.prior.speed_spread)
        return infer(transitions(moved, means.diff(dim=1)), self.prior, noise, *self.rates)

    def forward(self, means: Tensor, uniform: Tensor, phase: Phase) -> ActivitySample:
        raise AssertionError("sampled, though it is inferred")

    def infer(self, means: Tensor) -> Tensor:
        return self.posterior(means).mean_on()

    def draws(self, means: Tensor, samples: int, generator: torch.Generator | None) -> ActivityDraws:
        seen = {"_posterior": self.posterior, "activity_features": lambda frames, means: means}
        model = SimpleNamespace(activity_model=self, **seen)
        return SparseTransformationFlow.draw_activity(model, None, means, samples, generator)


def enumerate_fields(activity: Inferred, means: Tensor) -> Enumeration:
    """The K constant activities of the weak mode."""
    found, steps = activity.posterior(means), means.shape[1] - 1
    count = activity.num_controls
    log_q = found.log_evidence().neg() - math.log(count) + found.found.log.sum(-1)
    log_p = torch.full((count,), -math.log(count), dtype=torch.float64)
    every = torch.eye(count, dtype=torch.float64).unsqueeze(1).repeat(1, steps, 1)
    return Enumeration(every, log_p, log_q, sum(found.kl().values()))


def enumerate_states(activity: Inferred, means: Tensor, points: int = 301) -> Enumeration:
    """All paths of states, times a grid of ``points`` speeds wherever the only field is on, unless speeds are 1."""
    found = activity.posterior(means)
    space, (batch, steps) = found.space, found.paths.marginal.shape[:2]
    states, speeds, log_prior, log_posterior = [], [], [], []  # of one step: state, activity, p(s | S), q(s | S)
    width = activity.prior.speed_spread
    for state in range(space.num_states):
        value = space.values[state]
        if width == 0 or not value.any():
            nothing = torch.zeros(1, dtype=torch.float64)
            grid, prior, posterior = value.unsqueeze(0), nothing, nothing.expand(batch, steps, 1)
        else:
            assert activity.num_controls == 1
            center = float(value[0])
            grid = torch.linspace(center - 8 * width, center + 8 * width, points, dtype=torch.float64).unsqueeze(-1)
            prior = Normal(center, width).log_prob(grid[:, 0]).log_softmax(0)
            mean, deviation = found.found.mean[0, state], found.found.covariance[0, 0, state].sqrt()
            posterior = Normal(mean.unsqueeze(-1), deviation.unsqueeze(-1)).log_prob(grid[:, 0]).log_softmax(-1)
        states += [state] * len(grid)
        speeds.append(grid)
        log_prior.append(prior)
        log_posterior.append(posterior)
    state, speed, prior = torch.tensor(states), torch.cat(speeds), torch.cat(log_prior)
    posterior = torch.cat(log_posterior, -1)
    choice = torch.cartesian_prod(*[torch.arange(len(state))] * steps).view(-1, steps)
    path, law = state[choice], found.paths.prior
    log_path = law.initial[path[:, 0]] + law.transition[path[:, :-1], path[:, 1:]].sum(1)
    log_p = log_path + prior[choice].sum(1)
    log_q = log_path.unsqueeze(1) - found.log_evidence()
    for t in range(steps):
        log_q = log_q + found.found.log[path[:, t], :, t] + posterior[:, t, choice[:, t]].T
    return Enumeration(speed[choice], log_p, log_q, sum(found.kl().values()))


def enumerate_spikes(activity: RelaxedActivity, means: Tensor, points: int = 301) -> Enumeration:
    """All spike paths, times a grid of ``points`` slabs wherever a spike is on (and both signs)."""
    logits, location, scale, sign = (None if x is None else x.double() for x in activity.posterior_parameters(means))
    width = activity.slab_scale
    if activity.slab == "unit":
        slabs, prior = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        posterior = torch.zeros(*logits.shape, 1, dtype=torch.float64)
    else:
        slabs = torch.linspace(1 - 15 * width, 1 + 15 * width, points, dtype=torch.float64)
        prior = (-(slabs - 1).abs() / width).log_softmax(0)
        posterior = (-(slabs - location.unsqueeze(-1)).abs() / scale.unsqueeze(-1)).log_softmax(-1)
    if sign is not None:
        plus, minus = (nn.functional.logsigmoid(x).unsqueeze(-1) for x in (sign, -sign))
        slabs, prior = torch.cat([slabs, -slabs]), torch.cat([prior, prior]) - math.log(2)
        posterior = torch.cat([posterior + plus, posterior + minus], -1)
    values = torch.cat([torch.zeros(1, dtype=torch.float64), slabs])
    on = (torch.arange(len(values)) > 0).double()
    prior = torch.cat([torch.zeros(1, dtype=torch.float64), prior])
    switched_on, off = (nn.functional.logsigmoid(x).unsqueeze(-1) for x in (logits, -logits))
    posterior = torch.cat([off, posterior + switched_on], -1)

    batch, steps, controls = logits.shape
    choice = torch.cartesian_prod(*[torch.arange(len(values))] * (steps * controls)).view(-1, steps, controls)
    log_p = activity.chain.log_prob(on[choice]).double() + prior[choice].sum((1, 2))
    log_q = torch.zeros(len(choice), batch, dtype=torch.float64)
    for t, k in itertools.product(range(steps), range(controls)):
        log_q += posterior[:, t, k].T[choice[:, t, k]]
    return Enumeration(values[choice], log_p, log_q, activity.kl(means).double())


def spiking(slab: str, num_fields: int, dim: int = 2) -> RelaxedActivity:
    """Amortised spikes whose posterior varies with the frames, with slabs a little wider than the prior's."""
    torch.manual_seed(3)
    config = SpikeSlabConfig(on_rate=0.3, off_rate=0.2, slab=slab, slab_scale=0.2)
    activity = RelaxedActivity(num_fields, dim, config, RelaxationConfig()).double()
    with torch.no_grad():
        activity.posterior.net[-1].weight.mul_(5)
        if slab != "unit":
            activity.posterior.net[-1].bias[2 * num_fields : 3 * num_fields] += 0.3
    return activity.requires_grad_(False)


class Oracle:
    """The latent is the picture, and each transformation adds its shift; with errors of known size on request.

    Args:
        flow_bias: added to every pixel at every step.
        decoder_bias: added to every pixel on decoding.
    """

    frame_kind = PIXELS

    def __init__(self, shift: Tensor, flow_bias: float = 0.0, decoder_bias: float = 0.0) -> None:
        self.shift, self.flow_bias, self.decoder_bias = shift.double(), flow_bias, decoder_bias

    def encode(self, frames: Tensor) -> Tensor:
        return frames.flatten(-3).double()

    def flow(self, z0: Tensor, g: Tensor) -> Tensor:
        step = torch.nn.functional.pad(g.double() * self.shift, (0, 16 - len(self.shift))) + self.flow_bias
        return torch.cat([z0.unsqueeze(1), z0.unsqueeze(1) + step.cumsum(1)], 1)

    def decode(self, z: Tensor) -> Tensor:
        return z.unflatten(-1, (1, 4, 4)) + self.decoder_bias


class Given(Oracle):
    """Its activity is given."""

    def __init__(self, shift: Tensor, timed: bool = False, **biases: float) -> None:
        super().__init__(shift, **biases)
        self.activity_kind, self.timed = ActivityKind.GIVEN, timed


class Inferring(Given):
    """Infers the true speeds times a factor of each step, from frames whose number it remembers."""

    def __init__(self, shift: Tensor, factors: list[float]) -> None:
        super().__init__(shift)
        self.activity_kind = ActivityKind.CONSTANT
        self.factors, self.seen = torch.tensor(factors), set()

    def infer(self, frames: Tensor) -> Tensor:
        self.seen.add(frames.shape[1])
        moved = (frames[:, 1:] - frames[:, :-1]).flatten(-3)[..., : len(self.shift)]
        return moved / self.shift * self.factors[:, None]


def small(mode: str, data: ShiftedPictures | None = None, objective: ObjectiveConfig | None = None, **size: object):
    """A random model of the stand-in pictures."""
    data = data or ShiftedPictures()
    if data.features is not None:
        objective = ObjectiveConfig(likelihood="gaussian")
    sizes = {"latent_dim": 4, "num_fields": 3, "width": 8, "depth": 1, **size}
    common = {"data": DataConfig(num_steps=data.num_steps), "objective": objective or ObjectiveConfig()}
    torch.manual_seed(0)
    kind = {"supervised": SupervisedConfig, "weak": WeakConfig, "unsupervised": UnsupervisedConfig}[mode]
    model = ModelConfig(**sizes) if mode == "supervised" else SparseModelConfig(**sizes)
    return MODES[mode].build(kind(model=model, **common), data.image_shape, features=data.features)
