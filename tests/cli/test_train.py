"""``stf train``: precedence, what is refused, and run folders."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_tools import SEARCH, TINY, complaint, environment, only_line, stf

import cli.train
import stf as stf_package
from cli.main import main
from cli.train import configure
from ffrl.config import DataConfig, SupervisedConfig
from stf.config import UnsupervisedConfig, WeakConfig
from stf.registry import default_config


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Work in a folder of its own, where ``runs`` is not yet."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def configured(monkeypatch):
    """Return a function from arguments to the configuration that would be trained."""
    seen = []

    def record(config, run, resume, init=None, strict=False):
        assert config.out == run
        seen.append(config)
        return 0

    monkeypatch.setattr(cli.train, "_train", record)

    def configure(*arguments):
        assert main(["train", *map(str, arguments)]) == 0
        return seen[-1]

    return configure


def file(text: str, name: str = "my.toml") -> Path:
    """Write a configuration file."""
    path = Path(name)
    path.write_text(text)
    return path


# precedence


@pytest.mark.parametrize(
    ("mode", "kind"), [("unsupervised", UnsupervisedConfig), ("supervised", SupervisedConfig), ("weak", WeakConfig)]
)
@pytest.mark.parametrize("form", ["--mode={}", "--mode {}"])
def test_a_mode_alone_gives_its_defaults(configured, mode, kind, form):
    config = configured(*form.format(mode).split(), "--out", "here")
    assert config == kind(out=Path("here"))


def test_flags_win_over_the_file_and_the_file_over_the_mode(configured):
    path = file("steps = 11\nbatch-size = 12\n[model]\nlatent_dim = 13\nwidth = 14\n")
    config = configured("--model.width", 15, "--mode", "weak", "--config", path, "--batch-size=16")
    assert (config.steps, config.batch_size) == (11, 16)
    assert (config.model.latent_dim, config.model.width) == (13, 15)
    assert config.model.num_fields == WeakConfig().model.num_fields
    assert isinstance(config, WeakConfig)


def test_the_file_may_name_the_mode(configured):
    assert configured("--config", file('mode = "supervised"')).mode == "supervised"
    assert configured("--config", "compact").mode == "unsupervised"
    assert configured("--config", "mnist", "--mode", "weak").model.latent_dim == 324


def test_a_switch_in_the_file_can_be_turned_off(configured):
    path = file("deterministic = true")
    assert configured("--mode", "weak", "--config", path).deterministic
    assert not configured("--mode", "weak", "--config", path, "--no-deterministic").deterministic


def test_default_folders_are_named_by_mode_data_and_time_and_differ(configured, monkeypatch):
    monkeypatch.setattr("ffrl.training.folders.time.strftime", lambda form: "20260102-030405")
    taken = Path("runs/weak-mnist-20260102-030405")
    taken.mkdir(parents=True)
    assert configured("--mode", "weak").out == Path("runs/weak-mnist-20260102-030405-2")
    taken.rmdir()
    assert configured("--mode", "weak").out == taken
    assert not list(Path("runs").iterdir())  # nothing was trained, nothing stays


# refused before anything is loaded


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["--mode", "unsupervised, supervised, weak, beta-vae"]),
        (
            ["--mode", "weekly"],
            ["--mode", "'weekly'", "unsupervised, supervised, weak, beta-vae", "(did you mean weak?)"],
        ),
        (["--mode", "weak", "--data.name=mnsit"], ["--data.name", "'mnsit'", "falcor3d,", "(did you mean mnist?)"]),
        (["--mode", "weak", "--data.name=arrays"], ["--data.name", "'arrays'", "one of falcor3d, isaac3d, mnist,"]),
        (["--mode", "weak", "--stepz", "3"], ["'--stepz'", "'--steps'"]),
        (["--mode", "weak", "--model.num-feilds", "3"], ["'--model.num-feilds'", "'--model.num-fields'"]),
        (["--mode", "supervised", "--sparsity.on-rate", "0.1"], ["--sparsity.on-rate", "supervised", "unsupervised"]),
        (["--mode", "supervised", "--discovery.rounds=3"], ["--discovery.rounds", "unsupervised or weak"]),
        (["--mode", "sta", "--joint.agreement=3"], ["--joint.agreement", "unsupervised or weak"]),
        (["--mode", "unsupervised", "--warmup.stay=0.8"], ["'--warmup.stay'", "did you mean '--data.stay'"]),
        (["--mode", "unsupervised", "--discovery.fraction=0.8"], ["discovery.fraction", "0.8", "below 0.18"]),
        (
            ["--mode", "supervised", "--model.rotational-width", "4"],
            ["--model.rotational-width", "weak"],
        ),
        (["--mode", "weak", "--model.control", "separate"], ["model.control", "'separate'", "expected single"]),
        (["--mode", "weak", "--steps", "abc"], ["--steps", "'abc'", "an integer"]),
        (["--mode", "weak", "--device", "gpu"], ["--device", "'gpu'", "auto, cpu, cuda, cuda:N or mps"]),
        (["--mode", "weak", "--model.num-fields", "0"], ["model.num-fields", "0", "at least 1"]),
        (["--mode", "weak", "--data.num-steps", "0"], ["data.num-steps", "0", "at least 1"]),
        (["--mode", "weak", "--seed", "-1"], ["seed", "-1"]),
        (["--mode", "weak", "--optimizer.learning-rate", "nan"], ["optimizer.learning-rate", "nan"]),
        (["--mode", "weak", "--config", "nowhere.toml"], ["--config", "nowhere.toml", "No such file"]),
        (["--mode", "weak", "--config", "nothing"], ["--config", "'nothing'", "compact, falcor3d"]),
        (["--mode", "weak", "--config", "."], ["--config", "found a folder"]),
        (["--mode", "weak", "runs/a"], ["'runs/a'"]),
        (["--mode", "weak", "--resume", "runs/none"], ["--resume", "'runs/none'"]),
        (["--resume"], ["runs", "config.json"]),
        (["--resume", "runs/a", "--batch-size", "9"], ["--batch-size", "--resume", "--device, --steps or --data.root"]),
        (["--resume=runs/a", "--config", "compact"], ["--config", "--resume"]),
        (["--resume", "--out", "runs/b"], ["--out", "--resume"]),
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_one_line(capsys, arguments, parts):
    line = complaint(capsys, "train", *arguments)
    assert all(part in line for part in parts), line
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("stepz = 3", ["stepz", "steps"]),
        ("[model]\nnum-feilds = 3", ["model.num-feilds", "model.num-fields"]),
        ("steps = 'many'", ["steps", "'many'", "an integer"]),
        ("steps = 0", ["steps", "0", "at least 1"]),
        ("model = 3", ["model", "3", "a section"]),
        ("[sparsity]\non-rate = 0.1", ["sparsity.on-rate", "weak", "unsupervised"]),
        ("steps = 3\nbatch = = 2", ["line 2", "column 9"]),
        ('mode = "strong"', ["mode", "'strong'", "unsupervised, supervised, weak, beta-vae"]),
        ("mode = [1]", ["mode", "[1]"]),
        ('[data]\nname = "mnsit"', ["data.name", "'mnsit'", "(did you mean mnist?)"]),
        ('[data]\nname = "arrays"', ["data.name", "'arrays'", "one of falcor3d"]),
        ("[data]\nname = 3", ["data.name", "3", "one of falcor3d"]),
        ('device = "gpu"', ["device", "'gpu'", "auto, cpu, cuda, cuda:N or mps"]),
    ],
)
def test_wrong_files_are_one_line_that_names_the_file(capsys, text, parts):
    path = file(text)
    line = complaint(capsys, "train", "--mode", "weak", "--config", path)
    assert all(part in line for part in [str(path), *parts]), line
    assert list(Path().iterdir()) == [path]


def test_bytes_that_are_no_text_are_one_line(capsys):
    Path("my.toml").write_bytes(b"\xff\xfe")
    assert "my.toml: found UTF-16 or UTF-32, expected UTF-8" in complaint(
        capsys, "train", "--mode", "weak", "--config", "my.toml"
    )


def test_a_file_of_another_mode_is_one_line(capsys):
    line = complaint(capsys, "train", "--mode", "weak", "--config", file('mode = "supervised"'))
    assert line == "--mode: found 'weak', expected 'supervised', the mode of my.toml"
    assert "compact.toml" in complaint(capsys, "train", "--mode", "weak", "--config", "compact")


def test_runs_that_is_a_file_is_one_line(capsys):
    file("", "runs")
    assert "runs" in complaint(capsys, "train", "--mode", "weak")


# with a model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a finished run of two steps."""
    run = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", "--mode", "unsupervised", "--out", str(run), *TINY, *SEARCH]) == 0
    return run


