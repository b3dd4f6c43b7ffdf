"""The switches of the ablations: what each does to the unsupervised model, through the command line and by content."""

from __future__ import annotations

import json

import pytest
import torch
from cli_tools import SEARCH, TINY, complaint
from small_models import BATCH, DIM, FIELDS, STEPS, forward, frames_and_activity, sta, unsupervised
from visualize_tools import SparseData, texts, tiny_model

from cli.main import main
from ffrl.config import DataConfig, ModelConfig
from ffrl.core.errors import UserError
from ffrl.data.synthesis.activity_process import mixed_activity, switching_spikes
from ffrl.evaluation.likelihood.bounds import elbo, iwae
from ffrl.evaluation.likelihood.estimate import draw, log_weights
from ffrl.evaluation.likelihood.pixels import PixelLikelihood
from ffrl.objective.elbo import elbo_terms
from stf.fields.unconstrained import UnconstrainedFields
from stf.plot.compute.field_context import field_context, parts_of, plane_derivatives, plane_fields
from stf.plot.compute.observed import observe
from stf.plot.compute.roles import FieldRole
from stf.plot.fields.differential import draw_differential
from stf.report.field_captions import of_differential, of_parts
from stf.report.field_figures import field_exhibits
from stf.run import load

PAPER = {"bound": "paper", "density": "trace"}
MODELS = {
    "without-potentials": lambda: unsupervised(potential_width=0),
    "without-potentials-timed": lambda: unsupervised(PAPER, potential_width=0, time_dependent=True),
    "penalised": lambda: unsupervised(PAPER, divergence="penalised"),
    "penalised-timed-separate": lambda: unsupervised(divergence="penalised", time_dependent=True, control="separate"),
    "penalised-alone": lambda: unsupervised(divergence="penalised", potential_width=0),
    "unit": lambda: unsupervised(sparsity={"slab": "unit"}),
    "chainless": lambda: unsupervised(sparsity={"on_rate": 0.25, "off_rate": 0.75, "learn_rates": False}),
    "drawn-separate": lambda: unsupervised(joint={"activity": "draw"}, control="separate"),
    "without-agreement": lambda: unsupervised(joint={"agreement": 0.0}),
    "sta": sta,
    "sta-latents": lambda: sta(activity_from="latents", control="separate"),
}
every_model = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS.keys())


@every_model
def test_every_parameter_receives_a_gradient(build) -> None:
    model = build()
    frames, _ = frames_and_activity(model)
    for progress in (0.05, 0.9):
        elbo_terms(forward(model, frames, None, progress), frames, model.trained.objective)["loss"].backward()
    learned = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    for name, parameter in learned:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    assert all(parameter.numel() == 0 for parameter in model.parameters() if not parameter.requires_grad)


@every_model
def test_the_elbo_is_below_the_iwae(build) -> None:
    model = build().eval()
    frames, _ = frames_and_activity(model)
    likelihood = PixelLikelihood("laplace", 0.3)
    with torch.no_grad():
        draws = draw(model, frames, 64, torch.Generator().manual_seed(0))
        weights = log_weights(model, frames, draws, {"laplace": likelihood})
        total = weights.pixels["laplace"] + weights.latent
        assert (elbo(total, weights.log_case) < iwae(total, weights.log_case)).all()
        model, frames = model.double(), frames.double()
        if model.trained.mode == "sta":
            kl = model.activity_model.kl(model.activity_features(frames))
        else:
            model.activity_model.variance.mul_(6)  # so that no state is too rare to be drawn
            kl = sum(model.activity(frames).kl().values())
        means = model.encode(frames)
        log_ratio = model.draw_activity(frames, means, 20000, torch.Generator().manual_seed(1)).log_ratio[0]
    error = log_ratio.std(0) / 20000**0.5
    assert ((log_ratio.mean(0) + kl).abs() < 5 * error).all()


@every_model
def test_both_parts_of_the_fields_make_the_velocity(build) -> None:
    model = build()
    z, t = torch.randn(BATCH, DIM), 0.5
    gradient, rest = model.fields(z, t)
    g = torch.rand(BATCH, 1, model.num_controls)
    first, second = g[:, 0, :FIELDS], g[:, 0, -FIELDS:]
    units = model.field_model.units()
    expected = torch.einsum("bk,bkd->bd", first, gradient) + torch.einsum("bk,bkd->bd", second, rest)
    torch.testing.assert_close(units.velocity(z, g[:, 0], torch.tensor(t)), expected)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda z, g: units.velocity(z, g, torch.tensor(t))))(z, g[:, 0])
    trace = jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)
    change = model.log_density_change(z, g[:, 0], t, "trace")
    torch.testing.assert_close(change, -trace, atol=1e-5, rtol=1e-4)


def test_without_potentials_the_curl_free_part_is_zero() -> None:
    model, z = unsupervised(potential_width=0), torch.randn(BATCH, DIM)
    gradient, rotational = model.fields(z)
    assert torch.equal(gradient, torch.zeros(BATCH, FIELDS, DIM))
    assert rotational.abs().min() > 0
    assert torch.equal(model.field_model.potentials(z), torch.zeros(BATCH, FIELDS))
    curl_free, divergence_free = parts_of(model, 1)
    assert len(curl_free.weight) == 0 and len(divergence_free.weight) > 0
    g = torch.rand(BATCH, model.num_controls)
    assert model.log_density_change(z, g, method="trace").abs().max() == 0


