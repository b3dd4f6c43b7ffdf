"""The three models and STA: gradients, determinism, independence of samples, and the public methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from exact_tools import awaken, turned_mean
from small_models import (
    BATCH,
    DIM,
    FIELDS,
    IMAGE,
    SIZE,
    STEPS,
    every_model,
    forward,
    frames_and_activity,
    inferring,
    some_activity,
    sta,
    supervised,
    unsupervised,
    weak,
)
from torch import Tensor, nn

from ffrl.config import SupervisedConfig
from ffrl.models.activity import Phase
from ffrl.models.outputs import SequenceOutputs
from ffrl.objective.elbo import elbo_terms
from ffrl.training.batch import draw_batch
from stf.config import UnsupervisedConfig
from stf.registry import MODES


@every_model
def test_every_parameter_receives_a_gradient(build: Callable) -> None:
    """In all phases of training together, and all frames: some field does not act in those of a batch."""
    model = build()
    frames, activity = frames_and_activity(model)
    for progress in (0.05, 0.9):
        elbo_terms(forward(model, frames, activity, progress), frames, model.trained.objective)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@every_model
def test_each_term_is_finite_and_training_lowers_the_loss(build: Callable) -> None:
    model = build()
    frames, activity = frames_and_activity(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        terms = elbo_terms(forward(model, frames, activity), frames, model.trained.objective)
        assert all(value.shape == () and value.isfinite() for value in terms.values())
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(terms["loss"].item())
    assert losses[-1] < losses[0]


@every_model
@pytest.mark.parametrize("progress", [0.1, 0.9])
def test_forward_is_a_deterministic_function_of_its_arguments(build: Callable, progress: float) -> None:
    model = build().eval()  # in training, estimates of the activity follow the batches
    frames, activity = frames_and_activity(model)
    before = torch.get_rng_state()
    first, again = (forward(model, frames, activity, progress) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state()), "the global random state was touched"
    assert torch.equal(first.logits, again.logits)
    assert torch.equal(first.activity, again.activity)
    other = model(frames, model.draw_noise(BATCH, STEPS, None), model.phase(progress), activity)
    assert not torch.equal(first.logits, other.logits)


@every_model
def test_noise_depends_on_the_generator_alone(build: Callable) -> None:
    model = build()
    before = torch.get_rng_state()
    first, again = (model.draw_noise(BATCH, STEPS, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.latent, again.latent) and torch.equal(first.activity, again.activity)
    assert first.latent.shape == (BATCH, DIM)
    assert first.activity.shape[:3] == (BATCH, STEPS, model.num_controls)
    assert (first.activity > 0).all() and (first.activity < 1).all()


def per_sample(outputs: SequenceOutputs) -> list[Tensor]:
    optional = [x for x in (outputs.log_density_change, outputs.log_prior) if x is not None]
    named = [*outputs.activity_kl.values(), *outputs.penalties.values()]
    return [outputs.logits, outputs.latents, outputs.mean, outputs.log_variance, outputs.activity, *optional, *named]


@every_model
@pytest.mark.parametrize("progress", [0.1, 0.9])
def test_frames_never_mix_across_the_batch(build: Callable, progress: float) -> None:
    model = build().eval()  # in training, estimates of the activity follow the batches
    frames, activity = frames_and_activity(model)
    changed = frames.clone()
    changed[1] = torch.rand_like(changed[1])
    others = torch.tensor([0, 2])
    before, after = (per_sample(forward(model, x, activity, progress)) for x in (frames, changed))
    for old, new in zip(before, after, strict=True):
        assert old.shape[0] == BATCH
        torch.testing.assert_close(old[others], new[others], rtol=1e-5, atol=1e-6)
    assert (before[0][1] - after[0][1]).abs().max() > 1e-4


@every_model
def test_gradients_never_mix_across_the_batch(build: Callable) -> None:
    model = build()
    frames, activity = frames_and_activity(model)
    frames.requires_grad_()
    for value in per_sample(forward(model, frames, activity)):
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value[1].sum(), frames, retain_graph=True)
            assert (gradient[[0, 2]] == 0).all()


@every_model
def test_public_methods_have_their_shapes_and_ranges(build: Callable) -> None:
    model = build().eval()
    frames, _ = frames_and_activity(model)
    controls = model.num_controls
    with torch.no_grad():
        assert model.encode(frames).shape == (BATCH, STEPS + 1, DIM)
        assert model.encode(frames[0, 0]).shape == (DIM,)
        z0, g = model.encode(frames[:, 0]), some_activity(model)
        assert z0.shape == (BATCH, DIM)
        latents = model.flow(z0, g)
        assert latents.shape == (BATCH, STEPS + 1, DIM)
        assert torch.equal(latents[:, 0], z0)
        images = model.decode(latents)
        assert images.shape == frames.shape and (images >= 0).all() and (images <= 1).all()
        assert model.decode(z0[0]).shape == IMAGE
        parts = model.fields(z0, 0.5)
        assert [part.shape for part in parts] == 2 * [(BATCH, FIELDS, DIM)]
        for method in ("exact", "trace") + (("poster",) if len(model.integrator.b) == 1 else ()):
            change = model.log_density_change(z0, g[:, 0], 0.5, method=method)
            assert change.shape == (BATCH,) and change.isfinite().all()
    assert controls == model.field_model.num_controls in (FIELDS, 2 * FIELDS)


@every_model
def test_methods_agree_with_the_forward_pass(build: Callable) -> None:
    model = build().eval()
    frames, activity = frames_and_activity(model)
    with torch.no_grad():
        outputs = forward(model, frames, activity)
        torch.testing.assert_close(outputs.mean, model.encode(frames[:, 0]), rtol=1e-5, atol=1e-6)
        latents = model.flow(outputs.latents[:, 0], outputs.activity)
        torch.testing.assert_close(outputs.latents, latents, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(outputs.logits.sigmoid(), model.decode(latents), rtol=1e-4, atol=1e-5)
        if outputs.log_density_change is not None:
            for step in range(STEPS):
                t, method = (step + 1) / STEPS, model.trained.objective.density
                change = model.log_density_change(latents[:, step], outputs.activity[:, step], t, method=method)
                torch.testing.assert_close(outputs.log_density_change[:, step], change, rtol=1e-4, atol=1e-5)


@every_model
def test_flow_is_moved_by_the_fields_and_rests_without_activity(build: Callable) -> None:
    model = build().double().eval()
    z0, g = torch.randn(BATCH, DIM, dtype=torch.float64), some_activity(model).double()
    with torch.no_grad():
        resting = model.flow(z0, torch.zeros_like(g))
        assert torch.equal(resting, z0.unsqueeze(1).expand_as(resting))
        gentle = 1e-5 * g
        moved = model.flow(z0, gentle)
        parts = torch.cat(model.fields(z0, 1 / STEPS), dim=1)
        first = gentle[:, 0] if model.num_controls == 2 * FIELDS else gentle[:, 0].repeat(1, 2)
        expected = z0 + torch.einsum("bc,bcd->bd", first, parts)
    torch.testing.assert_close(moved[:, 1], expected, rtol=0.0, atol=1e-8)
    assert (moved[:, 1] - z0).abs().max() > 1e-7


@inferring
def test_inferred_activity_has_exact_zeros(build: Callable) -> None:
    model = build().eval()
    frames = torch.rand(40, STEPS + 1, *IMAGE, generator=torch.Generator().manual_seed(4))
    if model.trained.mode == "sta":
        posterior = model.activity_model.posterior
        with torch.no_grad():  # about a half of what an untrained network says is on
            posterior.net[-1].bias.sub_(posterior(model.activity_features(frames)).mean((0, 1)))
    else:
        awaken(model, frames)
    with torch.no_grad():
        speeds = model.infer(frames)
    assert speeds.shape == (40, STEPS, model.num_controls)
    assert (speeds == 0).any() and (speeds != 0).any()
    if model.trained.mode == "unsupervised":
        assert torch.equal(speeds != 0, model.activity(frames).probability > 0.5)
    else:
        assert ((speeds == 0) | (speeds.abs() > 1e-3)).all()


def test_weak_inference_names_one_field_per_sequence() -> None:
    frames, _ = frames_and_activity(weak())
    speeds = weak().infer(frames)
    assert torch.equal(speeds.sum(-1), torch.ones(BATCH, STEPS))
    assert torch.equal(speeds, speeds[:, :1].expand_as(speeds))


@pytest.mark.parametrize("control", ["single", "separate"])
def test_evidence_of_a_step_is_read_from_its_two_frames_and_activity_from_all(control: str) -> None:
    model = unsupervised(sparsity={"slab": "signed"}, control=control).eval()
    frames, _ = frames_and_activity(model)
    changed = frames.clone()
    changed[:, STEPS] = torch.rand_like(changed[:, STEPS])
    with torch.no_grad():
        before, after = (model.activity(x) for x in (frames, changed))
    evidence = before.found.log, after.found.log
    torch.testing.assert_close(evidence[0][..., :-1], evidence[1][..., :-1], rtol=1e-5, atol=1e-5)
    assert (evidence[0][..., -1] - evidence[1][..., -1]).abs().max() > 1e-2
    assert (before.probability - after.probability)[:, STEPS - 2].abs().max() > 1e-6


@pytest.mark.parametrize("build", [weak, unsupervised])
def test_estimates_of_the_activity_follow_training_alone(build: Callable) -> None:
    for training in (False, True):
        model = build().train(training)
        frames, _ = frames_and_activity(model)
        before = {name: value.clone() for name, value in model.activity_model.named_buffers()}
        forward(model, frames, None, 0.05)
        assert all(torch.equal(value, before[name]) for name, value in model.activity_model.named_buffers())
        forward(model, frames, None)
        changed = {n for n, value in model.activity_model.named_buffers() if not torch.equal(value, before[n])}
        learned = {"variance", "misfit"} | ({"counts", "excess"} if build is unsupervised else set())
        assert changed <= learned and ({"variance"} <= changed) == training


@pytest.mark.parametrize("build", [weak, unsupervised])
def test_frames_that_are_not_finite_leave_the_estimates_of_the_activity_alone(build: Callable) -> None:
    model = build().train()
    frames, _ = frames_and_activity(model)
    poisoned = frames.clone()
    poisoned[1, 2] = float("nan")
    before = {name: value.clone() for name, value in model.activity_model.named_buffers()}
    outputs = forward(model, poisoned, None)
    assert not elbo_terms(outputs, poisoned, model.trained.objective)["loss"].isfinite()
    assert all(torch.equal(value, before[name]) for name, value in model.activity_model.named_buffers())


def test_agreement_is_the_expected_misfit_of_flow_and_codes() -> None:
    model = unsupervised(joint={"agreement": 2.5}).eval()
    frames, _ = frames_and_activity(model)
    outputs = forward(model, frames, None)
    means = model.encode(frames)
    difference = means.diff(dim=1)
    fields = sum(model.fields(means.flatten(0, 1))).unflatten(0, (BATCH, STEPS + 1))
    unit = (2 * model.activity_model.variance).rsqrt()
    moved = turned_mean(fields[:, :-1], fields[:, 1:]) * unit
    difference, statistics = difference * unit, model.activity(frames).statistics()
    misfit = difference.square().sum(-1)
    misfit = misfit - 2 * torch.einsum("kbt,btkd,btd->bt", statistics.first, moved, difference)
    misfit = misfit + torch.einsum("klbt,btkd,btld->bt", statistics.second, moved, moved)
    expected = 2.5 * 0.5 * misfit.sum(-1)
    assert (outputs.activity != 0).any() and (expected > 0).all()
    torch.testing.assert_close(outputs.penalties["agreement"], expected, rtol=1e-4, atol=1e-5)
    terms = elbo_terms(outputs, frames, model.trained.objective)
    torch.testing.assert_close(terms["agreement"], expected.mean() / (STEPS + 1), rtol=1e-4, atol=1e-5)
    assert "agreement" not in forward(unsupervised(joint={"agreement": 0.0}), frames, None).penalties


def test_activity_in_training_is_its_mean_or_a_draw() -> None:
    frames, _ = frames_and_activity(unsupervised())
    mean, drawn = (unsupervised(joint={"activity": kind}).eval() for kind in ("mean", "draw"))
    found = mean.activity(frames)
    assert torch.equal(forward(mean, frames, None).activity, found.mean_on())
    draws = []
    for seed in range(200):
        noise = drawn.draw_noise(BATCH, STEPS, torch.Generator().manual_seed(seed))
        draws.append(drawn(frames, noise, drawn.phase(0.9)).activity)
    share = (torch.stack(draws) != 0).float().mean(0)
    deviation = (found.probability * (1 - found.probability) / 200).sqrt()
    assert ((share - found.probability).abs() < 4.5 * deviation + 1e-3).all()
    assert torch.stack(draws).std(0).max() > 0.01


def test_supervised_model_reads_the_first_frame_only() -> None:
    model = supervised()
    frames, activity = frames_and_activity(model)
    changed = torch.cat([frames[:, :1], torch.rand_like(frames[:, 1:])], dim=1)
    first, second = (forward(model, x, activity) for x in (frames, changed))
    assert torch.equal(first.logits, second.logits)


def test_supervised_model_needs_its_activity_and_infers_none() -> None:
    model = supervised()
    frames, _ = frames_and_activity(model)
    with pytest.raises(ValueError, match="pass activity"):
        forward(model, frames, None)
    with pytest.raises(ValueError, match="infers no activity"):
        model.infer(frames)


class Labelled:
    """Data whose true activity is poison: whoever computes with it gets NaN."""

    transformations = ("first", "second")
    prescribed = True
    num_steps = STEPS

    def single(self, split: str, indices: Tensor, which: Tensor, generator: torch.Generator) -> _Batch:
        return self.mixed(split, indices, generator)

    def mixed(self, split: str, indices: Tensor, generator: torch.Generator | None) -> _Batch:
        frames = torch.rand(len(indices), STEPS + 1, *IMAGE, generator=torch.Generator().manual_seed(5))
        return _Batch(frames, torch.full((len(indices), STEPS, 2), float("nan")))


class _Batch:
    def __init__(self, frames: Tensor, activity: Tensor) -> None:
        self.frames, self.activity = frames, activity


@pytest.mark.parametrize("build", [unsupervised, weak, sta])
def test_no_label_reaches_a_model_that_infers_its_activity(build: Callable) -> None:
    model = build()
    batch = draw_batch(MODES[model.trained.mode].config(), model, Labelled(), "train", torch.arange(BATCH), Phase(), 0)
    assert batch.activity is None
    outputs = model(batch.frames, batch.noise, model.phase(0.9), batch.activity)
    terms = elbo_terms(outputs, batch.frames, model.trained.objective)
    assert all(value.isfinite() for value in terms.values())
    assert list(inspect.signature(model.infer).parameters) == ["frames"]
    assert inspect.signature(model.forward).parameters["activity"].default is None


def test_supervised_training_is_told_which_transformation_acts() -> None:
    model = supervised()
    batch = draw_batch(SupervisedConfig(), model, Labelled(), "train", torch.arange(40), Phase(), 0)
    assert batch.activity.shape == (40, STEPS, 2)
    assert torch.equal(batch.activity.sum(-1), torch.ones(40, STEPS))
    assert torch.equal(batch.activity, batch.activity[:, :1].expand_as(batch.activity))
    assert 0 < batch.activity[:, 0, 0].sum() < 40


@every_model
def test_no_parameter_is_an_output_bias_of_the_potentials(build: Callable) -> None:
    model = build()
    keys = {name.rsplit(".", 1)[-1] for name in model.field_model.potential_part().state_dict()}
    assert keys == {"weight", "bias", "scale"} | ({"time_weight"} if model.timed else set())
    z, t = torch.randn(DIM), torch.rand(())
    for name, parameter in model.field_model.potential_part().named_parameters():
        assert parameter.shape[:2] == (FIELDS, SIZE["potential_width"]), name
        (gradient,) = torch.autograd.grad(model.field_model.potential_part().gradient(z, t).square().sum(), parameter)
        assert gradient.abs().max() > 0, name


@every_model
def test_state_survives_a_round_trip(build: Callable) -> None:
    model = build().eval()
    frames, activity = frames_and_activity(model)
    expected = forward(model, frames, activity).logits
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            value.add_(0.1) if value.is_floating_point() else None
    assert not torch.equal(forward(model, frames, activity).logits, expected)
    model.load_state_dict(build().state_dict())
    assert torch.equal(forward(model, frames, activity).logits, expected)


@every_model
def test_reduced_precision_ends_at_the_networks(build: Callable) -> None:
    model = build()
    frames, activity = frames_and_activity(model)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = forward(model, frames, activity)
    for value in per_sample(outputs):
        assert value.dtype == torch.float32 and value.isfinite().all()
    linear = nn.Linear(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(torch.ones(2)).dtype == torch.bfloat16


@every_model
def test_double_precision_is_kept(build: Callable) -> None:
    model = build().double()
    frames, activity = frames_and_activity(model)
    outputs = forward(model, frames.double(), None if activity is None else activity.double())
    for value in per_sample(outputs):
        assert value.dtype == torch.float64


def test_rotational_part_is_there_only_when_asked_for() -> None:
    z = torch.randn(BATCH, DIM)
    for model in (supervised(), weak(rotational_width=0), unsupervised(rotational_width=0)):
        assert torch.equal(model.fields(z)[1], torch.zeros(BATCH, FIELDS, DIM))
    assert (unsupervised().fields(z)[1].flatten(1).norm(dim=-1) > 0).all()


def test_configuration_of_another_mode_is_refused() -> None:
    with pytest.raises(TypeError, match="found UnsupervisedConfig, expected SupervisedConfig"):
        MODES["supervised"].build(UnsupervisedConfig(), IMAGE)
