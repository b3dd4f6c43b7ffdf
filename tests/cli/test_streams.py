"""Streams that are closed, full, left or of another encoding, and names of any kind: the work is done all the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from cli_tools import SEARCH, TINY, environment, only_line, stf

from cli.main import main

ESCAPES = "esc\x1b[31m\x1b]0;pwned\x07[x[/b]"
POSIX = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a finished run of two steps."""
    run = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", "--mode", "unsupervised", "--out", str(run), *TINY, *SEARCH]) == 0
    return run


def shell(line, cwd, **more):
    """Run a line of the shell in which ``stf`` is the command."""
    command = f"{sys.executable} -m cli.main"
    line = f'stf() {{ {command} "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", line], cwd=cwd, env=environment() | more, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("where", ["| true", ">&-"])
def test_what_was_measured_is_written_whatever_becomes_of_the_output(trained, tmp_path, where):
    found = shell(f"stf evaluate {trained} --sequences 4 --device cpu --json e.json {where}", tmp_path)
    assert "Traceback" not in found.stderr and json.loads((tmp_path / "e.json").read_bytes())["sequences"] == 4


@pytest.mark.parametrize("more", [{"PYTHONIOENCODING": "ascii"}, POSIX], ids=["ascii", "posix"])
def test_a_terminal_of_ascii_shows_plainer_signs(trained, tmp_path, more):
    found = shell(f"stf evaluate {trained} --sequences 4 --device cpu", tmp_path, **more)
    assert found.returncode == 0 and "Traceback" not in found.stderr
    assert found.stdout.isascii() and "+- is the standard error" in found.stdout


def test_training_goes_on_when_nobody_listens(tmp_path):
    flags = " ".join(["--mode", "unsupervised", *TINY, *SEARCH])
    shell(f"stf train --out run {flags} >&- 2>/dev/full", tmp_path)
    assert (tmp_path / "run/checkpoints/step-00000002/model.safetensors").is_file()


def test_a_run_of_any_name_is_trained_read_and_shown(tmp_path, monkeypatch, capfdbinary):
    monkeypatch.chdir(tmp_path)
    name = ESCAPES + os.fsdecode(b"\xff\x9b$\\foo$")

    def run(*words):
        assert main([*words]) == 0
        found = capfdbinary.readouterr()
        assert not {0x1B, 0x07, 0x9B} & set(found.out + found.err)
        return found.out

    shown = b"esc\\x1b[31m\\x1b]0;pwned\\x07[x[/b]\xff\\udc9b$\\foo$"
    assert run("train", "--mode", "unsupervised", "--out", name, *TINY, *SEARCH) == shown + b"\n"
    run("train", "--resume", name)
    run("evaluate", name, "--sequences", "4", "--device", "cpu", "--json", f"{name}/evaluation.json")
    assert run("visualize-fields", name, "--motion", "none", "--device", "cpu") == shown + b"/figures/report.html\n"


def test_names_in_errors_are_shown_and_not_obeyed(tmp_path):
    found = stf("evaluate", f"no/{ESCAPES}", cwd=tmp_path)
    assert "no/esc\\x1b[31m\\x1b]0;pwned\\x07[x[/b]: found no folder" in only_line(found.stderr)


@pytest.mark.parametrize("pause", [0.5, 1.5])
def test_sigint_while_packages_are_loaded_ends_with_130(tmp_path, pause):
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    command = [sys.executable, "-c", f"{code} from cli.main import main; sys.exit(main())"]
    arguments = ["train", "--mode", "weak", "--out", "run", "--steps", "100000", "--device", "cpu"]
    process = subprocess.Popen(
        [*command, *arguments], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    time.sleep(pause)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130, said
    assert "Traceback" not in said and not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.parametrize(
    ("limit", "arguments"),
    [
        (2_500_000, ["train", "--mode", "weak", "--batch-size", "10000000", "--out", "run"]),
        (2_500_000, ["train", "--mode", "weak", "--model.width", "1000000", "--out", "run"]),
    ],
)
def test_sizes_beyond_memory_are_one_line(tmp_path, limit, arguments):
    line = f"ulimit -v {limit}; stf {' '.join(arguments)} --device cpu --precision float32"
    found = shell(line, tmp_path)
    assert found.returncode == 2
    message = only_line("stf: error: " + found.stderr.rpartition("stf: error: ")[2])
    assert "found no memory" in message and arguments[3].lstrip("-").removeprefix("model.") in message
    assert "expected something smaller" in message


def test_a_run_is_verified(trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    checkpoint = run / "checkpoints/step-00000002"
    capsys.readouterr()
    assert main(["verify", str(run)]) == 0
    said = f"{checkpoint}: 8 files, of it and of the run, are as they were written\n"
    assert capsys.readouterr().out == said
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 3}\n')  # a run that went on
    assert main(["verify", str(run)]) == 0
    content = bytearray((checkpoint / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (checkpoint / "model.safetensors").write_bytes(content)
    (run / "run.json").unlink()
    capsys.readouterr()
    assert main(["verify", str(run)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{checkpoint}/model.safetensors: has other contents than were written",
        f"{run}/run.json: is missing",
    ]
    (checkpoint / "checksums.json").unlink()
    assert main(["verify", str(run)]) == 0
    assert "found no checksums, which earlier versions did not write" in capsys.readouterr().out
    assert main(["verify", str(tmp_path)]) == 2


def test_a_run_that_goes_on_with_more_steps_is_verified_all_along(trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    checkpoint = run / "checkpoints/step-00000002"
    assert main(["train", "--resume", str(run), "--steps", "4"]) == 0
    assert main(["verify", str(run)]) == 0
    shutil.rmtree(run / "checkpoints/step-00000004")  # as if it had been killed before its next checkpoint
    assert main(["verify", str(run)]) == 0
    content = (run / "config.json").read_bytes()
    (run / "config.json").write_bytes(content.replace(b'"seed": 0', b'"seed": 7'))
    capsys.readouterr()
    assert main(["verify", str(run)]) == 1
    assert capsys.readouterr().out == f"{run}/config.json: has other contents than were written\n"
    assert checkpoint.is_dir()
