"""Devices: their names, which of them there are, and none that is asked for float64 where it has none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_tools import SEARCH, TINY
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import stf
from cli.main import main
from ffrl.config import RunConfig
from ffrl.core import device as devices
from ffrl.core.device import exact, indexed, resolve_device, wide, widest
from ffrl.core.errors import UserError
from ffrl.data.digits.mnist import MnistSequences
from ffrl.data.on_device import MovedSequences, on_device
from ffrl.training.window import Window

CUDA, MPS = torch.device("cuda"), torch.device("mps")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two CUDA devices, and MPS, as far as names go."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(devices, "indexed", numbered)


def numbered(device: torch.device | str) -> torch.device:
    """What ``indexed`` says where the device is there, and the current one is the first."""
    device = torch.device(device)
    return torch.device(device.type, device.index or 0)


@pytest.mark.parametrize(
    ("name", "device"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("mps", "mps:0")]
)
def test_devices_that_are_there_are_taken_and_have_a_number(gpus: None, name: str, device: str) -> None:
    assert resolve_device(name) == torch.device(device)


@pytest.mark.parametrize(("name", "device"), [("auto", "cuda:1"), ("cuda", "cuda:1"), ("cuda:0", "cuda:0")])
def test_a_process_of_torchrun_has_a_gpu_of_its_own(
    gpus: None, monkeypatch: pytest.MonkeyPatch, name: str, device: str
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_device(name) == torch.device(device)


def test_auto_leaves_mps_alone(gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"


def test_a_gpu_beyond_the_last_is_one_line(gpus: None) -> None:
    with pytest.raises(UserError, match="^device: found 'cuda:2', expected one from 'cuda:0' to 'cuda:1', which there"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for backend in (torch.cuda, torch.backends.mps):
        monkeypatch.setattr(backend, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"^device: found {name!r}, expected 'cpu' or 'auto', because no "):
        resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:x", "CUDA", "mps:0", "", 3])
def test_other_names_are_one_line(name: Any) -> None:
    for read in (resolve_device, lambda device: RunConfig(device=device)):
        with pytest.raises(UserError, match=r"^device: found .*, expected auto, cpu, cuda, cuda:N or mps$"):
            read(name)


def test_a_configuration_keeps_the_name() -> None:
    assert RunConfig(device="cuda:1").device == "cuda:1"


def test_batches_of_another_gpu_are_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffrl.data.on_device.indexed", numbered)
    data = MnistSequences(RunConfig().data)
    data.device = torch.device("cuda:0")
    assert on_device(data, "cuda") is data
    assert isinstance(on_device(data, "cuda:1"), MovedSequences)


def test_numbers_are_as_wide_as_the_device_has_them() -> None:
    assert (widest(CUDA), widest(MPS)) == (torch.float64, torch.float32)
    values = torch.tensor([0.1])
    assert wide(values).dtype == exact(values).dtype == torch.float64
    assert indexed("cpu") == torch.device("cpu")


class NoFloat64(TorchDispatchMode):
    """Refuses what MPS refuses: to make float64 of anything else; :func:`exact`, which goes to the CPU first, may."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if _has_float64(found) and not _has_float64((args, kwargs)) and not _on_the_cpu():
            raise TypeError(f"{func}: MPS has no float64")
        return found


def _has_float64(values: Any) -> bool:
    return any(isinstance(value, torch.Tensor) and value.dtype == torch.float64 for value in tree_leaves(values))


def _on_the_cpu() -> bool:
    frame = sys._getframe()
    while frame is not None and frame.f_code is not exact.__code__:
        frame = frame.f_back
    return frame is not None


@pytest.fixture
def no_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU as a device without float64."""
    monkeypatch.setattr(devices, "NO_FLOAT64", frozenset({"cpu"}))


@pytest.mark.parametrize("mode", ["unsupervised", "supervised", "weak", "vae", "slow-vae"])
def test_training_and_evaluation_do_without_float64(no_float64: None, tmp_path: Path, mode: str) -> None:
    run = tmp_path / "run"
    more = ["--objective.bound=paper"] if mode == "supervised" else SEARCH if mode[0] in "uw" else []
    with NoFloat64():
        assert main(["train", f"--mode={mode}", f"--out={run}", *TINY, *more]) == 0
        measured = stf.Run.open(run).evaluate(sequences=12)
    assert measured["equivariance"]


def test_a_place_that_asks_for_float64_is_found(no_float64: None) -> None:
    with NoFloat64(), pytest.raises(TypeError, match="MPS has no float64"):
        torch.ones(2).double()
    with NoFloat64():
        assert exact(torch.ones(2)).dtype == torch.float64


def test_sums_of_a_log_go_on_where_there_is_no_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(torch.device("cpu"))
    window.add({"loss": torch.tensor(3.0)}, torch.tensor(True))
    monkeypatch.setattr(devices, "NO_FLOAT64", frozenset({"cpu"}))
    other = Window(torch.device("cpu"))
    other.load(window.tensors())
    other.add({"loss": torch.tensor(1.0)}, torch.tensor(True))
    assert other.means() == {"loss": 2.0}
    assert all(value.dtype != torch.float64 for value in other.tensors().values())
