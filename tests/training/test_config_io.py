"""Configurations survive a round trip, and every damage of a file is one line."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from engine_tiny import MODES, tiny_config

from ffrl.config import DataConfig, ModelConfig, RunConfig, SupervisedConfig
from ffrl.core.errors import UserError
from ffrl.training.config_io import config_from_dict, config_to_dict, read_config, write_config
from stf.config import SparseModelConfig, UnsupervisedConfig


@pytest.mark.parametrize("mode", MODES)
def test_round_trip_through_a_file(tmp_path, mode):
    config = tiny_config(mode, out=Path("runs/one"), data=DataConfig(root=Path("/data"), num_steps=3), compile=True)
    write_config(config, tmp_path / "config.json")
    loaded = read_config(tmp_path / "config.json", MODES)
    assert loaded == config and type(loaded) is MODES[mode]
    assert isinstance(loaded.out, Path) and isinstance(loaded.data.root, Path)


def test_the_file_names_package_version_and_mode(tmp_path):
    write_config(tiny_config(), tmp_path / "config.json")
    data = json.loads((tmp_path / "config.json").read_bytes())
    assert data["package"] == "sparse-transformation-flow"
    assert data["format_version"] == 1
    assert data["mode"] == "unsupervised"
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_missing_keys_keep_the_values_of_the_base():
    base = UnsupervisedConfig(steps=7, model=SparseModelConfig(num_fields=9, width=33))
    data = {"batch-size": 5, "model": {"num-fields": 4, "latent_dim": 2}}
    config = config_from_dict(UnsupervisedConfig, data, "run.toml", base=base)
    assert config == replace(base, batch_size=5, model=replace(base.model, num_fields=4, latent_dim=2))


def test_whole_numbers_are_numbers():
    config = config_from_dict(SupervisedConfig, {"optimizer": {"learning-rate": 1}}, "x", base=SupervisedConfig())
    assert config.optimizer.learning_rate == 1.0 and isinstance(config.optimizer.learning_rate, float)


def test_numbers_of_numpy_are_numbers():
    data = {"steps": np.int64(7), "optimizer": {"learning-rate": np.float32(0.5)}}
    config = config_from_dict(SupervisedConfig, data, "x", base=SupervisedConfig())
    assert type(config.steps) is int and config.steps == 7
    assert type(config.optimizer.learning_rate) is float and config.optimizer.learning_rate == 0.5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"step": 3}, "run.toml: found unknown key 'step', nearest known key 'steps'"),
        (
            {"model": {"num_field": 3}},
            "run.toml: found unknown key 'model.num_field', nearest known key 'model.num-fields'",
        ),
        ({"steps": 3.5}, "run.toml: steps: found 3.5, expected an integer"),
        ({"steps": True}, "run.toml: steps: found True, expected an integer"),
        ({"steps": "3"}, "run.toml: steps: found '3', expected an integer"),
        ({"compile": 1}, "run.toml: compile: found 1, expected true or false"),
        (
            {"optimizer": {"learning-rate": True}},
            "run.toml: optimizer.learning-rate: found True, expected a number",
        ),
        ({"data": {"root": 3}}, "run.toml: data.root: found 3, expected a path"),
        ({"data": 3}, "run.toml: data: found 3, expected a section"),
        ({"device": "gpu"}, "run.toml: device: found 'gpu', expected auto, cpu, cuda, cuda:N or mps"),
        ({"mode": "weak"}, "run.toml: mode: found 'weak', expected 'supervised'"),
        ({"steps": 0}, "run.toml: steps: found 0, expected an integer of at least 1"),
        ({"batch-size": 1, "batch_size": 2}, "run.toml: found key 'batch-size' twice, expected it once"),
        (
            {"model": {"width": 0}},
            "run.toml: model.width: found 0, expected an integer of at least 1",
        ),
    ],
)
def test_bad_values_are_one_line(data, message):
    with pytest.raises(UserError) as error:
        config_from_dict(SupervisedConfig, data, "run.toml", base=SupervisedConfig())
    assert str(error.value) == message


def test_missing_keys_without_a_base_are_one_line():
    data = config_to_dict(SupervisedConfig())
    del data["model"]["width"]
    with pytest.raises(UserError) as error:
        config_from_dict(SupervisedConfig, data, "config.json")
    assert str(error.value) == "config.json: found no key 'model.width', expected one"


def edited(**changes):
    def edit(data: dict) -> bytes:
        return json.dumps({k: v for k, v in {**data, **changes}.items() if v is not ...}).encode()

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: json.dumps(data).encode()[:-9], "found no valid JSON"),
        (lambda data: b"\xff\xfe\xff", "found UTF-16 or UTF-32, expected UTF-8"),
        (lambda data: b"[]", "found a JSON list, expected a JSON object"),
        (edited(package="zuko"), "found package 'zuko', expected 'sparse-transformation-flow'"),
        (edited(package=...), "found package None"),
        (edited(format_version=2), "found format_version 2, expected 1"),
        (edited(mode="wild"), "found mode 'wild', expected one of 'supervised', 'weak', 'unsupervised'"),
        (edited(mode=["weak"]), "found mode ['weak']"),
        (edited(seed=...), "found no key 'seed', expected one"),
        (edited(sneed=1), "found unknown key 'sneed', nearest known key 'seed'"),
    ],
)
def test_damaged_files_are_one_line(tmp_path, edit, message):
    path = tmp_path / "config.json"
    write_config(tiny_config(), path)
    path.write_bytes(edit(json.loads(path.read_bytes())))
    with pytest.raises(UserError) as error:
        read_config(path, MODES)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_an_earlier_version_has_the_defaults_of_the_keys_it_lacks(tmp_path, capsys):
    path, config = tmp_path / "config.json", tiny_config(seed=5)
    write_config(config, path)
    data = json.loads(path.read_bytes())
    del data["log_every"], data["data"]["stay"]
    path.write_text(json.dumps(data))
    found = read_config(path, MODES, earlier=True)
    plain = MODES[config.mode]()
    assert found == replace(config, log_every=plain.log_every, data=replace(config.data, stay=plain.data.stay))
    line = (
        f"warning: {path}: found no key 'data.stay' and 1 more, as in runs of earlier versions; taking the defaults\n"
    )
    assert capsys.readouterr().err == line
    with pytest.raises(UserError, match="found no key 'data.stay', expected one"):
        read_config(path, MODES)
    data["sneed"] = 1
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match="unknown key 'sneed'"):
        read_config(path, MODES, earlier=True)


def test_an_absent_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match="^cannot read .*config.json: No such file"):
        read_config(tmp_path / "config.json", MODES)


def test_fields_of_an_unsupported_type_are_a_programming_error():
    @dataclass(frozen=True)
    class Odd:
        values: list[int]

    Odd.__annotations__["values"] = list
    with pytest.raises(TypeError, match="not supported"):
        config_from_dict(Odd, {"values": [1]}, "x")


def test_every_field_of_every_configuration_is_supported():
    for cls in (*MODES.values(), RunConfig, ModelConfig):
        assert config_from_dict(cls, config_to_dict(cls()), "x") == cls()


def test_sections_may_be_mappings_or_dotted_names():
    values = {"data.sequences.size": 32, "data": {"num-steps": 3}, "data.sequences": {"stride": 2}, "steps": 5}
    config = config_from_dict(RunConfig, values, "settings", base=RunConfig())
    assert (config.steps, config.data.num_steps) == (5, 3)
    assert (config.data.sequences.size, config.data.sequences.stride) == (32, 2)
    with pytest.raises(UserError, match="^settings: found unknown key 'data.sequences.sise'"):
        config_from_dict(RunConfig, {"data.sequences.sise": 3}, "settings", base=RunConfig())
    with pytest.raises(UserError, match="^settings: steps: found {'x': 3}, expected an integer"):
        config_from_dict(RunConfig, {"steps.x": 3}, "settings", base=RunConfig())
