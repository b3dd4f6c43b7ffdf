"""Reading sequences and images from files: values exactly, and one clear line for everything that cannot be used."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ffrl.core.errors import UserError
from ffrl.data.recordings import read as reader
from ffrl.data.recordings.pictures import natural_key
from ffrl.data.recordings.read import read_images, read_sequence

SHAPE = (3, 6, 4)
GREY_SHAPE = (1, 6, 4)


def pixels(count: int = 5, seed: int = 0) -> np.ndarray:
    """Frames ``(count, 6, 4, 3)`` uint8 of few colours, no two equal."""
    drawn = np.random.default_rng(seed).integers(0, 2, (count, 6, 4, 3)) * 255
    drawn[:, 0, 0] = np.arange(count)[:, None] * 10
    return drawn.astype(np.uint8)


def expected(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2) / 255


def save_gif(path: Path, frames: np.ndarray, **options: object) -> None:
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(path, save_all=True, append_images=images[1:], loop=0, duration=100, **options)


def save_folder(folder: Path, frames: np.ndarray, form: str = "png") -> None:
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"frame{number}.{form}")


@pytest.mark.parametrize("kind", ["bytes last", "bytes first", "float32", "float64 big-endian", "batch of one", "npz"])
def test_arrays_are_read_in_any_order_and_type(tmp_path: Path, kind: str) -> None:
    frames = pixels()
    first, path = frames.transpose(0, 3, 1, 2), tmp_path / "clip.npy"
    if kind == "npz":
        path = tmp_path / "clip.npz"
        np.savez_compressed(path, labels=np.arange(5), frames=frames)
    else:
        array = {
            "bytes last": frames,
            "bytes first": first,
            "float32": np.float32(first) / 255,
            "float64 big-endian": (first / 255).astype(">f8"),
            "batch of one": first[None],
        }[kind]
        np.save(path, np.asfortranarray(array))
    read = read_sequence(path, SHAPE)
    assert read.dtype == torch.float32 and torch.allclose(read, expected(frames), atol=1e-7)


def test_the_only_array_of_an_npz_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=pixels())
    assert torch.equal(read_images(tmp_path / "a.npz", SHAPE), expected(pixels()))


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_animations_are_read_frame_by_frame(tmp_path: Path, suffix: str) -> None:
    save_gif(tmp_path / f"clip{suffix}", pixels())
    assert torch.equal(read_sequence(tmp_path / f"clip{suffix}", SHAPE), expected(pixels()))


def test_folders_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    frames = pixels(12)
    save_folder(tmp_path / "clip", frames)
    (tmp_path / "clip" / "notes.txt").write_text("not a frame")
    (tmp_path / "clip" / ".hidden.png").write_bytes(b"not a frame")
    (tmp_path / "clip" / "frames").mkdir()
    assert torch.equal(read_sequence(tmp_path / "clip", SHAPE), expected(frames))
    assert sorted(["b1", "a10", "a9.5", "A9"], key=natural_key) == ["A9", "a9.5", "a10", "b1"]


def test_jpeg_pictures_are_read(tmp_path: Path) -> None:
    flat = np.full((2, 6, 4, 3), 255, dtype=np.uint8)
    save_folder(tmp_path / "clip", flat, "JPG")
    assert torch.equal(read_sequence(tmp_path / "clip", SHAPE), expected(flat))


def test_one_image_is_enough_for_images_and_not_for_a_sequence(tmp_path: Path) -> None:
    frames = pixels(1)
    Image.fromarray(frames[0]).save(tmp_path / "one.png")
    np.save(tmp_path / "last.npy", frames[0])
    np.save(tmp_path / "first.npy", frames[0].transpose(2, 0, 1))
    for name in ("one.png", "last.npy", "first.npy"):
        assert torch.equal(read_images(tmp_path / name, SHAPE), expected(frames))
    with pytest.raises(UserError, match="found one frame, expected a sequence of at least two$"):
        read_sequence(tmp_path / "one.png", SHAPE)


def grey_files(folder: Path) -> tuple[np.ndarray, list[Path]]:
    """The same grey frames ``(N, 6, 4)`` in all kinds of files."""
    grey = pixels(4)[..., 0]
    np.save(folder / "bare.npy", grey)
    np.save(folder / "first.npy", grey[:, None])
    np.save(folder / "last.npy", grey[..., None])
    save_gif(folder / "clip.gif", grey)
    save_folder(folder / "clip", grey)
    return grey, [folder / name for name in ("bare.npy", "first.npy", "last.npy", "clip.gif", "clip")]


def test_grey_frames_suit_a_grey_model(tmp_path: Path) -> None:
    grey, paths = grey_files(tmp_path)
    for path in paths:
        assert torch.equal(read_sequence(path, GREY_SHAPE), torch.from_numpy(grey)[:, None] / 255), path


def test_grey_frames_are_coloured_only_when_asked_for(tmp_path: Path) -> None:
    grey, paths = grey_files(tmp_path)
    values = torch.from_numpy(grey)[:, None] / 255
    for path in paths:
        with pytest.raises(UserError, match="found grey images, expected 3 channels; --grey-as red or grey"):
            read_sequence(path, SHAPE)
        assert torch.equal(read_sequence(path, SHAPE, "grey"), values.expand(-1, 3, -1, -1))
        red = read_sequence(path, SHAPE, "red")
        assert torch.equal(red[:, :1], values) and red[:, 1:].abs().max() == 0


def test_a_gif_that_begins_grey_keeps_its_colours(tmp_path: Path) -> None:
    frames = pixels()
    frames[0] = frames[0][..., :1]
    images = [Image.fromarray(frames[0][..., 0]), *map(Image.fromarray, frames[1:])]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:])
    assert torch.equal(read_sequence(tmp_path / "a.gif", SHAPE), expected(frames))


def test_coloured_pictures_may_have_grey_ones_among_them(tmp_path: Path) -> None:
    frames = pixels()
    frames[2] = frames[2][..., :1]
    save_folder(tmp_path / "clip", frames)
    Image.fromarray(frames[2][..., 0]).save(tmp_path / "clip" / "frame2.png")
    assert torch.equal(read_sequence(tmp_path / "clip", SHAPE), expected(frames))


def refuse(path: Path, *parts: str, shape: tuple[int, int, int] = SHAPE) -> str:
    """Assert that a sequence is refused in one line that names its file, and return it."""
    with pytest.raises(UserError) as error:
        read_sequence(path, shape)
    line = str(error.value)
    assert line.startswith(str(path)) or line.startswith(f"cannot read {path}"), line
    assert "\n" not in line and len(line) < 600 and all(part in line for part in parts), line
    return line


def float_frames(value: float) -> np.ndarray:
    frames = np.full((3, *SHAPE), 0.5)
    frames[1, 2, 3, 1] = value
    return frames


@pytest.mark.parametrize(
    ("array", "parts"),
    [
        (float_frames(np.nan), ["1 NaN"]),
        (float_frames(np.inf), ["inf"]),
        (float_frames(1.5), ["1.5", "[0, 1]"]),
        (float_frames(-0.1), ["-0.1"]),
        (float_frames(1e300), ["inf"]),
        (pixels().astype(np.complex64), ["complex64", "integers"]),
        (pixels().astype(np.int64) * 2, ["[0, 510]", "[0, 255]"]),
        (pixels() > 0, ["bool"]),
        (np.zeros((3, 3, 7, 4)), ["(3, 7, 4)", "(3, 6, 4)"]),
        (np.zeros((3, 7, 4, 3)), ["(3, 7, 4)", "(3, 6, 4)"]),
        (np.zeros((3, 2, 6, 4)), ["(2, 6, 4)", "(3, 6, 4)"]),
        (np.zeros((0, 3, 6, 4)), ["at least one"]),
        (np.zeros((2, 5, 3, 6, 4)), ["(2, 5, 3, 6, 4)", "(T+1, 3, 6, 4)", "(T+1, 6, 4, 3)"]),
        (np.zeros(5), ["(5,)"]),
        (np.array(0.5), ["()"]),
        (np.array(["a", "b"]), ["<U1"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
@pytest.mark.filterwarnings("error")
def test_arrays_of_wrong_values_are_one_line(tmp_path: Path, array: np.ndarray, parts: list[str]) -> None:
    np.save(tmp_path / "a.npy", array)
    refuse(tmp_path / "a.npy", *parts)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))

    for name, save in (("a.npy", np.save), ("a.npz", np.savez)):
        save(tmp_path / name, np.array([Trap(), Trap()], dtype=object), allow_pickle=True)
        refuse(tmp_path / name, "object")
    (tmp_path / "pickle.npy").write_bytes(b"\x80\x04\x95\x1b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.")
    refuse(tmp_path / "pickle.npy", "damaged")
    assert not (tmp_path / "sprung").exists()


def header(shape: str, descr: str = "'|u1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_sizes_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    for name, shape in (("huge", "(99999999, 3, 6, 4)"), ("absurd", "(9" + "9" * 30 + ", 6, 4)")):
        (tmp_path / f"{name}.npy").write_bytes(header(shape) + b"abc")
        refuse(tmp_path / f"{name}.npy", "values or more, expected at most")
    (tmp_path / "wide.npy").write_bytes(header("(2, 3, 99999, 99999)") + b"abc")
    refuse(tmp_path / "wide.npy", "a frame of 28,610 MiB, expected 192 or less (--data.sequences.frame-mib)")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("frames.npy", header("(99999999, 3, 6, 4)"))
    refuse(tmp_path / "a.npz", "expected at most")
    (tmp_path / "short.npy").write_bytes(header("(2, 3, 6, 4)") + b"abc")
    refuse(tmp_path / "short.npy", "damaged")
    (tmp_path / "evil.npy").write_bytes(header("(2, 3, 6, 4)", "__import__('os')") + b"abc")
    refuse(tmp_path / "evil.npy", "damaged")


def test_too_many_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_gif(tmp_path / "a.gif", pixels())
    save_folder(tmp_path / "a", pixels())
    monkeypatch.setattr(reader, "MOST_VALUES", 4 * 72)
    refuse(tmp_path / "a.gif", "expected at most 288")
    refuse(tmp_path / "a", "expected at most 288")


def saved(path: Path) -> Path:
    """A small sequence in a file of any kind."""
    if path.suffix == ".npy":
        np.save(path, pixels())
    elif path.suffix == ".npz":
        np.savez_compressed(path, frames=pixels())
    else:
        save_gif(path, pixels())
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.gif", "a.png"])
def test_files_cut_short_anywhere_are_one_line(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name)
    content = path.read_bytes()
    least = len(content) - (20 if name == "a.png" else 0)  # a PNG ends with checksums and an empty chunk
    for length in [*range(0, least, max(1, least // 60)), least - 1]:
        path.write_bytes(content[:length])
        refuse(path)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.gif", "a.png"])
def test_spoilt_files_never_crash(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name)
    content, rng = path.read_bytes(), np.random.default_rng(1)
    for _ in range(150):
        spoilt = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            spoilt[place] = rng.integers(256)
        path.write_bytes(spoilt)
        try:
            frames = read_sequence(path, SHAPE)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert frames.shape[1:] == SHAPE and 0 <= frames.min() and frames.max() <= 1


def png_of_size(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.filterwarnings("error")
def test_decompression_bombs_are_one_line(tmp_path: Path) -> None:
    for number, size in enumerate([(10_000, 10_000), (60_000, 60_000), (5_000, 5_000)]):
        path = tmp_path / f"{number}.png"
        path.write_bytes(png_of_size(*size))
        refuse(path)
    content = bytearray(gif_bytes())
    content[6:10] = struct.pack("<HH", 65_535, 65_535)
    (tmp_path / "a.gif").write_bytes(content)
    refuse(tmp_path / "a.gif")


def gif_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(1)[0]).save(buffer, "GIF")
    return buffer.getvalue()


def test_pictures_of_wrong_kinds_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for image, part in (
        (Image.new("RGB", (5, 6)), "5 x 6 pixels, expected 4 x 6"),
        (Image.new("RGBA", (4, 6), (255, 0, 0, 9)), "transparent"),
    ):
        image.save(path)
        refuse(path, part)
    Image.new("RGBA", (4, 6), (255, 0, 0, 255)).save(path)
    assert read_images(path, SHAPE)[0, :, 0, 0].tolist() == [1, 0, 0]
    path.write_bytes(gif_bytes())
    assert read_images(path, SHAPE).shape == (1, *SHAPE), "pictures are told by what they are"
    path.write_bytes(b"P6 4 6 255 " + bytes(72))
    refuse(path, "not a picture of this format")


def test_folders_that_cannot_be_used_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "no pictures")
    save_folder(tmp_path / "sizes", pixels())
    Image.new("RGB", (4, 7)).save(tmp_path / "sizes" / "frame2.png")
    assert "frame2.png" in refuse(tmp_path / "sizes", "4 x 7", "4 x 6")
    save_folder(tmp_path / "many", pixels())
    save_gif(tmp_path / "many" / "frame2.png", pixels())
    refuse(tmp_path / "many", "5 frames in one file")


def test_other_files_are_one_line(tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere.npy", "no such file")
    refuse(tmp_path / ("x" * 300), "no such file")
    (tmp_path / "clip.txt").write_bytes(b"")
    refuse(tmp_path / "clip.txt", "'.txt'", ".gif, ", ".npy, .npz, .png, ", "or a folder")
    np.savez(tmp_path / "two.npz", a=pixels(), b=pixels())
    refuse(tmp_path / "two.npz", "a, b", "'frames'")
    np.savez(tmp_path / "none.npz")
    refuse(tmp_path / "none.npz", "none")
