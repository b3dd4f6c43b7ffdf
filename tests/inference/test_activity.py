"""What a model keeps of exact activity: running estimates that converge, survive bad batches, and are restored."""

from __future__ import annotations

import math

import pytest
import torch
from inference_tools import generator, normal, uniform
from torch import Tensor

import stf.inference.activity
from ffrl.models.activity import Phase
from stf.inference.activity import ExactActivity, normal_from
from stf.inference.chain import factorial_prior, infer_paths
from stf.inference.encoded import Encoded, whitening
from stf.inference.evidence import FLOOR, LARGEST_MISFIT, LEAST_MISFIT
from stf.inference.posterior import ActivityPosterior
from stf.inference.prior import ActivityPrior
from stf.inference.states import subsets

CONTROLS, DIM = 3, 8
VARIANCE = torch.linspace(0.1, 0.8, DIM, dtype=torch.float64)


def exact_activity(controls: int = CONTROLS, learn_rates: bool = True, **prior) -> ExactActivity:
    return ExactActivity(controls, DIM, ActivityPrior(**prior), 0.1, 0.3, learn_rates).double()


class World:
    """Batches of the observation model itself, with tau_0, eps^2 and rates that are known; fields are random."""

    def __init__(self, floor: float, misfit: float, on: tuple[float, ...], off: tuple[float, ...], seed: int) -> None:
        self.floor, self.misfit, self.source = floor, misfit, generator(seed)
        self.on, self.off = torch.tensor(on).double(), torch.tensor(off).double()
        self.space = subsets(len(on), len(on), dtype=torch.float64)
        self.prior = factorial_prior(self.space, self.on, self.off)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.source, dtype=torch.float64)

    def batch(self, size: int, steps: int, strength: float = 2.0, slab: str = "positive") -> tuple[Tensor, Tensor]:
        """Means ``(B, T+1, D)`` and velocities ``(B, T, C, D)``, in the encoder's units."""
        controls = len(self.on)
        nothing = torch.zeros(size, steps, self.space.num_states, dtype=torch.float64)
        noise = torch.rand(1, size, steps, generator=self.source, dtype=torch.float64)
        spikes = self.space.on[infer_paths(nothing, self.prior).draw(noise)[0]]
        g = spikes * (1 if slab == "unit" else 1 + 0.3 * self.normal(size, steps, controls))
        scale = strength * torch.rand(size, steps, 1, 1, generator=self.source, dtype=torch.float64).add(0.3)
        fields = scale * self.normal(size, steps, controls, DIM)
        power = (spikes * fields.square().sum(-1)).sum(-1) / DIM
        tau = self.floor + self.misfit * power
        moved = (g.unsqueeze(-1) * fields).sum(-2) + tau.sqrt().unsqueeze(-1) * self.normal(size, steps, DIM)
        self.relative = ((tau - self.floor).mean() / moved.square().mean()).item()
        start = self.normal(size, 1, DIM)
        unit = whitening(VARIANCE)
        return torch.cat([start, start + moved.cumsum(1)], 1) / unit, fields / unit


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimates with a shorter memory."""
    monkeypatch.setattr(stf.inference.activity, "MOMENTUM", 0.05)


def follow(activity: ExactActivity, world: World, batches: int, **options) -> ActivityPosterior:
    for _ in range(batches):
        means, velocities = world.batch(128, 8, **options)
        found = activity.posterior(means, velocities[:, :, activity.places])
        activity.follow(found, means, VARIANCE.expand_as(means))
    return found


def adopted(activity: ExactActivity, places: list[int] | None = None, misfit: float = 1.0) -> ExactActivity:
    places = list(range(activity.num_controls)) if places is None else places
    activity.adopt(places, VARIANCE, torch.tensor(misfit).double())
    return activity


@pytest.mark.parametrize("slab", ["positive", "unit"])
@pytest.mark.parametrize("misfit", [0.2, 0.05])
def test_estimates_converge_to_the_truth(slab: str, misfit: float, quick: None) -> None:
    world = World(FLOOR, misfit, (0.1, 0.2, 0.05), (0.3, 0.2, 0.4), seed=0)
    activity = adopted(exact_activity(slab=slab))
    follow(activity, world, 250, slab=slab)
    world.batch(2000, 8, slab=slab)
    assert math.isclose(activity.misfit.item(), world.relative, abs_tol=0.03)
    on, off = activity.rates()
    assert torch.allclose(on, world.on, atol=0.03)
    assert torch.allclose(off, world.off, atol=0.05)


@pytest.mark.parametrize("slab", ["positive", "signed"])
def test_excess_is_how_much_faster_than_one_fields_run(slab: str) -> None:
    world = World(FLOOR, 0.01, (0.3,) * 3, (0.3,) * 3, 12)
    activity = adopted(exact_activity(slab=slab), misfit=0.01)
    means, velocities = world.batch(400, 8, strength=20.0)
    factors = torch.tensor([1.0, 0.8, 1.25]).double()
    found = activity.posterior(means, velocities * factors[:, None])
    activity.follow(found, means, VARIANCE.expand_as(means))
    assert torch.allclose(1 + activity.excess, 1 / factors, atol=0.04)


def test_the_variance_follows_the_encoder(quick: None) -> None:
    activity = exact_activity()
    assert torch.equal(activity.variance, torch.ones(DIM).double())
    follow(activity, World(0.5, 0.1, (0.1,) * 3, (0.3,) * 3, 1), 150)
    assert torch.allclose(activity.variance, VARIANCE, atol=1e-3)
    assert torch.allclose(activity.unit, (2 * VARIANCE).rsqrt(), rtol=5e-3)


def test_estimates_stay_within_their_bounds(quick: None) -> None:
    """Noise far above and far below the floor, and fields that explain nothing."""
    for floor, misfit in ((5.0, 0.0), (1e-4, 0.0), (0.5, 50.0)):
        activity = adopted(exact_activity())
        follow(activity, World(floor, misfit, (0.2,) * 3, (0.3,) * 3, 2), 60)
        assert LEAST_MISFIT <= activity.misfit <= LARGEST_MISFIT
        for rate in activity.rates():
            assert ((rate > 0) & (rate < 1)).all()


def test_rates_stay_where_they_are_not_learnt(quick: None) -> None:
    world = World(0.5, 0.1, (0.4,) * 3, (0.4,) * 3, 3)
    activity = adopted(exact_activity(learn_rates=False))
    follow(activity, world, 5)
    on, off = activity.rates()
    assert torch.allclose(on, torch.full((3,), 0.1).double()) and torch.allclose(off, torch.full((3,), 0.3).double())
    assert (activity.counts == 0).all()


@pytest.mark.parametrize("dead", [False, True])
def test_rates_of_fields_that_are_rarely_enumerated(dead: bool, quick: None) -> None:
    """With truncation, a sequence in which a field was not enumerated counts as one in which it was off."""
    rates = ((0.02, 0.02, 1e-9 if dead else 0.03, 0.02, 0.04), (0.3, 0.4, 0.3, 0.2, 0.3))
    world = World(0.5, 0.02, *rates, seed=4)
    places = [0, 1, 3, 4] if dead else list(range(5))
    whole, cut = (adopted(exact_activity(5, enumerated=n, most=2), places, 0.05) for n in (10, 2))
    for _ in range(60):
        means, velocities = world.batch(128, 8, strength=4.0)
        for activity in (whole, cut):
            found = activity.posterior(means, velocities[:, :, activity.places])
            activity.follow(found, means, VARIANCE.expand_as(means))
    assert torch.allclose(cut.rates()[0][places], whole.rates()[0][places], atol=0.01)
    total = cut.counts[places].sum((-2, -1))
    assert torch.allclose(total, total[:1].expand_as(total)), "every field has as many transitions"
    assert torch.allclose(total, whole.counts[places].sum((-2, -1)))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("enumerated", [8, 2])
def test_what_is_not_finite_is_left_out(value: float, enumerated: int) -> None:
    """As the step of the optimizer, which is skipped."""
    world = World(0.4, 0.1, (0.2,) * 3, (0.3,) * 3, 5)
    activity = adopted(exact_activity(enumerated=enumerated))
    follow(activity, world, 3)
    for broken in ("means", "fields", "variance"):
        before = {name: buffer.clone() for name, buffer in activity.named_buffers()}
        means, velocities = world.batch(4, 8)
        variance = VARIANCE.expand_as(means).clone()
        {"means": means, "fields": velocities, "variance": variance}[broken][1, 2, 0] = value
        found = activity.posterior(means, velocities[:, :, activity.places])
        activity.follow(found, means, variance)
        for name, buffer in activity.named_buffers():
            assert buffer.isfinite().all(), (broken, name)
        changed = {name for name, buffer in activity.named_buffers() if not torch.equal(buffer, before[name])}
        assert not changed & ({"variance"} if broken == "variance" else {"misfit", "counts"}), broken
    follow(activity, world, 1)
    assert activity.posterior(*world.batch(4, 8)).log_evidence().isfinite().all()


@pytest.mark.parametrize("broken", ["means", "velocities"])
def test_draws_of_a_batch_that_is_not_finite_do_not_raise(broken: str) -> None:
    """The step is skipped for its loss, which has to be computed."""
    means, velocities = World(0.5, 0.1, (0.2,) * 3, (0.3,) * 3, 6).batch(2, 4)
    (means if broken == "means" else velocities)[0, 1] = math.nan
    found = exact_activity().posterior(means, velocities)
    g, _ = found.draws(uniform(0, 1, 2, 4), normal(1, 1, 2, 4, 3))
    assert g.shape == (1, 2, 4, 3)
    assert g[:, 1].isfinite().all()


def test_following_has_no_gradient() -> None:
    means, velocities = World(0.5, 0.1, (0.2,) * 3, (0.3,) * 3, 7).batch(2, 4)
    activity = exact_activity()
    found = activity.posterior(means, velocities[:, :, activity.places])
    activity.follow(found, means.requires_grad_(), VARIANCE.expand_as(means).requires_grad_())
    assert not any(buffer.requires_grad for buffer in activity.buffers())


def test_the_state_is_restored() -> None:
    world = World(0.4, 0.1, (0.2,) * 3, (0.3,) * 3, 8)
    activity = adopted(exact_activity(), places=[0, 2])
    assert activity.places == [0, 2]
    follow(activity, world, 3)
    again = exact_activity()
    assert again.places == [0, 1, 2]
    again.load_state_dict(activity.state_dict())
    assert again.places == [0, 2]
    means, velocities = world.batch(3, 5)
    one, two = (made.posterior(means, velocities[:, :, [0, 2]]) for made in (activity, again))
    assert torch.equal(one.probability, two.probability) and torch.equal(one.log_evidence(), two.log_evidence())
    for made, found in ((activity, one), (again, two)):
        made.follow(found, means, VARIANCE.expand_as(means))
    for name, value in activity.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def other_than(places: list[int], controls: int) -> list[int]:
    return [k for k in range(controls) if k not in places]


@pytest.mark.parametrize("enumerated", [8, 2])
@pytest.mark.parametrize("slab", ["positive", "signed", "unit"])
def test_dead_controls_are_exact_zeros(slab: str, enumerated: int) -> None:
    """The posterior is that of a model without them."""
    means, velocities = World(0.4, 0.1, (0.2,) * 5, (0.3,) * 5, 9).batch(4, 6, strength=4.0)
    places = [1, 2, 4]
    dead = other_than(places, 5)
    activity = adopted(exact_activity(5, slab=slab, most=2, enumerated=enumerated), places)
    small = exact_activity(3, slab=slab, most=2, enumerated=enumerated)
    small.adopt([0, 1, 2], VARIANCE, torch.tensor(1.0).double())
    found, expected = (
        activity.posterior(means, velocities[:, :, activity.places]),
        small.posterior(means, velocities[:, :, places]),
    )
    assert torch.allclose(found.log_evidence(), expected.log_evidence())
    g, ratio = found.draws(uniform(0, 50, 4, 6), normal(1, 50, 4, 6, 2))
    h, _ = expected.draws(uniform(0, 50, 4, 6), normal(1, 50, 4, 6, 2))
    for value, other in (
        (found.probability, expected.probability),
        (found.mean_on(), expected.mean_on()),
        (found.mode(), expected.mode()),
        (g, h),
    ):
        assert value.shape[-1] == 5
        assert (value[..., dead] == 0).all()
        assert torch.allclose(value[..., places], other)
    assert (found.speed[..., dead] == 1).all()
    spread = 0.0 if slab == "unit" else 0.3
    assert torch.allclose(found.deviation[..., dead], torch.tensor(spread).double())
    assert ratio.isfinite().all()
    statistics = found.statistics()
    assert (statistics.first[dead] == 0).all() and (statistics.second[dead] == 0).all()
    on = activity.prior_on()
    assert (on[dead] == 0).all() and torch.allclose(on[places], torch.full((3,), 0.25).double())


def test_dead_controls_of_constant_activity() -> None:
    activity = adopted(
        ExactActivity(4, DIM, ActivityPrior("unit", most=1, constant=True), 0.1, 0.3, True).double(), [0, 3]
    )
    assert activity.constant and not activity.learn_rates
    means, velocities = World(0.5, 0.1, (0.2,) * 4, (0.3,) * 4, 10).batch(6, 5)
    found = activity.posterior(means, velocities[:, :, activity.places])
    assert (found.probability[..., [1, 2]] == 0).all()
    assert torch.allclose(found.probability.sum(-1), torch.ones(6, 5).double())
    assert ((found.mean_on() == 1).sum(-1) == 1).all() and (found.mean_on()[..., [1, 2]] == 0).all()
    assert activity.prior_on().tolist() == [0.5, 0.0, 0.0, 0.5]
    before = activity.counts.clone()
    activity.follow(found, means, VARIANCE.expand_as(means))
    assert torch.equal(activity.counts, before)


def test_adopting_starts_the_estimates_anew() -> None:
    activity = exact_activity()
    follow(activity, World(0.2, 0.1, (0.2,) * 3, (0.3,) * 3, 11), 3)
    activity.adopt([1], 2 * VARIANCE, torch.tensor(0.3).double())
    assert activity.alive.tolist() == [0.0, 1.0, 0.0] and activity.places == [1]
    assert torch.equal(activity.variance, 2 * VARIANCE)
    assert math.isclose(activity.misfit.item(), 0.3, rel_tol=1e-6)
    assert (activity.excess == 0).all()


def test_the_first_rates_are_those_of_the_configuration() -> None:
    activity = exact_activity()
    on, off = activity.rates()
    assert torch.allclose(on, torch.full((3,), 0.1).double()) and torch.allclose(off, torch.full((3,), 0.3).double())
    assert torch.allclose(activity.prior_on(), torch.full((3,), 0.25).double())


def test_without_fields_nothing_is_inferred() -> None:
    activity = exact_activity()
    for call in (
        lambda: activity(torch.zeros(1, 2, DIM), torch.zeros(1, 1, CONTROLS, 2), Phase()),
        lambda: activity.infer(torch.zeros(1, 2, DIM)),
        lambda: activity.draws(torch.zeros(1, 2, DIM), 1, None),
    ):
        with pytest.raises(TypeError, match="fields"):
            call()


def test_normal_noise_by_inversion() -> None:
    grid = torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64)
    assert torch.allclose(normal_from(grid), torch.tensor([-1.959964, 0.0, 1.959964]).double(), atol=1e-6)


def test_encoded_sequences_are_whitened() -> None:
    means = normal(12, 3, 5, DIM)
    encoded = Encoded(means, whitening(VARIANCE))
    assert len(encoded) == 3
    assert torch.allclose(encoded.displacement * (2 * VARIANCE).sqrt(), means[:, 1:] - means[:, :-1])
    assert torch.equal(encoded[1:].means, means[1:]) and torch.equal(encoded.to("cpu").means, means)
    assert whitening(torch.zeros(1)).isfinite().all()


@pytest.mark.parametrize(("on", "off", "steps"), [(0.1, 0.3, 1), (0.4, 0.2, 5), (0.01, 0.9, 9)])
def test_silence_is_a_path_of_the_chain(on: float, off: float, steps: int) -> None:
    space = subsets(1, 1, dtype=torch.float64)
    rates = torch.tensor([on]).double(), torch.tensor([off]).double()
    log = torch.zeros(1, steps, 2, dtype=torch.float64)
    log[..., 1] = torch.finfo(log.dtype).min / 1e3
    expected = infer_paths(log, factorial_prior(space, *rates)).log_evidence
    assert torch.allclose(ActivityPrior().log_silent(*rates, steps), expected)
