"""MNIST sequences: the embedded digits, files of the user, splits, batches and the download."""

from __future__ import annotations

import gzip
import hashlib
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

import ffrl.data
from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data.digits import assets, mnist
from ffrl.data.digits.assets import asset
from ffrl.data.digits.idx import read_idx
from ffrl.data.digits.mnist import MnistSequences, read_training_digits
from ffrl.data.digits.render import pad, parameters, render

SHA256 = {
    "mnist-10k-images-idx3-ubyte.gz": "2889698e6bc3614913e76901316712919d1998fc2b44512451bfe65bc1e668b1",
    "mnist-10k-labels-idx1-ubyte.gz": "651e38e2ac0632f5113ec18f1df4977117f953197819034009971a6675a0df78",
}


@pytest.fixture(scope="module")
def embedded() -> MnistSequences:
    return ffrl.data.load(DataConfig(), torch.device("cpu"))


def write_digits(folder: Path, part: str, count: int, suffix: str = "", seed: int = 0) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    contents = {
        f"{part}-images-idx3-ubyte": struct.pack(">4I", 0x0803, *images.shape) + images.tobytes(),
        f"{part}-labels-idx1-ubyte": struct.pack(">2I", 0x0801, count) + bytes(count),
    }
    for name, content in contents.items():
        (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)
    return images


def first_frames(data: MnistSequences, split: str) -> np.ndarray:
    indices = torch.arange(data.size(split))
    frames = data.single(split, indices, torch.zeros_like(indices)).frames
    return (frames[:, 0, 0] * 255).round().byte().numpy()


@pytest.mark.parametrize("name", SHA256)
def test_embedded_files_are_the_documented_ones(name: str) -> None:
    content = asset(name).read_bytes()
    assert hashlib.sha256(gzip.decompress(content)).hexdigest() == SHA256[name]
    assert content[3] == 0 and content[4:8] == bytes(4)  # neither a file name nor a time in the gzip header


def test_embedded_digits_are_the_training_digits() -> None:
    digits = read_training_digits(None)
    np.testing.assert_array_equal(digits.images, read_idx(asset("mnist-10k-images-idx3-ubyte.gz"), rank=3))
    np.testing.assert_array_equal(digits.labels, read_idx(asset("mnist-10k-labels-idx1-ubyte.gz"), rank=1))
    assert digits.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert digits.images.shape == (10000, 28, 28) and set(digits.labels.tolist()) == set(range(10))


def test_assets_installed_or_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"installed")
    monkeypatch.setattr(resources, "files", lambda package: {"ffrl.assets": tmp_path}[package])
    assert asset("file").read_bytes() == b"installed"
    with pytest.raises(UserError, match=f"^{tmp_path}/absent: found no such file, expected"):
        asset("absent")

    def not_installed(package: str):
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(resources, "files", not_installed)
    monkeypatch.setattr(assets, "__file__", str(tmp_path / "ffrl" / "data" / "digits" / "assets.py"))
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "file").write_bytes(b"checkout")
    assert asset("file").read_bytes() == b"checkout"
    with pytest.raises(UserError, match=f"^{tmp_path}/assets/absent: found no such file, expected"):
        asset("absent")


def test_description(embedded: MnistSequences) -> None:
    assert embedded.name == "mnist" and embedded.image_shape == (3, 28, 28) and embedded.num_steps == 8
    assert embedded.transformations == ("scaling", "rotation", "hue")
    assert embedded.device == torch.device("cpu")


def test_splits_are_disjoint_and_complete(embedded: MnistSequences) -> None:
    assert (embedded.size("train"), embedded.size("validation")) == (8000, 2000)
    images = read_training_digits(None).images
    for split, start in (("train", 0), ("train", 7000), ("validation", 8000), ("validation", 9000)):
        offset = start - (8000 if split == "validation" else 0)
        indices = torch.arange(offset, offset + 1000)
        frames = embedded.single(split, indices, torch.zeros_like(indices)).frames[:, 0, 0]
        assert torch.equal(frames, torch.from_numpy(images[start : start + 1000]) / 255)


@pytest.mark.parametrize("index", [-1, 8000])
def test_index_out_of_range(embedded: MnistSequences, index: int) -> None:
    with pytest.raises(IndexError):
        embedded.single("train", torch.tensor([index]), torch.tensor([0]))


def test_embedded_digits_have_no_test_split(embedded: MnistSequences) -> None:
    for use in (embedded.size, lambda split: embedded.single(split, torch.tensor([0]), torch.tensor([0]))):
        with pytest.raises(UserError, match="embedded digits have no test split.*--data.root"):
            use("test")
    with pytest.raises(UserError, match="^split: found 'trial', expected one of train, validation, test$"):
        embedded.size("trial")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", ["", "MNIST/raw"])
