"""From arrays to a run, its measures and figures, and back from its folder, in Python alone."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from bars import HEIGHT, NAMES, STEPS, WIDTH, bars
from torch import nn

import stf
from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from stf.api import configure

SMALL = {"batch_size": 8, "model": {"width": 32, "depth": 1, "num_fields": 4, "latent_dim": 8}, "quiet": True}


@pytest.fixture(scope="module")
def given():
    return bars(60)


@pytest.fixture(scope="module")
def told() -> list:
    return []


@pytest.fixture(scope="module")
def run(given, told, tmp_path_factory):
    frames, activity = given
    data = stf.data.arrays(frames, activity, transformations=NAMES)
    out = tmp_path_factory.mktemp("runs") / "bars"
    return stf.fit(data, steps=40, out=out, callbacks=[lambda *entry: told.append(entry)], **SMALL)


def clips(frames: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(frames)[:, :, None]


def test_a_run_is_loaded_back_without_its_data(run, given):
    assert run.step == 40 and run.finished and run.spec.image_shape == (1, HEIGHT, WIDTH)
    x = clips(given[0][:5])
    again = stf.load(run.path)
    assert torch.equal(again.infer(x), run.model.infer(x)) and again.infer(x).shape == (5, STEPS, 4)
    longer = clips(bars(2, seed=1, steps=9)[0])
    assert again.infer(longer).shape == (2, 9, 4), "T at inference is any"
    opened = stf.Run.open(run.path)
    with pytest.raises(UserError, match="whose sequences were in memory, expected them to be given from Python"):
        opened.evaluate()
    assert json.loads((run.path / "run.json").read_text())["data"]["transformations"] == list(NAMES)


def test_true_activity_is_matched_with_fields(run, given):
    found = run.evaluate(sequences=10)
    assert set(found["alignment"]["transformations"]) == set(NAMES) and found["data"]["image_shape"] == [1, 12, 20]
    assert "equivariance" not in found and "fields" not in found and found["likelihood"]
    frames, activity = given
    fresh = stf.data.arrays(frames, activity, validation=bars(12, seed=5), transformations=NAMES)
    assert stf.evaluate(run, sequences=None)["sequences"] == 12
    assert stf.Run.open(run.path).evaluate(fresh)["sequences"] == 12


def test_data_without_activity_are_described_by_their_fields(run, given):
    found = run.evaluate(stf.data.arrays(given[0]), sequences=10)
    assert len(found["fields"]) == 4 and "alignment" not in found


def test_figures_and_the_report(run, tmp_path):
    figures = stf.figures(run)
    assert {"overview", "alignment", "raster"} <= set(figures) and figures["overview"].axes
    written = run.report(tmp_path, motion="none")
    assert written[-1].name == "report.html" and "translation" in written[-1].read_text()


def test_callbacks_are_told_of_numbers_and_moves(run, told):
    metrics = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [{"step": step, **entry} for step, entry in told] == metrics
    assert any("search" in entry for _, entry in told) and any("train/loss" in entry for _, entry in told)


def test_exported_programs_do_what_the_model_does(run, tmp_path, given):
    assert [path.name for path in run.export(tmp_path / "made")] == ["encoder.pt2", "flow.pt2", "decoder.pt2"]
    encoder, flow, decoder = (torch.export.load(path).module() for path in sorted(
        (tmp_path / "made").iterdir(), key=lambda path: ["encoder", "flow", "decoder"].index(path.stem)
    ))  # fmt: skip
    x, model = clips(given[0][:7]), run.model
    with torch.no_grad():
        mean, _ = encoder(x[:, 0])
        g = model.infer(x)
        assert torch.allclose(mean, model.encode(x[:, 0]), atol=1e-5)
        assert torch.allclose(decoder(flow(mean, g)[:, -1]), model.decode(model.flow(mean, g)[:, -1]), atol=1e-5)


class Encoder(nn.Module):
    """A convolution and a product, to 2 x 6 numbers."""

    def __init__(self, outputs: int = 12) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 6 * 10, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class Changed(Encoder):
    """The same, and what a function makes of it."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(super().forward(x))


class Decoder(nn.Sequential):
    """Two products."""

    def __init__(self, inputs: int = 6) -> None:
        super().__init__(nn.Linear(inputs, 32), nn.SiLU(), nn.Linear(32, 240), nn.Unflatten(1, (1, HEIGHT, WIDTH)))


