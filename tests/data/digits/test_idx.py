"""The idx reader: what it reads, and one clear line for every kind of damage."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from run_tools import within

from ffrl.core.errors import UserError
from ffrl.data.digits.idx import read_digits, read_idx


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">{1 + values.ndim}I", 0x0800 + values.ndim, *values.shape) + values.tobytes()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


def random_bytes(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def refused(match: str, read, *arguments) -> None:
    """Assert that ``read`` raises UserError with one line that starts with the file and matches ``match``."""
    with pytest.raises(UserError, match=match) as caught:
        read(*arguments)
    message = str(caught.value)
    assert "\n" not in message and ": found " in message and ", expected " in message


@pytest.mark.parametrize("name", ["images", "images.gz"])
@pytest.mark.parametrize("shape", [(5,), (3, 28, 28), (2, 3, 4, 5)])
def test_round_trip(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    values = random_bytes(*shape)
    found = read_idx(write(tmp_path / name, idx_bytes(values)), rank=len(shape))
    assert found.dtype == np.uint8 and found.flags.writeable
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_missing(tmp_path: Path, name: str) -> None:
    refused(f"^{tmp_path}/{name}: found no such file", read_idx, tmp_path / name, 3)


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_not_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    refused(f"^{tmp_path}/{name}: found a file that cannot be read", read_idx, tmp_path / name, 3)


def test_not_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "images", idx_bytes(random_bytes(3, 28, 28)))

    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(Path, "open", denied)
    refused(f"^{file}: found a file that cannot be read .Permission denied.", read_idx, file, 3)


@pytest.mark.parametrize("size", [20, 200, -1])
def test_truncated_gzip(tmp_path: Path, size: int) -> None:
    content = gzip.compress(idx_bytes(random_bytes(3, 28, 28)))
    file = tmp_path / "images.gz"
    file.write_bytes(content[:size])
    refused(f"^{file}: found damaged gzip data", read_idx, file, 3)


@pytest.mark.parametrize("position", [0, 12, 100, -6])
def test_damaged_gzip(tmp_path: Path, position: int) -> None:
    content = bytearray(gzip.compress(idx_bytes(random_bytes(3, 28, 28)), mtime=0))
    content[position] ^= 0xFF
    file = tmp_path / "images.gz"
    file.write_bytes(content)
    refused(f"^{file}: found damaged gzip data", read_idx, file, 3)


def test_not_gzip_in_spite_of_its_name(tmp_path: Path) -> None:
    file = tmp_path / "images.gz"
    file.write_bytes(idx_bytes(random_bytes(3, 28, 28)))
    refused(f"^{file}: found damaged gzip data", read_idx, file, 3)


@pytest.mark.parametrize("magic", [0x0801, 0x0D03, 0x03080000, 0x1F8B0800])
def test_wrong_magic(tmp_path: Path, magic: int) -> None:
    content = struct.pack(">I", magic) + idx_bytes(random_bytes(3, 28, 28))[4:]
    file = write(tmp_path / "images", content)
    refused(f"^{file}: found magic number 0x{magic:08x}, expected 0x00000803", read_idx, file, 3)


@pytest.mark.parametrize("size", [0, 3, 15])
def test_shorter_than_its_header(tmp_path: Path, size: int) -> None:
    file = write(tmp_path / "images", idx_bytes(random_bytes(3, 28, 28))[:size])
    refused(f"^{file}: found {size} bytes, expected an idx header of 16 bytes", read_idx, file, 3)


@pytest.mark.parametrize("name", ["images", "images.gz"])
@pytest.mark.parametrize("change", [-1, 1, -784])
def test_wrong_length(tmp_path: Path, name: str, change: int) -> None:
    content = idx_bytes(random_bytes(3, 28, 28))
    content = content[:change] if change < 0 else content + bytes(change)
    file = write(tmp_path / name, content)
    found = f"{3 * 784 + change}" if change < 0 else f"more than {3 * 784}"
    refused(f"^{file}: found {found} bytes of values, expected {3 * 784} for", read_idx, file, 3)


def test_huge_sizes_in_a_damaged_header_allocate_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "images", struct.pack(">4I", 0x0803, *[2**32 - 1] * 3) + bytes(100))
    refused(f"^{file}: found sizes .4294967295, .*, expected at most 1,073,741,824 bytes", read_idx, file, 3)


@pytest.mark.parametrize("header", [bytes(16), struct.pack(">4I", 0x0803, 3, 28, 28)])
def test_a_bomb_is_refused_for_what_it_says_of_itself(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / "images.gz"
    with gzip.open(file, "wb", compresslevel=1) as bomb:
        bomb.write(header)
        for _ in range(64):
            bomb.write(bytes(2**20))
    with within(2**20):
        refused(f"^{file}: found (magic number 0x00000000|more than 2352 bytes)", read_idx, file, 3)


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 28, 27), (3, 14, 56)])
def test_wrong_image_size(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    images = write(tmp_path / "images", idx_bytes(random_bytes(*shape)))
    labels = write(tmp_path / "labels", idx_bytes(random_bytes(3)))
    found = f"{shape[1]} x {shape[2]} pixels, expected 28 x 28"
    refused(f"^{images}: found images of {found}", read_digits, images, labels)


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    images = write(tmp_path / "images", idx_bytes(random_bytes(3, 28, 28)))
    labels = write(tmp_path / "labels", idx_bytes(random_bytes(4)))
    refused(f"^{labels}: found 4 labels, expected 3", read_digits, images, labels)


def test_images_and_labels_swapped(tmp_path: Path) -> None:
    images = write(tmp_path / "images", idx_bytes(random_bytes(3, 28, 28)))
    labels = write(tmp_path / "labels", idx_bytes(random_bytes(3)))
    assert read_digits(images, labels).labels.shape == (3,)
    refused(f"^{labels}: found 11 bytes, expected", read_digits, labels, images)
