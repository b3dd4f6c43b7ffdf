"""Help: the flags that matter, all of them on request, and lines that fit."""

from __future__ import annotations

import pytest

from cli import benchmark, data, evaluate, train, transfer, visualize
from cli.flags import flags_of
from cli.help import Entry, entries_of, page
from cli.main import main
from stf.registry import CONFIGS, MODES

COMMANDS = ["train", "evaluate", "visualize-fields", "transfer", "benchmark", "data", "data fetch"]


@pytest.mark.parametrize("columns", [40, 64, 80, 200])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("more", ["--help", "--help-all"])
def test_lines_fit_whatever_the_terminal(capsys, monkeypatch, command, columns, more):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([*command.split(), more]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: stf {command}")
    free = [line for line in lines if not line.strip().startswith(("--", "[RUN]"))]  # what is typed is not broken
    assert all(len(line) < min(columns, 101) or " " not in line.strip() for line in free)
    assert all(line == line.rstrip() for line in lines)


def test_the_flags_that_matter_are_few_and_say_how_to_see_all(capsys):
    assert main(["train", "--help"]) == 0
    short = capsys.readouterr().out
    shown = [line.split()[0] for line in short.splitlines() if line.startswith("  --")]
    assert shown == list(train.SHORT) and len(shown) <= 12
    assert "stf train --help-all shows all" in " ".join(short.split())
    assert main(["train", "--help-all"]) == 0
    full = {line.split()[0].rstrip(",") for line in capsys.readouterr().out.splitlines() if line.startswith("  --")}
    config = {name for name, flag in flags_of(CONFIGS["unsupervised"]).items() if "no-" not in name}
    assert full == config | {"--config", "--init", "--resume"}


def test_defaults_are_those_of_mode_and_data_set(capsys):
    assert main(["train", "--mode=supervised", "--data.name=shapes3d", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "K, the number of fields. (default: 5)" in text and "frames. (default: 7)" in text
    assert "those of --mode supervised --data.name shapes3d" in text
    assert main(["train", "--config=sta", "--help"]) == 0
    assert "those of --mode sta " in " ".join(capsys.readouterr().out.split())
    assert main(["train", "--mode=supervised", "--data.name=sequences", "--help"]) == 0  # no such training, but help


def test_every_mode_and_data_set_is_named(capsys):
    assert main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"One of {', '.join(MODES)}." in text and "One of falcor3d, isaac3d, mnist," in text and "arrays" not in text


@pytest.mark.parametrize("mode", CONFIGS)
def test_every_flag_of_every_mode_has_a_text(mode):
    silent = [entry.name for entry in entries_of(CONFIGS[mode]) if not entry.text.strip() and entry.name != "--mode"]
    assert not silent


@pytest.mark.parametrize(
    "command",
    [benchmark.Benchmark, data.Data, data.Fetch, evaluate.Evaluate, train.Launch, transfer.Transfer]
    + [visualize.VisualizeFields],
)
def test_every_flag_of_every_command_has_a_text(command):
    assert all(entry.text.strip() for entry in entries_of(command))


def test_a_narrow_page_has_the_text_under_its_flag():
    entries = [Entry("--out", "--out DIR", "", "Folder."), Entry("--x.y", "--x.y INT", "--x: More.", "Number.")]
    assert page("stf x", "Does x.", entries, ["See y."], 50).splitlines()[4:] == [
        *("  --out DIR", "      Folder.", "", "--x: More.", "", "  --x.y INT", "      Number.", "", "See y.")
    ]