def test_own_encoder_and_decoder(given, tmp_path):
    made = stf.fit(
        given[0], steps=20, out=tmp_path / "own", encoder=Encoder(), decoder=Decoder(), batch_size=8, quiet=True
    )
    assert made.model.latent_dim == 6 and made.evaluate(sequences=5)["model"]["latent_dim"] == 6
    x = clips(given[0][:3])
    again = stf.load(made.path, encoder=Encoder(), decoder=Decoder())
    assert torch.equal(again.encode(x), made.model.encode(x)) and isinstance(again.encoder, Encoder)
    with pytest.raises(UserError, match="^encoder: found none, expected .*Encoder, as .*run.json says"):
        stf.load(made.path, decoder=Decoder())
    with pytest.raises(UserError, match="weights|tensor"):
        stf.load(made.path, encoder=Encoder(12), decoder=nn.Sequential(Decoder()))
    with pytest.raises(UserError, match="^decoder: found outputs of shape .* expected"):
        stf.fit(given[0], out=tmp_path / "no", decoder=nn.Linear(48, 5), quiet=True)
    with pytest.raises(UserError, match="^decoder: found that it fails on an input of shape"):
        stf.fit(given[0], out=tmp_path / "no", decoder=Decoder(7), quiet=True)
    with pytest.raises(UserError, match="^encoder: found that it fails on an input of shape"):
        stf.fit(given[0], out=tmp_path / "no", encoder=nn.Linear(7, 12), quiet=True)
    for wrong, message in (
        (lambda y: y[:1], r"found outputs of shape \(1, 12\) for two inputs, expected \(2, ...\)"),
        (lambda y: y.int(), "found outputs of torch.int32 on cpu, expected real ones on cpu"),
        (lambda y: y.to("meta"), "found outputs of torch.float32 on meta, expected real ones on cpu"),
        (lambda y: 1 / 0, r"found that it fails on an input of shape \(2, .*: division by zero"),
    ):
        with pytest.raises(UserError, match=f"^encoder: {message}"):
            stf.fit(given[0], out=tmp_path / "no", encoder=Changed(wrong), quiet=True)
    with pytest.raises(UserError, match="^encoder: found 'str', expected a torch.nn.Module"):
        stf.fit(given[0], out=tmp_path / "no", encoder="conv", quiet=True)
    assert not (tmp_path / "no").exists()


def test_own_modules_stay_trainable_and_are_not_those_of_the_run(given, tmp_path):
    encoder, decoder = Encoder(), Decoder()
    own = dict(encoder=encoder, decoder=decoder, batch_size=8, quiet=True)
    made = stf.fit(given[0], steps=4, out=tmp_path / "own", **own)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    x, codes = clips(given[0][:3]), made.model.encode(clips(given[0][:3]))
    assert all(parameter.requires_grad for parameter in (*encoder.parameters(), *decoder.parameters()))
    stf.fit(given[0], steps=8, out=tmp_path / "own", resume=True, **own)
    assert not any(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(made.model.encode(x), codes)


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), MemoryError()])
def test_a_callback_that_fails_ends_with_a_checkpoint(given, tmp_path, error):
    def fails(step: int, entry: dict) -> None:
        entry.clear()  # which is a copy
        raise error

    settings = dict(out=tmp_path / "run", steps=6, log_every=2, **SMALL)
    kind, message = (
        (KeyboardInterrupt, None) if isinstance(error, KeyboardInterrupt) else (UserError, "^callback fails: ")
    )
    with pytest.raises(kind, match=message):
        stf.fit(given[0], callbacks=[fails], **settings)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000002"]
    assert stf.fit(given[0], resume=True, callbacks=None, **settings).finished


def test_what_is_no_callback_is_one_line(given, tmp_path):
    for wrong in (print, [3]):
        with pytest.raises(UserError, match="^callbacks: found .*, expected a list of functions"):
            stf.fit(given[0], out=tmp_path / "run", callbacks=wrong, **SMALL)
    with pytest.raises(UserError, match="^out: found None, expected the folder of the run to resume"):
        stf.fit(given[0], resume=True, **SMALL)
    assert not (tmp_path / "run").exists()


