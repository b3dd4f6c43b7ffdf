"""What is known of the data sets without reading them, and the defaults that follow from it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ffrl.config import ClipsConfig, DataConfig, RenderedConfig
from ffrl.core.errors import UserError
from ffrl.data import image_shape, load
from ffrl.data.catalogue import DATA_SETS, published_steps, transformations
from stf.registry import CONFIGS, default_config

PUBLISHED = {"mnist": (3, 8), "shapes3d": (5, 7), "falcor3d": (7, 8), "isaac3d": (8, 8)}
"""K and T of the published protocols; of falcor3d and isaac3d, T of rendered sequences."""


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("mode", CONFIGS)
def test_defaults_are_published_sizes_with_fields_to_spare_where_nothing_is_known(name, mode):
    config = default_config(mode, DataConfig(name=name))
    fields, steps = PUBLISHED[name]
    assert config.data.name == name and config.data.num_steps == steps
    assert config.model.num_fields == fields + (3 if mode in ("unsupervised", "weak", "sta") else 0)


def test_large_images_get_an_encoder_of_their_own():
    small, large = (default_config("weak", DataConfig(name=name)) for name in ("mnist", "isaac3d"))
    assert (small.model.architecture, small.batch_size) == ("mlp", 64)
    assert (large.model.architecture, large.model.width, large.batch_size) == ("conv-coarse", 32, 32)
    assert (small.steps, large.steps) == (8500, 10500)
    assert [default_config(mode, DataConfig(name="isaac3d")).steps for mode in ("vae", "sta")] == [4000, 4000]


def test_black_frames_get_a_likelihood_that_sees_the_digits():
    likelihoods = {name: default_config("weak", DataConfig(name=name)).objective.likelihood for name in DATA_SETS}
    others = {name: likelihood for name, likelihood in likelihoods.items() if likelihood != "laplace"}
    assert others == {"moving-mnist": "bernoulli", "poses": "gaussian", "vectors": "gaussian"}


def test_mnist_defaults_are_those_of_the_modes():
    assert all(default_config(mode) == config() for mode, config in CONFIGS.items())


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_data_set_has_a_home(name):
    module, _, attribute = DATA_SETS[name].home.partition(":")
    assert callable(getattr(import_module(module), attribute))


def test_unknown_transformations_rule_out_supervision():
    data = DataConfig(name="sequences")
    assert default_config("weak", data).model.num_fields == CONFIGS["weak"]().model.num_fields
    with pytest.raises(UserError, match="^data.name: found 'sequences', expected data whose transformations are known"):
        default_config("supervised", data)


def test_image_shapes_follow_the_configuration():
    there = DataConfig(name="falcor3d", root=Path("there"))
    assert image_shape(there) == (3, 128, 128) and published_steps(there) == 4
    assert default_config("weak", there).data.num_steps == 4
    assert image_shape(DataConfig(name="falcor3d", rendered=RenderedConfig(size=96))) == (3, 96, 96)
    assert image_shape(DataConfig(name="sequences", sequences=ClipsConfig(size=96))) == (3, 96, 96)


def test_several_digits_have_transformations_of_their_own():
    names = transformations(DataConfig(name="moving-mnist", digits=2))
    assert names == ("1-right", "1-left", "1-down", "1-up", "2-right", "2-left", "2-down", "2-up")
    assert default_config("supervised", DataConfig(name="moving-mnist", digits=2)).model.num_fields == 8


def test_only_mnist_is_downloaded_by_training(tmp_path):
    with pytest.raises(UserError, match="^data.download: found True, expected no such flag: stf data fetch falcor3d"):
        load(DataConfig(name="falcor3d", root=tmp_path, download=True))


def test_the_catalogue_imports_nothing_heavy():
    code = "import sys, ffrl.data.catalogue, stf.registry; print(any(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
