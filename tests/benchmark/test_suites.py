"""Suites and cells: every command of every suite is one that ``stf`` takes."""

from __future__ import annotations

import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from cli import presets
from cli.flags import flags_of, split
from cli.train import Launch, configure
from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.evaluation.protocol.published import MNIST, SHAPES3D
from ffrl.training.config_io import config_from_dict
from stf.benchmark.run.cell import Cell, Settings, cells
from stf.benchmark.suites import SUITES, find_suite
from stf.registry import CONFIGS, default_config

every_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))


def whole(suite, root=Path("root")):
    """All cells of a suite."""
    return cells(suite, suite.models, suite.seeds, Settings(suite.steps, None, suite.sequences, root), Path("o u t"))[0]


@cache
def known_flags(mode):
    """The flags of a mode."""
    return flags_of(CONFIGS[mode])


def value_of(hint, text):
    """The value that a flag of a type has."""
    options = [option for option in (*get_args(hint), hint) if option in (int, float)]
    return options[0](text) if options else text


def setting(name, flag, text):
    """The flag of a setting and its value; of a switch that turns something off, that of what it turns off."""
    if flag.hint is bool:
        off = name.rpartition(".")[2].startswith("no-")
        return (flag.opposite, False) if off else (name, True)
    return name, value_of(flag.hint, text)


def nested(flags):
    """Flags as the sections of a configuration file."""
    result = {}
    for flag, value in flags.items():
        *sections, name = flag.removeprefix("--").split(".")
        here = result
        for section in sections:
            here = here.setdefault(section, {})
        here[name] = value
    return result