@pytest.mark.parametrize("mode", ["unsupervised", "supervised", "weak"])
def test_training_leaves_a_run_folder_and_prints_it(capfd, mode):
    assert main(["train", "--mode", mode, *TINY, *(SEARCH if mode != "supervised" else ())]) == 0
    (run,) = Path("runs").iterdir()
    output = capfd.readouterr()
    assert output.out == f"{run}\n"
    assert output.err.splitlines()[-1] == f"next: stf evaluate {run} --json {run}/evaluation.json"
    config = json.loads((run / "config.json").read_text())
    assert (config["mode"], config["steps"], config["model"]["width"]) == (mode, 2, 8)
    assert config["out"] == str(run)
    assert (run / "checkpoints/step-00000002/model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--data.name", "falcor3d", "--data.root", "nowhere"], ["data.root", "nowhere", "stf data fetch falcor3d"]),
        (["--data.name", "shapes3d", "--data.num-steps", "30"], ["data.num-steps", "30", "at most"]),
        (["--data.name", "sequences"], ["data.root: found none"]),
        (["--data.root", "nowhere"], ["nowhere"]),
        (["--data.name", "sequences", "--data.root", "nowhere"], ["data.root: found no file or folder nowhere"]),
        (["--out", "full"], ["full", "new or empty"]),
        (["--out", "full/file/run"], ["full/file/run", "Not a directory"]),
        (["--out", "/proc/run"], ["/proc/run", "No such file"]),
    ],
    ids=" ".join,
)
def test_data_and_folders_that_do_not_fit_are_one_line(capsys, arguments, parts):
    Path("full").mkdir()
    file("", "full/file")
    line = complaint(capsys, "train", "--mode", "weak", *TINY, *arguments)
    assert all(part in line for part in parts), line
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_supervised_needs_one_field_per_transformation(capsys):
    line = complaint(capsys, "train", "--mode", "supervised", *TINY, "--model.num-fields", 4)
    assert "model.num-fields: found 4, expected 3" in line


