"""Help: the flags that matter, all of them on request, and lines that fit."""

from __future__ import annotations

import re
from dataclasses import is_dataclass

import pytest
from cli_tools import plain

from cli import benchmark, data, evaluate, train, transfer, visualize
from cli.flags import fields_of, flags_of
from cli.help import texts_of
from cli.main import main
from stf.registry import CONFIGS, MODES

COMMANDS = ["train", "evaluate", "visualize-fields", "transfer", "benchmark", "data", "data fetch", "data render"]


def flags_in(text):
    """The flags that a page tells of."""
    return set(re.findall(r"^[│ ] (--[a-z][\w.-]*)", text, re.MULTILINE))


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("more", ["--help", "--help-all"])
def test_lines_fit_whatever_the_terminal(capsys, monkeypatch, command, columns, more):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([*command.split(), more]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(f"usage: stf {command} [-h]") for line in lines) == 1
    assert all(len(line) <= columns for line in lines if not line.startswith("usage:"))


def test_the_flags_that_matter_are_few_and_say_how_to_see_all(capsys):
    assert main(["train", "--help"]) == 0
    short = capsys.readouterr().out
    assert flags_in(short) == set(train.SHORT) and len(train.SHORT) <= 12
    assert main(["train", "--help-all"]) == 0
    full = flags_in(capsys.readouterr().out)
    config = {name for name, flag in flags_of(CONFIGS["unsupervised"]).items() if "no-" not in name}
    assert full == config | {"--config", "--init", "--resume", "--strict"}
    assert f"These are the 12 flags that matter; stf train --help-all shows all {len(full)}." in plain(short)


def test_defaults_are_those_of_mode_and_data_set(capsys):
    assert main(["train", "--mode=supervised", "--data.name=shapes3d", "--help"]) == 0
    text = plain(capsys.readouterr().out)
    assert "K, the number of fields. (default: 5)" in text and "frames. (default: 7)" in text
    assert "those of --mode supervised --data.name shapes3d" in text
    assert main(["train", "--config=sta", "--help"]) == 0
    assert "those of --mode sta " in plain(capsys.readouterr().out)
    assert main(["train", "--mode=supervised", "--data.name=sequences", "--help"]) == 0  # no such training, but help


def test_every_mode_and_data_set_is_named(capsys):
    assert main(["train", "--help"]) == 0
    text = plain(capsys.readouterr().out)
    assert f"One of {', '.join(MODES)}." in text and "One of falcor3d, isaac3d, mnist," in text and "arrays" not in text


def silent_fields(kind):
    """The fields of a dataclass and its sections that help has nothing to say of."""
    texts = texts_of(kind)
    for field, name, hint, _ in fields_of(kind):
        if is_dataclass(hint):
            yield from silent_fields(hint)
        elif not texts.get(field):
            yield name


@pytest.mark.parametrize("mode", CONFIGS)
def test_every_flag_of_every_mode_has_a_text(mode):
    assert set(silent_fields(CONFIGS[mode])) <= {"mode"}  # which the command tells of


@pytest.mark.parametrize(
    "command",
    [benchmark.Benchmark, data.Data, data.Fetch, evaluate.Evaluate, train.Launch, transfer.Transfer]
    + [visualize.VisualizeFields],
)
def test_every_flag_of_every_command_has_a_text(command):
    assert not list(silent_fields(command))


def test_texts_are_those_of_the_class_that_names_a_field_last():
    assert texts_of(CONFIGS["unsupervised"])["steps"].startswith("Steps of all phases;")
    assert texts_of(CONFIGS["vae"])["steps"] == "Optimisation steps."