@every_suite
def test_every_cell_is_a_training_that_stf_takes(suite):
    for cell in whole(suite):
        command, word, *arguments = shlex.split(cell.commands()["train"])
        assert (command, word) == ("stf", "train")
        mode = arguments[arguments.index("--mode") + 1]
        known = known_flags(mode) | flags_of(Launch)
        given = split(arguments, known).flags
        preset = given.pop("--config", None)
        if preset is not None:
            assert presets.read(presets.find(preset))["mode"] == mode
        assert given.pop("--mode") == mode
        values = nested(dict(setting(flag, known[flag], text) for flag, text in given.items()))
        base = default_config(mode, DataConfig(name=given["--data.name"]))
        config = config_from_dict(CONFIGS[mode], values, "flags", base)
        assert (config.seed, config.steps, config.out) == (cell.seed, suite.steps, cell.run)
        assert config.data.root == Path("root") and config.keep_checkpoints == 2 * suite.points
        assert -(-config.steps // config.checkpoint_every) <= suite.points


@every_suite
def test_labels_and_cells_are_different(suite):
    grid = whole(suite)
    assert len({cell.name for cell in grid}) == len(grid) == len(suite.models) * len(suite.data) * len(suite.seeds)
    assert len({model.title for model in suite.models}) == len(suite.models)
    assert len({tuple(cell.train()[: cell.train().index("--seed")]) for cell in grid}) == len(grid) // len(suite.seeds)


def test_the_suites_of_the_published_tables_have_their_methods_and_more():
    for name, table in (("mnist-table1", MNIST), ("shapes3d-table2", SHAPES3D)):
        methods = {model.published for model in SUITES[name].models}
        assert {row.method for row in table.rows} == methods - {""}
        more = {model.label for model in SUITES[name].models if not model.published}
        assert more == {"msp", "sta", "stf-weak", "unsupervised"}


def test_the_published_size_is_that_of_every_model():
    suite, small = SUITES["mnist-published-size"], SUITES["mnist-table1"]
    assert [model.title for model in suite.models] == [model.title for model in small.models]
    for cell in whole(suite):
        line = " ".join(cell.train())
        assert line.count("--model.latent-dim 324") == line.count("--batch-size 128") == 1


def test_ablations_cover_what_was_asked_for():
    flags = [" ".join(model.flags) for model in SUITES["ablations"].models]
    for wanted in (
        ["--model.rotational-width 0", "--model.potential-width 0", "--model.divergence penalised"]
        + ["--sparsity.on-rate 0.25 --sparsity.off-rate 0.75 --sparsity.no-learn-rates", "--sparsity.no-learn-rates"]
        + ["--sparsity.slab unit", "--discovery.rounds 0", "--discovery.fraction 0", "--joint.agreement 0"]
        + ["--discovery.temper 1 --discovery.trial-temper 1", "--joint.activity draw", "--model.control separate"]
        + ["--model.integrator euler", "--model.integrator midpoint"]
        + [f"--model.num-fields {k}" for k in (1, 2, 3, 4, 8, 12, 16)]
        + [f"--data.active {n}" for n in (2, 3)]
        + [f"--objective.bound paper --objective.density {density}" for density in ("trace", "exact")]
    ):
        assert f"--mode unsupervised {wanted}" in flags, wanted
    default = default_config("unsupervised")
    assert flags[0] == "--mode unsupervised" and (default.model.num_fields, default.data.active) == (6, 1)


def test_sizes_that_are_not_in_the_package_need_a_root():
    suite = SUITES["sample-efficiency"]
    settings = Settings(100, None, 50)
    grid, left_out = cells(suite, suite.models[:1], [0], settings, Path("out"))
    assert [cell.data.label for cell in grid] == ["mnist-1000", "mnist-5000", "mnist-8000"]
    assert left_out == ["mnist-10000", "mnist-48000"]
    assert {cell.data.label for cell in whole(suite)} >= set(left_out)


def cell_of(settings, suite="smoke"):
    """The first cell of a suite."""
    suite = SUITES[suite]
    return Cell(suite, suite.models[0], suite.data[0], 5, settings, Path("out"))


def test_the_commands_of_a_cell():
    cell = cell_of(Settings(100, None, 7, Path("da ta"), "cuda"), "mnist-table1")
    assert cell.commands() == {
        "train": "stf train --mode vae --data.name mnist --data.root 'da ta' --device cuda --steps 100 --seed 5 "
        "--checkpoint-every 13 --keep-checkpoints 16 --out out/runs/vae-mnist-seed5",
        "evaluate": "stf evaluate out/runs/vae-mnist-seed5 --sequences 7 "
        "--json out/runs/vae-mnist-seed5/evaluation.json --codes --device cuda",
    }
    assert cell.resume() == ["train", "--resume", "out/runs/vae-mnist-seed5", "--device", "cuda"]
    assert "--codes" not in cell_of(Settings(1, None, 7, codes=False), "mnist-table1").evaluate()
    assert cell.last_checkpoint == Path("out/runs/vae-mnist-seed5/checkpoints/step-00000100")
    dashed = replace(cell, out=Path("-b"))
    assert dashed.evaluate()[1] == "./-b/runs/vae-mnist-seed5" and dashed.resume()[2] == dashed.train()[-1]
    assert dashed.train()[-1] == "./-b/runs/vae-mnist-seed5"


def test_flags_of_a_variant_win_over_those_of_the_suite():
    suite = replace(SUITES["smoke"], train=("--model.num-fields", "5"))
    model = replace(suite.models[0], flags=("--mode", "unsupervised", "--model.num-fields", "2"))
    words = Cell(suite, model, suite.data[0], 5, Settings(8, None, 7), Path("out")).train()
    assert words.index("--mode") == 1 and words.index("--model.num-fields") < words.index("--steps")
    assert configure(words[1:]).model.num_fields == 2


def test_steps_that_follow_from_a_budget_are_not_known_yet():
    cell = cell_of(Settings(None, 60.0, 7))
    assert "--steps STEPS" in cell.commands()["train"]
    assert "--steps 80" in " ".join(cell.trial()) and "out/trials/vae-mnist" in cell.trial()
    assert "--steps 500" in cell.with_steps(500).commands()["train"]


def test_names_are_looked_up_with_the_nearest_in_mind():
    with pytest.raises(UserError, match="unknown suite 'ablation', did you mean 'ablations'"):
        find_suite("ablation")
    with pytest.raises(UserError, match="unknown label 'stf', did you mean"):
        SUITES["smoke"].choose(["stf"])
    with pytest.raises(UserError, match="--only: found 'no label'"):
        SUITES["smoke"].choose([""])
    assert [model.label for model in SUITES["mnist-table1"].choose(["sta", "vae"])] == ["vae", "sta"]