def test_a_disk_without_room_is_one_line(tmp_path):
    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    process = stf("train", "--mode=weak", *TINY, *SEARCH, "--out=run", cwd=tmp_path, preexec_fn=no_room)
    assert process.returncode == 2
    assert process.stdout == ""
    last = process.stderr.splitlines(keepends=True)[-1]
    assert "cannot write" in only_line(last) and "Traceback" not in process.stderr


def test_resuming_a_finished_run_changes_nothing(capsys, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    assert main(["train", "--resume", str(trained)]) == 0
    assert capsys.readouterr().out == f"{trained}\n"
    assert before == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}


def test_resume_takes_the_newest_run_and_the_mode_it_has(capsys):
    for name in ("b", "a"):  # by time, not by name
        assert main(["train", "--mode", "weak", "--out", f"runs/{name}", *TINY, *SEARCH]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "--mode", "weak", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == "runs/a\n"
    line = complaint(capsys, "train", "--mode", "supervised", "--resume")
    assert line == "--mode: found 'supervised', expected 'weak', the mode of runs/a"


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("format_version", 99, ["format_version", "99"]),
        ("package", "another", ["package", "'another'"]),
        ("mode", "strong", ["mode", "'strong'"]),
        ("steps", None, ["steps", "None"]),
    ],
)
@pytest.mark.parametrize("command", [["train", "--resume"], ["evaluate"], ["visualize-fields"]], ids=" ".join)
def test_a_run_of_another_version_is_one_line(capsys, trained, tmp_path, command, key, value, parts):
    run = tmp_path / "run"
    for checkpoint in trained.glob("checkpoints/*"):
        copy(checkpoint, run / checkpoint.relative_to(trained), key, value)
    copy(trained, run, key, value)
    line = complaint(capsys, *command, run)
    assert all(part in line for part in [str(run), *parts]), line


