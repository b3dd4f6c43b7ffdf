"""Tensors on disk, and models that need no more of them than there are."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import pytest
import torch
from cli_tools import SEARCH, TINY
from run_tools import within

from cli.main import main
from ffrl.core.errors import UserError, fitting, memory_lack
from ffrl.storage.room import Room
from ffrl.storage.tensors import encode_tensors, read_header, read_tensors
from stf.run import Run


def test_a_path_that_is_no_utf8_is_read(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.safetensors")
    path.write_bytes(encode_tensors({"a": torch.ones(2, 3)}))
    assert torch.equal(read_tensors(path)["a"], torch.ones(2, 3))
    assert read_header(path)["a"].device.type == "meta" and read_header(path)["a"].shape == (2, 3)


def headed(header: object, content: bytes = b"", length: int | None = None) -> bytes:
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(written) if length is None else length) + written + content


DAMAGES = {
    "empty": (b"", "found a damaged file (a header of 0 bytes in a file of 0)"),
    "long header": (headed({}, length=2**60), "found a damaged file (a header of 1,152,921,504,606,846,976 bytes"),
    "deep header": (headed(b"[" * 10**5), "header: line 1: found more than 32 levels of nesting"),
    "no shape": (headed({"a": {"dtype": "F32"}}), "header: found no key 'a.shape', expected one"),
    "huge shape": (headed({"a": {"dtype": "F32", "shape": [2**40, 2**40]}}), "found a damaged file ('a' of type 'F32'"),
    "negative": (headed({"a": {"dtype": "F32", "shape": [-1]}}), "found a damaged file ('a' of type 'F32' and shape"),
    "odd type": (headed({"a": {"dtype": "F33", "shape": [1]}}, bytes(4)), "found a damaged file ('a' of type 'F33'"),
    "outside": (
        headed({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(4)),
        "found a damaged file (",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_one_line(tmp_path, damage):
    content, message = DAMAGES[damage]
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_tensors(tmp_path / "a")
    assert str(error.value).startswith(f"{tmp_path}/a: {message}") and "\n" not in str(error.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", "--mode", "unsupervised", "--out", str(run), *TINY, *SEARCH]) == 0
    return run


@pytest.mark.parametrize("key", ["latent_dim", "num_fields", "width", "potential_width", "rotational_width", "depth"])
@pytest.mark.parametrize("value", [1000, 10**9])
def test_sizes_that_the_weights_do_not_have_cost_nothing(tmp_path, trained, key, value):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    path = next(run.glob("checkpoints/*/config.json"))
    config = json.loads(path.read_text())
    config["model"][key] = value
    path.write_text(json.dumps(config))
    with within(64 * 2**20), pytest.raises(UserError) as error:
        Run.open(run)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_and_nan_are_found_when_a_run_is_opened(tmp_path, trained):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    path = next(run.glob("checkpoints/*/model.safetensors"))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="model.safetensors: found that it has other contents than were written"):
        Run.open(run)
    tensors = read_tensors(path)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].fill_(torch.nan)
    path.write_bytes(encode_tensors(tensors))
    with pytest.raises(UserError, match=rf"model.safetensors: found [\d,]+ numbers in '{name}' that are not finite"):
        Run.open(run)
    (path.parent / "checksums.json").unlink()
    shutil.copy(next(trained.glob("checkpoints/*/model.safetensors")), path)
    assert Run.open(run).step == 2


def test_room_is_for_the_weights_and_some_more():
    weights = {"a": torch.empty(1000, 1000, device="meta")}
    with Room(weights, "config.json"):
        assert torch.zeros(2000, 2000).sum() == 0
    for make in (lambda: torch.eye(10**5), lambda: torch.randn(10**5, 10**5), lambda: torch.arange(10**10)):
        with pytest.raises(UserError, match="^config.json: found sizes of more than the 1,000,000 saved weights"):
            with Room(weights, "config.json"):
                make()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "no memory"),
        (
            RuntimeError("x DefaultCPUAllocator: can't allocate memory: you tried to allocate 94 bytes."),
            "no memory for 94",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.50 GiB."), "no memory for 2.50 GiB"),
        (RuntimeError("Storage size calculation overflowed with sizes=[1]"), "more bytes than there can be"),
        (RuntimeError("std::bad_alloc"), "no memory"),
    ],
)
def test_what_was_too_large_is_said_in_one_line(error, message):
    assert memory_lack(error) is not None
    with pytest.raises(UserError, match=f"^the model: found {message}.*, expected something smaller$"):
        with fitting("the model"):
            raise error
    with pytest.raises(RuntimeError, match="odd"), fitting("the model"):
        raise RuntimeError("odd")


def test_what_is_saved_is_on_the_way_back(tmp_path: Path):
    (tmp_path / "a").write_bytes(encode_tensors({"a": torch.arange(3), "b": torch.ones(2).bfloat16()}))
    found = read_tensors(tmp_path / "a")
    assert found["a"].tolist() == [0, 1, 2] and found["b"].dtype == torch.bfloat16