def test_files_of_the_user(tmp_path: Path, folder: str, suffix: str) -> None:
    training = write_digits(tmp_path / folder, "train", 21, suffix)
    data = MnistSequences(DataConfig(root=tmp_path, num_steps=2))
    assert (data.size("train"), data.size("validation")) == (16, 5)
    found = np.concatenate([first_frames(data, "train"), first_frames(data, "validation")])
    np.testing.assert_array_equal(found, training)
    with pytest.raises(UserError, match=f"^data.root: found no t10k-images-idx3-ubyte or .* in {tmp_path} or"):
        data.size("test")
    test = write_digits(tmp_path / folder, "t10k", 7, suffix, seed=1)
    assert data.size("test") == 7
    np.testing.assert_array_equal(first_frames(data, "test"), test)


def test_missing_files_name_root(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(UserError, match=f"^data.root: found no train-images-idx3-ubyte or .* in {absent} or"):
        MnistSequences(DataConfig(root=absent))
    write_digits(tmp_path, "train", 5)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="^data.root: found no train-labels-idx1-ubyte or"):
        MnistSequences(DataConfig(root=tmp_path))


def test_too_few_digits_to_split(tmp_path: Path) -> None:
    write_digits(tmp_path, "train", 1)
    with pytest.raises(UserError, match="^data.root: found '1 training digits', expected at least 2"):
        MnistSequences(DataConfig(root=tmp_path))
    write_digits(tmp_path, "train", 2)
    data = MnistSequences(DataConfig(root=tmp_path))
    assert (data.size("train"), data.size("validation")) == (1, 1)


@pytest.mark.parametrize("protocol", ["ffrl", "sta"])
def test_single_sequences_are_powers_of_the_unit_step(protocol: str) -> None:
    data = MnistSequences(DataConfig(protocol=protocol, num_steps=5))
    indices, which = torch.tensor([3, 1, 4, 1, 5, 9]), torch.tensor([0, 1, 2, 2, 1, 0])
    batch = data.single("validation", indices, which)
    assert batch.frames.shape == (6, 6, 3, 28, 28) and batch.frames.dtype == torch.float32
    assert torch.equal(batch.activity, torch.eye(3)[which][:, None].expand(6, 5, 3))
    images = torch.from_numpy(read_training_digits(None).images[8000:][indices]) / 255
    for time in range(6):
        state = time * torch.eye(3)[which][:, None]
        expected = render(pad(images), parameters(state, protocol), 28, 28)[:, 0]
        torch.testing.assert_close(batch.frames[:, time], expected, atol=1e-6, rtol=0)