def copy(source: Path, target: Path, key: str, value: object) -> None:
    """Copy the files of a folder, with one value of its ``config.json`` changed."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_file():
            (target / path.name).write_bytes(path.read_bytes())
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | {key: value}))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_how_to_go_on(tmp_path, number, code):
    command = [sys.executable, "-m", "cli.main", "train", "--mode=unsupervised", "--out=a run", *TINY, "--steps=100000"]
    command += ["--log-every=1", "--validate-every=100000"]
    process = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # background jobs inherit SIGINT ignored
    )
    metrics, deadline = Path("a run/metrics.jsonl"), time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert output == "a run\n"
    assert errors.splitlines()[-1].endswith("to go on: stf train --resume 'a run'")
    assert "Traceback" not in errors
    assert list(Path("a run/checkpoints").glob("step-*"))


@pytest.mark.parametrize(("size", "architecture", "batch"), [("32", "mlp", 64), ("64", "conv-coarse", 32)])
def test_own_frames_get_networks_of_their_size(size, architecture, batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("walks").mkdir()
    Path("walks/a.mp4").touch()  # not opened
    flags = ["--mode=unsupervised", "--data.name=sequences", "--data.root=walks", f"--data.sequences.size={size}"]
    config = configure([*flags, "--data.num-steps=10"])
    assert config.model.architecture == architecture and config.batch_size == batch and config.data.num_steps == 10


def test_defaults_keep_a_length_that_was_given():
    assert default_config("unsupervised", DataConfig(name="sequences", num_steps=10)).data.num_steps == 10
    assert default_config("unsupervised", DataConfig(name="shapes3d")).data.num_steps == 7


def test_a_run_starts_from_another(tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    flags = ["train", "--mode=unsupervised", *TINY]
    assert main([*flags, "--steps=12", f"--out={first}"]) == 0
    assert main([*flags, "--steps=2", f"--out={second}", f"--init={first}"]) == 0
    config = json.loads((second / "config.json").read_text())
    assert config["still"]["fraction"] == config["discovery"]["fraction"] == 0.0
    before, after = (stf_package.load(run).state_dict() for run in (first, second))
    key = "decoder.0.weight"
    assert 0 < float((before[key] - after[key]).abs().max()) < 0.02
    assert configure([*flags[1:], f"--init={first}", "--still.fraction=0.1"]).still.fraction == 0.1
    capsys.readouterr()
    assert main([*flags, f"--out={tmp_path / 'third'}", f"--init={tmp_path / 'nowhere'}"]) == 2
    assert "nowhere: found no folder, expected a run folder" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def test_dotted_names_in_files_decide_on_the_defaults_as_sections_do(tmp_path):
    files = {"dotted": '"data.name" = "sequences"\n"data.sequences.size" = 64\n'}
    files["sections"] = '[data]\nname = "sequences"\n[data.sequences]\nsize = 64\n'
    found = []
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
        found.append(configure(["--mode", "unsupervised", "--config", str(tmp_path / f"{name}.toml")]))
    assert found[0] == found[1] and found[0].model.architecture == "conv-coarse"