def test_the_penalty_enters_the_loss_with_its_weight() -> None:
    losses, penalties = {}, {}
    for weight in (0.0, 1e3, 3e3):
        model = unsupervised(divergence="penalised", divergence_weight=weight)
        frames, _ = frames_and_activity(model)
        outputs = forward(model, frames, None)
        squared = model.field_model.rotational.divergence(outputs.latents[:, :-1]).square().sum(-1).mean(-1)
        if weight:
            torch.testing.assert_close(outputs.penalties["divergence"], weight * squared)
        terms = elbo_terms(outputs, frames, model.trained.objective)
        losses[weight], penalties[weight] = terms["loss"].item(), squared.mean().item() / (STEPS + 1)
        assert ("divergence" in terms) == (weight > 0)
    assert losses[1e3] - losses[0.0] == pytest.approx(1e3 * penalties[1e3], rel=1e-3)
    assert losses[3e3] - losses[0.0] == pytest.approx(3e3 * penalties[1e3], rel=1e-3)
    assert isinstance(unsupervised(divergence="penalised").field_model.rotational, UnconstrainedFields)
    assert "divergence" not in forward(unsupervised(), frames, None).penalties


def test_no_penalty_while_frames_stand_alone() -> None:
    model = unsupervised(divergence="penalised")
    frames, _ = frames_and_activity(model)
    assert forward(model, frames, None, 0.1).penalties == {}