def test_nine_steps_of_rotation_are_a_quarter_turn() -> None:
    indices = torch.arange(5)
    frames = MnistSequences(DataConfig(num_steps=9)).single("validation", indices, torch.ones_like(indices)).frames
    torch.testing.assert_close(frames[:, 9], frames[:, 0].rot90(1, (-2, -1)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("protocol", ["ffrl", "sta"])
def test_mixed_sequences(protocol: str) -> None:
    config = DataConfig(
        protocol=protocol, on_rate=0.2, off_rate=0.3, speed_spread=0.4, num_steps=4, start_probability=0.0
    )
    data = MnistSequences(config)
    indices = torch.arange(600)
    batch = data.mixed("train", indices, torch.Generator().manual_seed(3))
    frames, activity = batch
    assert frames.shape == (600, 5, 3, 28, 28) and activity.shape == (600, 4, 3)
    assert frames.dtype == activity.dtype == torch.float32 and frames.min() >= 0 and frames.max() <= 1
    active = activity != 0
    mean = 0.4 if protocol == "sta" else (1 + 0.1 * 2 / 3) / 3
    assert active.double().mean().item() == pytest.approx(mean, abs=5 * (0.24 / 600 / 3) ** 0.5)
    speeds = activity[active]
    if protocol == "ffrl":
        assert 0.6 - 1e-6 <= speeds.min() and speeds.max() <= 1.4 + 1e-6 and speeds.std() > 0.2
    else:
        assert (speeds - 1).abs().mean().item() == pytest.approx(0.1, abs=0.01)
    # per sample: at every time some sequences move and others rest, and a frame changes exactly where one is on
    assert active.any(-1).any(0).all()
    assert (~active).all(-1).any(0).all() if protocol == "sta" else active.any(-1).all()
    moved = frames.diff(dim=1).abs().amax(dim=(2, 3, 4)) > 1e-3
    assert torch.equal(moved, active.any(-1))
    state = torch.cat((torch.zeros(600, 1, 3), activity.cumsum(1)), dim=1)
    images = torch.from_numpy(read_training_digits(None).images[:600]) / 255
    torch.testing.assert_close(frames, render(pad(images), parameters(state, protocol), 28, 28), atol=1e-6, rtol=0)


def test_mixed_sequences_start_anywhere_within_reach() -> None:
    data = MnistSequences(DataConfig(start_probability=1.0))
    blank = MnistSequences(DataConfig(start_probability=0.0))
    indices = torch.arange(200)
    moved, still = (d.mixed("train", indices, torch.Generator().manual_seed(5)) for d in (data, blank))
    assert torch.equal(moved.activity, still.activity)
    green = moved.frames[:, 0, 1].amax((-2, -1)) > 0
    assert green.double().mean() > 0.8 and not (still.frames[:, 0, 1] > 0).any()


def test_half_of_them_start_where_they_are_unless_told_otherwise() -> None:
    indices = torch.arange(20)
    usual, half, all_moved = (
        MnistSequences(DataConfig(start_probability=p)).mixed("train", indices, torch.Generator().manual_seed(5)).frames
        for p in (None, 0.5, 1.0)
    )
    assert torch.equal(usual, half) and not torch.equal(usual, all_moved)


def test_single_sequences_may_start_elsewhere_in_the_other_transformations(embedded: MnistSequences) -> None:
    indices, which = torch.arange(200), torch.arange(200) % 3
    plain = embedded.single("train", indices, which)
    moved = embedded.single("train", indices, which, torch.Generator().manual_seed(2))
    assert torch.equal(plain.activity, moved.activity)
    hue = which == 2
    assert not moved.frames[hue][:, 0, 1].any(), "the transformation that acts starts at zero"
    assert moved.frames[~hue][:, 0, 1].amax((-2, -1)).gt(0).double().mean() > 0.3


def test_mixed_depends_on_the_seed_only(embedded: MnistSequences) -> None:
    indices = torch.arange(16)
    first, again, other = (embedded.mixed("train", indices, torch.Generator().manual_seed(s)) for s in (7, 7, 8))
    assert torch.equal(first.frames, again.frames) and torch.equal(first.activity, again.activity)
    assert not torch.equal(first.activity, other.activity)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    embedded.mixed("train", indices, torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_activity_decides_nothing_about_other_samples(embedded: MnistSequences) -> None:
    indices, which = torch.tensor([5, 6, 7]), torch.tensor([0, 1, 2])
    together = embedded.single("train", indices, which)
    for sample in range(3):
        alone = embedded.single("train", indices[sample : sample + 1], which[sample : sample + 1])
        torch.testing.assert_close(together.frames[sample], alone.frames[0], atol=1e-6, rtol=0)
        assert torch.equal(together.activity[sample], alone.activity[0])


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server with ten digits of each kind in place of the published files; the names that are asked of it."""
    folder, asked = tmp_path / "served", []
    for part in ("train", "t10k"):
        write_digits(folder, part, 10, ".gz")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            asked.append(self.path.removeprefix("/"))

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(mnist, "URL", f"http://127.0.0.1:{server.server_port}/")
        for name in mnist.FILES:
            monkeypatch.setitem(mnist.FILES, name, hashlib.sha256((folder / name).read_bytes()).hexdigest())
        yield asked
        server.shutdown()
        thread.join()


def test_download_fetches_what_is_missing_only(tmp_path: Path, served: list[str]) -> None:
    root, names = tmp_path / "new" / "root", list(mnist.FILES)

    def load() -> None:
        data = MnistSequences(DataConfig(root=root, download=True))
        assert (data.size("train"), data.size("validation"), data.size("test")) == (8, 2, 10)

    load()
    load()
    assert served == names and sorted(path.name for path in root.iterdir()) == sorted(names)
    (root / "t10k-labels-idx1-ubyte.gz").unlink()
    load()
    assert served[4:] == ["t10k-labels-idx1-ubyte.gz"]
    plain = tmp_path / "plain"
    for part in ("train", "t10k"):
        write_digits(plain / "MNIST" / "raw", part, 10)
    MnistSequences(DataConfig(root=plain, download=True))
    assert len(served) == 5 and len(list(plain.iterdir())) == 1


def test_failed_download_is_one_line(tmp_path: Path, served: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def line(root: Path) -> str:
        with pytest.raises(UserError) as error:
            MnistSequences(DataConfig(root=root, download=True))
        assert "\n" not in str(error.value) and ", expected " in str(error.value) or "cannot write" in str(error.value)
        return str(error.value)

    (tmp_path / "file").touch()
    assert line(tmp_path / "file").startswith(f"cannot write {tmp_path / 'file'}")
    monkeypatch.setitem(mnist.FILES, "train-images-idx3-ubyte.gz", "0" * 64)
    assert "train-images-idx3-ubyte.gz.part: found SHA-256 " in line(tmp_path / "root")
    assert not list((tmp_path / "root").iterdir())
    monkeypatch.setattr(mnist, "URL", "http://127.0.0.1:9/")
    assert line(tmp_path / "root").startswith("http://127.0.0.1:9/train-images-idx3-ubyte.gz: found no way to fetch it")
