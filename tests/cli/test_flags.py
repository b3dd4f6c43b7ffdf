"""Flags of dataclasses: every one reaches its field, and every mistake is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cli.flags import Arguments, Flag, build, describe, flags_of, names_of, nearest, split
from cli.train import CONFIGS
from ffrl.core.errors import UserError
from ffrl.training.config_io import config_to_dict, flat
from stf.config import UnsupervisedConfig

KNOWN = {"--steps": Flag(int), "--rate": Flag(float), "--amp": Flag(bool, "--no-amp"), "--no-amp": Flag(bool, "--amp")}


VALID = {"--data.sequences.range": "own", "--data.sequences.background": "white", "--data.sequences.follow": 9}
VALID |= {"--data.sequences.fps": 0.0}
"""Values of flags that take no others, or none other beside the rest."""


def changed(hint, value):
    """Return another value that a flag of this type accepts."""
    if names_of(hint):
        return next((option for option in names_of(hint) if option != value), value)
    if hint is bool:
        return not value
    if hint is int:
        return value + 1
    if hint == int | None:
        return 7
    if hint is float:
        return value / 2 + 0.05
    if hint == float | None:
        return 0.25
    return "somewhere"


@pytest.mark.parametrize("mode", sorted(set(CONFIGS) - {"tvae", "poflow", "msp"}))  # theirs depend on each other
def test_every_flag_reaches_its_field(mode):
    default = CONFIGS[mode]()
    default = replace(default, model=replace(default.model, time_dependent=False))  # other values need it switched on
    if mode == "sta":  # its divergence is the other one
        default = replace(default, model=replace(default.model, divergence="exact"))
    values = flat(config_to_dict(default))
    flags, expected = {}, {}
    for name, flag in flags_of(CONFIGS[mode]).items():
        if name in VALID:
            flags[name], expected[name[2:]] = str(VALID[name]), VALID[name]
            continue
        if name[2:] not in values:  # the flag that turns a switch off
            assert flag.opposite in flags or flag.opposite[2:] in values
            continue
        stays = name == "--model.fields" or (mode, name) == ("weak", "--model.control")
        new = values[name[2:]] if stays else changed(flag.hint, values[name[2:]])
        expected[name[2:]] = new
        if flag.hint is bool:
            flags[name if new else flag.opposite] = None
        else:
            flags[name] = str(new)
    assert expected.keys() == values.keys()
    assert flat(config_to_dict(build(default, Arguments(flags, [])))) == expected


def test_a_default_object_is_kept_where_no_flag_is_given():
    default = UnsupervisedConfig(seed=7)
    assert build(default, Arguments({"--sparsity.on-rate": "0.2"}, [])).seed == 7


@pytest.mark.parametrize("mode", CONFIGS)
def test_every_flag_refuses_a_value_of_another_type(mode):
    known = flags_of(CONFIGS[mode])
    for name, flag in known.items():
        wrong = "x?" if flag.hint in (bool, int, float) or names_of(flag.hint) else ""
        with pytest.raises(UserError) as caught:
            split([f"{name}={wrong}"], known)
        assert str(caught.value).startswith(f"{name}: found ")
        assert repr(wrong) in str(caught.value) and "expected" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (["--steps", "3"], {"--steps": "3"}),
        (["--steps=3", "--steps", "4"], {"--steps": "4"}),
        (["--rate", "-1e-3"], {"--rate": "-1e-3"}),
        (["--amp", "--no_amp"], {"--no-amp": None}),
        (["--no-amp", "--amp"], {"--amp": None}),
    ],
)
def test_split_understands(arguments, flags):
    assert split(arguments, KNOWN).flags == flags


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stps", "3"], "found unknown flag '--stps', did you mean '--steps'?"),
        (["-s"], "found unknown flag '-s', did you mean '--steps'?"),
        (["--steps"], "--steps: found no value, expected an integer"),
        (["--steps", "--amp"], "--steps: found no value, expected an integer"),
        (["--steps", "1.5"], "--steps: found '1.5', expected an integer"),
        (["--rate="], "--rate: found '', expected a number"),
        (["--amp=yes"], "--amp: found value 'yes', expected none: the flag alone, or --no-amp"),
        (["--amp", "yes"], "found unexpected argument 'yes', expected only flags"),
    ],
)
def test_split_names_the_mistake(arguments, message):
    with pytest.raises(UserError) as caught:
        split(arguments, KNOWN)
    assert str(caught.value) == message


def test_positional_arguments_are_counted():
    assert split(["a", "--steps", "3"], KNOWN, positional=["RUN"]).positional == ["a"]
    with pytest.raises(UserError, match="unexpected argument 'b', expected only RUN and flags"):
        split(["a", "b"], KNOWN, positional=["RUN"])


@pytest.mark.parametrize("arguments", [["--steps"], ["--steps", "--amp"], ["--amp", "--steps"]])
def test_optional_values_may_be_left_out(arguments):
    assert split(arguments, KNOWN, optional=["--steps"]).flags["--steps"] == ""


def test_nearest_prefers_the_same_name_in_a_section():
    assert nearest("--num-fields", flags_of(UnsupervisedConfig)) == "--model.num-fields"
    assert nearest("--objective.bond", flags_of(UnsupervisedConfig)) == "--objective.bound"


def test_describe_says_what_each_kind_of_flag_takes():
    known = flags_of(UnsupervisedConfig)
    assert describe(known["--device"].hint) == "auto, cpu, cuda, cuda:N or mps"
    assert describe(known["--out"].hint) == "a path"
    assert describe(known["--data.protocol"].hint) == "ffrl or sta"
    assert describe(known["--data.name"].hint).endswith("moving-mnist, poses, sequences, shapes3d, sprites or vectors")