def test_one_lane_of_activity_is_what_it_was() -> None:
    """Numbers of the random stream, as drawn before there could be several lanes."""
    spikes = switching_spikes((2, 6, 3), 0.85, 0.3, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    drawn, joining = torch.randint(3, (2, 2, 6), generator=generator)
    kept, joins = torch.rand((2, 2, 6), generator=generator)
    for b in range(2):
        acting = int(drawn[b, 0])
        for t in range(6):
            if t and kept[b, t] >= 0.85:
                acting = int(drawn[b, t])
            on = {acting} | ({int(joining[b, t])} if joins[b, t] < 0.3 else set())
            assert set(spikes[b, t].nonzero().flatten().tolist()) == on


@pytest.mark.parametrize("active", [1, 2, 3])
def test_lanes_act_independently_at_their_rates(active: int) -> None:
    count, size = 4, 6000
    spikes = switching_spikes((size, 9, count), 0.7, 0.0, torch.Generator().manual_seed(1), active)
    several = spikes.sum(-1)
    assert several.min() == 1 and several.max() == active
    share = 1 - (1 - 1 / count) ** active
    assert spikes.double().mean((0, 1)).tolist() == pytest.approx([share] * count, abs=0.02)
    again = (spikes[:, 1:] & spikes[:, :-1]).double().mean().item()  # on twice: 1 - 2 P(off) + P(off twice)
    off_twice = ((1 - 1 / count) * (0.7 + 0.3 * (1 - 1 / count))) ** active
    assert again == pytest.approx(1 - 2 * (1 - share) + off_twice, abs=0.02)
    joined = switching_spikes((size, 9, count), 0.7, 0.5, torch.Generator().manual_seed(1), active)
    assert (joined | spikes == joined).all()
    added = (joined & ~spikes).double().sum(-1).mean().item()
    assert added == pytest.approx(0.5 * (1 - 1 / count) ** active, abs=0.02)


def test_mixed_sequences_have_that_many_lanes() -> None:
    for active in (1, 3):
        config = DataConfig(active=active, overlap=0.0, stay=1.0)
        activity = mixed_activity(config, (500, 8, 5), False, torch.Generator().manual_seed(0))
        assert activity.sum(-1).max() == active


WRONG = {
    "--model.potential-width 0 --model.rotational-width 0": ["model.rotational-width", "above 0"],
    "--model.potential-width -1": ["model.potential-width", "at least 0"],
    "--model.potential-width 0 --model.time-dependent --objective.hj-weight 1": ["objective.hj-weight", "0 as"],
    "--model.potential-width 0 --model.control separate": ["model.control", "single"],
    "--model.rotational-width 0 --model.control separate": ["model.control", "single"],
    "--model.rotational-width 0 --model.divergence penalised": ["model.divergence", "exact"],
    "--model.rotational-width 7": ["model.rotational-width", "multiple"],
    "--model.divergence-weight -1": ["model.divergence-weight", "at least 0"],
    "--model.divergence soft": ["--model.divergence", "exact", "penalised"],
    "--sparsity.slab laplace": ["--sparsity.slab", "positive", "signed", "unit"],
    "--sparsity.most 0": ["sparsity.most", "at least 1"],
    "--sparsity.enumerated 0": ["sparsity.enumerated", "at least 1"],
    "--sparsity.slab-spread 0": ["sparsity.slab-spread", "above 0"],
    "--sparsity.on-rate 1": ["sparsity.on-rate", "probability"],
    "--discovery.fraction 0.75": ["discovery.fraction", "below 0.18", "fractions of still"],
    "--discovery.fraction 1": ["discovery.fraction", "[0, 1)"],
    "--rediscovery.fraction 1": ["rediscovery.fraction", "[0, 1)"],
    "--rediscovery.after -0.1": ["rediscovery.after", "[0, 1)"],
    "--still.fraction 0.9": ["still, rediscovery, refine", "sum to 1.18"],
    "--rediscovery.starts 0": ["rediscovery.starts", "at least 1"],
    "--rediscovery.fraction 0.3": ["discovery.fraction", "below 0.06"],
    "--discovery.rounds -1": ["discovery.rounds", "at least 0"],
    "--discovery.form 0": ["discovery.form", "at least 1"],
    "--discovery.temper 0": ["discovery.temper", "(0, 1]"],
    "--discovery.learning-rate 0": ["discovery.learning-rate", "above 0"],
    "--discovery.accept -1": ["discovery.accept", "at least 0"],
    "--joint.agreement -1": ["joint.agreement", "at least 0"],
    "--joint.activity mode": ["--joint.activity", "mean", "draw"],
    "--sparsity.prior dense": ["--sparsity.prior"],
    "--warmup.fraction 0": ["--warmup.fraction"],
    "--data.active 0": ["data.active", "at least 1"],
}


@pytest.mark.parametrize("flags", WRONG)
def test_wrong_combinations_are_one_line(capsys, flags: str) -> None:
    line = complaint(capsys, "train", "--mode", "unsupervised", *flags.split())
    for part in WRONG[flags]:
        assert part in line


def test_the_supervised_mode_needs_potentials(capsys) -> None:
    line = complaint(capsys, "train", "--mode", "supervised", "--model.potential-width", 0)
    assert "model.potential-width" in line and "at least 1" in line
    with pytest.raises(UserError):
        ModelConfig(potential_width=0)


SWITCHES = {
    "potential": "--model.potential-width=0 --model.time-dependent --objective.bound paper",
    "penalised": "--model.divergence penalised --objective.bound paper --objective.density trace",
    "several": "--data.active 3 --sparsity.most 2 --sparsity.slab signed --joint.activity draw",
    "without-discovery": "--discovery.fraction 0 --joint.agreement 0 --sparsity.slab unit",
    "expectation-maximisation-alone": "--discovery.rounds 0 --discovery.temper 1 --model.integrator euler",
}


@pytest.mark.parametrize("name", SWITCHES)
def test_forty_steps_of_every_switch_and_back_from_disk(capsys, tmp_path, name: str) -> None:
    sizes = ["--steps=40", "--model.rotational-width=4", "--model.rotational-rank=2"]
    flags = [*TINY, *SEARCH, *sizes, *SWITCHES[name].split()]
    assert main(["train", "--mode", "unsupervised", *flags, "--out", str(tmp_path / "run")]) == 0, (
        capsys.readouterr().err
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if "train/loss" in line][-1]
    assert train["step"] == 40 and train["skipped_steps"] == 0
    assert ("train/divergence" in train) == (name == "penalised")
    assert "train/kl_spike" in train and ("train/kl_slab" in train) == (name != "without-discovery")
    assert ("train/agreement" in train) == (name != "without-discovery")
    moves = {line["search"]["move"] for line in lines if "search" in line}
    assert {"start", "end"} <= moves if name != "without-discovery" else not moves
    assert name != "expectation-maximisation-alone" or moves <= {"start", "silent", "end"}
    model = load(tmp_path / "run")
    frames = torch.rand(2, 3, 3, 28, 28)
    speeds = model.infer(frames)
    assert speeds.shape == (2, 2, 3) and speeds.isfinite().all()
    assert model.flow(model.encode(frames[:, 0]), speeds).isfinite().all()


def test_figures_say_what_became_of_the_parts() -> None:
    roles = [FieldRole(0, 0, "scaling"), FieldRole(1, silent=True), FieldRole(2, silent=True)]
    usual, alone, penalised = tiny_model(), tiny_model(potential_width=0), tiny_model(divergence="penalised")
    assert of_parts(usual) == "" and "no curl-free part" in of_parts(alone) and "penalised" in of_parts(penalised)
    data = SparseData()
    batch = data.mixed("validation", torch.arange(6), torch.Generator().manual_seed(0))
    for model, exact in ((usual, True), (alone, True), (penalised, False)):
        with torch.no_grad():
            observed = observe(model, [batch])
            context = field_context(model, data, observed, "validation", "pca", 0, roles)
        planes = plane_derivatives(context, plane_fields(context, roles))
        assert ("penalised" in of_differential(planes)) != exact
        said = texts(draw_differential(planes, roles))
        assert ("r turns but never compresses" in said) == exact
        assert said.count("zero: at most") == 1 + exact
    with torch.no_grad():
        drawn = [exhibit.name for exhibit in field_exhibits(alone, data, observe(alone, [batch]), roles, "validation")]
    assert drawn == ["field-planes", "composition", "helmholtz", "differential"]