def test_an_encoder_without_variances(given, tmp_path):
    made = stf.fit(given[0], "msp", steps=4, out=tmp_path / "msp", encoder=Encoder(256), batch_size=8, quiet=True)
    assert made.model.latent_dim == 256


def test_a_run_can_start_from_another(run, given, tmp_path):
    data = stf.data.arrays(given[0], given[1], transformations=NAMES)
    tuned = stf.fit(data, steps=5, out=tmp_path / "tuned", init=run, **SMALL)
    assert [phase.name for phase in tuned.config.schedule if phase.fraction] == ["joint", "refine"]
    assert tuned.model.fields_alive == run.model.fields_alive
    before, after = run.model.state_dict(), tuned.model.state_dict()
    moved = [float((after[k] - before[k]).abs().max()) for k in before if k.startswith("decoder") and "weight" in k]
    assert 0 < max(moved) < 0.05, "it goes on from the weights of the other one"
    again = stf.fit(data, steps=5, out=tmp_path / "tuned", init=str(run.path), resume=True, **SMALL)
    assert again.step == 5


def test_known_activity_trains_the_supervised_mode(given, tmp_path):
    data = stf.data.arrays(*given, transformations=NAMES)
    small = SMALL | {"model": SMALL["model"] | {"num_fields": 3}}
    made = stf.fit(data, "supervised", steps=20, out=tmp_path / "told", **small)
    assert made.evaluate(sequences=5)["prediction"]["activity"] == "given"
    with pytest.raises(UserError, match="data whose transformations are known"):
        stf.fit(stf.data.arrays(given[0]), "supervised", out=tmp_path / "no", quiet=True)


def test_a_resumed_run_has_to_have_the_same_shape(run):
    other = stf.data.arrays(bars(20)[0][:, :, :, :16])
    with pytest.raises(UserError, match=r"found frames of \(1, 12, 16\), expected \(1, 12, 20\)"):
        stf.fit(other, steps=40, out=run.path, resume=True, **SMALL)


def test_data_sets_by_name(tmp_path):
    made = stf.fit("mnist", "weak", steps=4, out=tmp_path / "digits", **SMALL)
    assert stf.Run.open(made.path).data.name == "mnist"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stepps": 3}, "settings: found unknown key 'stepps', nearest known key 'steps'"),
        ({"model": {"num_fields": 0}}, "model.num-fields: found 0, expected an integer of at least 1"),
        ({"sparsity": 3}, "settings: sparsity: found 3, expected a section"),
    ],
)
def test_wrong_settings_are_one_line(settings, message):
    with pytest.raises(UserError, match=message) as error:
        configure("unsupervised", settings)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="mode: found 'magic'"):
        configure("magic", {})


def test_defaults_follow_the_data_in_the_settings():
    sequences = DataConfig(name="sequences")
    small = {"data": {"num-steps": 8, "sequences": {"size": 32}}}
    assert configure("unsupervised", {}, sequences).model.architecture == "conv-coarse"
    assert configure("unsupervised", small, sequences).model.architecture == "mlp"
    assert configure("unsupervised", {"data": {"name": "shapes3d"}}).data.num_steps == 7
    assert configure("unsupervised", small | {"data": {"name": "shapes3d", "num_steps": 8}}).data.num_steps == 8


def test_what_there_is_to_see():
    assert {"fit", "load", "evaluate", "figures", "data", "Run"} <= set(dir(stf))
    assert all(getattr(stf, name) is not None for name in dir(stf))


def test_data_without_any_motion_end_in_a_plain_statement(tmp_path):
    still = np.repeat(np.random.default_rng(0).random((20, 1, HEIGHT, WIDTH), dtype=np.float32), 4, axis=1)
    made = stf.fit(still, steps=40, out=tmp_path / "still", **SMALL)
    assert all(one["silent"] for one in made.evaluate()["fields"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = made.report(tmp_path / "report", motion="none")[-1].read_text()
    assert "All fields are silent" in text or "no field" in text.lower()


def test_dotted_settings_decide_on_the_defaults_as_sections_do() -> None:
    sections = {"data": {"name": "sequences", "sequences": {"size": 64}}}
    dotted = configure("unsupervised", {"data.name": "sequences", "data.sequences.size": 64})
    assert dotted == configure("unsupervised", sections)
    assert dotted.model.architecture == "conv-coarse"
