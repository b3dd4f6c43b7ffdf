"""Presets and packaging: the files say what they should and reach the installed package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from cli_tools import ROOT

from cli import presets
from ffrl.config import DataConfig
from ffrl.core.registry import modules_in
from ffrl.data.catalogue import DATA_SETS, published_steps
from ffrl.training.config_io import config_from_dict, config_to_dict, flat
from stf.config import UnsupervisedConfig
from stf.registry import CONFIGS

MODES = [mode for mode in CONFIGS if mode not in modules_in("ffrl.models.baselines", "MODE")]
"""The modes that presets are made for; sizes of a baseline may not fit them."""
OF_OTHER_DATA = {"data.in-memory", "data.workers", "data.digits"}
"""Keys that mean nothing for the data set of the defaults, besides those of a section of their own."""


def test_a_folder_of_the_same_name_hides_no_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert presets.find("mnist").name == "mnist.toml"


def test_compact_writes_out_the_unsupervised_defaults():
    data = presets.read(presets.find("compact"))
    assert config_from_dict(UnsupervisedConfig, data, "compact", base=UnsupervisedConfig()) == UnsupervisedConfig()
    defaults = {key for key, value in flat(config_to_dict(UnsupervisedConfig())).items() if value is not None}
    elsewhere = {key for key in defaults if key.startswith("data.") and key.count(".") > 1} | OF_OTHER_DATA
    assert flat(data).keys() == defaults - elsewhere


@pytest.mark.parametrize("mode", MODES)
def test_mnist_fits_every_mode(mode):
    data = presets.read(presets.find("mnist"))
    config = config_from_dict(CONFIGS[mode], data, "mnist", base=CONFIGS[mode]())
    assert config.mode == mode
    assert (config.model.latent_dim, config.model.num_fields) == (324, 3)
    assert (config.batch_size, config.data.num_steps) == (128, 8)


@pytest.mark.parametrize("name", ["shapes3d", "falcor3d", "isaac3d"])
def test_presets_of_data_sets_have_the_published_numbers_of_fields_and_steps(name):
    data, known = presets.read(presets.find(name)), DATA_SETS[name]
    published = published_steps(DataConfig(name=name, root=Path("there")))
    assert (data["data"]["name"], data["data"]["num-steps"]) == (name, published)
    assert data["model"]["num-fields"] == len(known.transformations)


@pytest.mark.parametrize("name", presets.presets())
def test_every_preset_is_valid_in_the_mode_it_names_or_in_all(name):
    data = presets.read(presets.find(name))
    for mode in [data["mode"]] if "mode" in data else MODES:
        config_from_dict(CONFIGS[mode], data, name, base=CONFIGS[mode]())


def test_packages_are_those_that_exist():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    moved = {folder: package for package, folder in setuptools["package-dir"].items()}
    files = [file for top in ("ffrl", "stf", *moved) for file in (ROOT / top).rglob("__init__.py")]
    folders = [file.parent.relative_to(ROOT) for file in files]
    found = {moved.get(str(folder), ".".join(folder.parts)) for folder in folders}
    assert set(setuptools["packages"]) == found


def test_every_dependency_is_pinned_exactly():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    for requirement in [*project["dependencies"], *extras, "setuptools"]:
        assert re.split(r"[\[<>]", requirement)[0] in pins
