"""Finding and opening recordings: natural order, every kind with the same frames, and a line for whatever is broken."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from recording_tools import moving, save_animation, save_pictures

from ffrl.core.errors import UserError
from ffrl.data.recordings import array_frames
from ffrl.data.recordings.array_frames import layout_of
from ffrl.data.recordings.find import BrokenRecording, find_recordings, open_recording


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    """Write an array in the format its name says."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez_compressed(path, frames=array, labels=np.arange(3))
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("frames", data=array, **options)
    return path


def test_recordings_are_found_at_any_depth_in_natural_order(tmp_path: Path) -> None:
    for name in ("b10.mp4", "b9.npy", "a/x.GIF", "a/deep/2.h5", "a/deep/11.avi", "notes.txt", ".hidden.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    save_pictures(tmp_path / "walk 10", moving(3))
    save_pictures(tmp_path / "walk 9", moving(3), "jpg")
    save_pictures(tmp_path / ".git", moving(3))
    found = find_recordings(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in found.paths]
    assert names == ["a/deep/2.h5", "a/deep/11.avi", "a/x.GIF", "b9.npy", "b10.mp4", "walk 9", "walk 10"]
    assert found.ignored == 1
    assert find_recordings(tmp_path / "walk 9").paths == (tmp_path / "walk 9",)
    assert find_recordings(tmp_path / "b9.npy").paths == (tmp_path / "b9.npy",)


def test_nothing_counts_twice_and_links_may_lead_in_circles(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.npy").touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "again.npy").symlink_to(tmp_path / "a" / "1.npy")
    save_pictures(tmp_path / "walk", moving(3))
    (tmp_path / "walk again").symlink_to(tmp_path / "walk")
    assert len(find_recordings(tmp_path).paths) == 2


def test_a_cache_among_the_recordings_is_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "1.npy").touch()
    (tmp_path / "2.npy").touch()
    assert find_recordings(tmp_path, besides=tmp_path / "cache").paths == (tmp_path / "2.npy",)


def test_paths_without_recordings_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for path, part in (
        (tmp_path / "nowhere", "found no file or folder"),
        (tmp_path / "notes.txt", "a file of type '.txt', expected .npy, .npz, .h5"),
        (tmp_path, "found no recordings in"),
    ):
        with pytest.raises(UserError, match="^data.root: ") as error:
            find_recordings(path)
        assert part in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "hdf5"])
@pytest.mark.parametrize("order", ["last", "first", "grey", "grey last", "float", "parts"])
def test_arrays_of_every_order_have_the_same_frames(tmp_path: Path, kind: str, order: str) -> None:
    frames = moving(12)
    if order.startswith("grey"):
        frames = frames[..., :1].repeat(3, -1)
    array = {
        "last": frames,
        "first": frames.transpose(0, 3, 1, 2),
        "grey": frames[..., 0],
        "grey last": frames[..., :1],
        "float": np.clip(np.float32(frames) - 0.3, 0, None) / 255,
        "parts": frames.reshape(3, 4, *frames.shape[1:]),
    }[order]
    opened = open_recording(save(tmp_path / f"a.{kind}", array), stride=3)
    wanted = frames.reshape(3, 4, *frames.shape[1:])[:, ::3].reshape(-1, *frames.shape[1:])
    wanted = wanted if order == "parts" else frames[::3]
    assert opened.parts == (3 if order == "parts" else 1) and opened.expected == len(wanted)
    assert np.array_equal(list(opened.frames), wanted)
    assert (opened.plain is not None) == (kind != "npz" and order != "float")


@pytest.mark.parametrize("options", [{"chunks": (5, 20, 28, 3)}, {"chunks": (5, 7, 9, 3), "compression": "gzip"}])
@pytest.mark.parametrize("stride", [1, 2, 7])
def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict, stride: int) -> None:
    monkeypatch.setattr(array_frames, "BLOCK", 4 * 20 * 28 * 3)
    frames = moving(23)
    for path in (
        save(tmp_path / "a.h5", frames, **options),
        *(save(tmp_path / f"a.{k}", frames) for k in ("npy", "npz")),
    ):
        opened = open_recording(path, stride)
        assert np.array_equal(list(opened.frames), frames[::stride])
        assert (opened.plain is None) == (path.suffix != ".npy")


def test_where_the_bytes_of_an_hdf5_file_are(tmp_path: Path) -> None:
    frames = moving(4)
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["other"] = np.zeros((2, 2))
        file["deep/images"] = frames
    plain = open_recording(tmp_path / "a.h5").plain
    assert plain is not None
    assert np.array_equal(np.memmap(plain.path, np.uint8, "r", plain.offset, frames.shape), frames)


def test_arrays_in_fortran_order_are_read_and_never_mapped(tmp_path: Path) -> None:
    opened = open_recording(save(tmp_path / "a.npy", np.asfortranarray(moving(5))))
    assert opened.plain is None and np.array_equal(list(opened.frames), moving(5))


@pytest.mark.parametrize("suffix", [".gif", ".png", ".apng"])
def test_animations(tmp_path: Path, suffix: str) -> None:
    frames = (moving(7) > 127).astype(np.uint8) * 255
    save_animation(tmp_path / f"a{suffix}", frames)
    (path,) = find_recordings(tmp_path).paths
    assert path == tmp_path / f"a{suffix}"
    assert np.array_equal(list(open_recording(path, 2).frames), frames[::2])


def test_folders_of_pictures_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    frames = moving(13)
    save_pictures(tmp_path / "walk", frames)
    opened = open_recording(tmp_path / "walk", 3)
    assert opened.expected == 5 and np.array_equal(list(opened.frames), frames[::3])


def broken(path: Path, *parts: str) -> str:
    """Assert that a recording is refused in one line that names it, and return the line."""
    with pytest.raises(BrokenRecording) as error:
        list(open_recording(path).frames)
    line = str(error.value)
    assert str(path) in line and "\n" not in line and len(line) < 500 and all(part in line for part in parts), line
    return line


def with_value(value: float, dtype: str = "float64") -> np.ndarray:
    array = np.full((6, 8, 9, 3), 0.5, dtype)
    array[4, 1, 2, 0] = value
    return array


@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
@pytest.mark.parametrize(
    ("array", "parts"),
    [
        (with_value(np.nan), ["1 NaN", "frame 5 and after"]),
        (with_value(np.inf, "float32"), ["inf"]),
        (with_value(255.0), ["[0.5, 255]", "[0, 1]"]),
        (with_value(-0.25, ">f4"), ["-0.25"]),
        (with_value(1e300), ["1e+300"]),
        (moving(4).astype(np.complex64), ["complex64", "integers"]),
        (moving(4).astype(np.int16) * 2, ["[0, 510]", "[0, 255]", "--data.sequences.range"]),
        (moving(4) > 3, ["bool"]),
        (np.zeros((0, 8, 9, 3), np.uint8), ["empty array", "(0, 8, 9, 3)"]),
        (np.zeros((4, 8, 9, 2), np.uint8), ["(4, 8, 9, 2)", "1 or 3 channels"]),
        (np.zeros((4, 3, 9, 3), np.uint8), ["(4, 3, 9, 3)"]),
        (np.zeros((8, 9), np.uint8), ["(8, 9)"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
@pytest.mark.filterwarnings("error")
def test_wrong_values_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, array: np.ndarray, parts: list[str]
) -> None:
    monkeypatch.setattr(array_frames, "BLOCK", 2 * 8 * 9 * 3 * array.dtype.itemsize)
    broken(save(tmp_path / f"a.{kind}", array), *parts)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "chunked.h5", "a.gif"])
def test_files_cut_short_anywhere_are_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.gif":
        save_animation(path, moving(6))
    else:
        save(path, moving(6), **({"chunks": (2, 20, 28, 3)} if name == "chunked.h5" else {}))
    content = path.read_bytes()
    for length in [*range(0, len(content), max(1, len(content) // 25)), len(content) - 1]:
        path.write_bytes(content[:length])
        broken(path)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "a.gif"])
def test_spoilt_files_never_crash(tmp_path: Path, name: str) -> None:
    path, rng = tmp_path / name, np.random.default_rng(0)
    save_animation(path, moving(6)) if name == "a.gif" else save(path, moving(6))
    content = path.read_bytes()
    for _ in range(60):
        spoilt = bytearray(content)
        for place in rng.integers(0, min(len(content), 3000), 4):
            spoilt[place] = rng.integers(256)
        path.write_bytes(spoilt)
        try:
            frames = list(open_recording(path).frames)
        except BrokenRecording as error:
            assert "\n" not in str(error)
        else:
            assert all(frame.dtype == np.uint8 and frame.shape[2] == 3 for frame in frames)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return (Path.touch, (tmp_path / "sprung",))

    np.save(tmp_path / "a.npy", np.array([Trap(), Trap()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", frames=np.array([Trap(), Trap()], dtype=object))
    broken(tmp_path / "a.npy", "object")
    broken(tmp_path / "a.npz", "object")
    assert not (tmp_path / "sprung").exists()


def test_several_arrays_need_a_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", left=moving(3), right=moving(3))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["left"], file["right"] = moving(3), moving(3)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["labels"] = np.zeros(4)
    broken(tmp_path / "a.npz", "left, right", "'frames'")
    broken(tmp_path / "a.h5", "left, right", "'frames'")
    broken(tmp_path / "b.h5", "arrays none")


def test_zipped_values_that_do_not_fit_are_noticed(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", moving(3))
    content = (tmp_path / "frames.npy").read_bytes()
    for number, spoilt in enumerate((content[:-5], content + b"more")):
        with zipfile.ZipFile(tmp_path / f"{number}.npz", "w") as archive:
            archive.writestr("frames.npy", spoilt)
        broken(tmp_path / f"{number}.npz", "damaged")


def test_folders_of_pictures_that_cannot_be_used(tmp_path: Path) -> None:
    for name in ("sizes", "damaged", "transparent", "animated"):
        save_pictures(tmp_path / name, moving(4))
    Image.new("RGB", (28, 21)).save(tmp_path / "sizes" / "2.png")
    (tmp_path / "damaged" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n spoilt")
    Image.new("RGBA", (28, 20), (9, 9, 9, 200)).save(tmp_path / "transparent" / "2.png")
    save_animation(tmp_path / "animated" / "2.png", moving(3))
    assert "2.png" in broken(tmp_path / "sizes", "28 x 21", "28 x 20")
    assert "2.png" in broken(tmp_path / "damaged", "damaged")
    assert "2.png" in broken(tmp_path / "transparent", "transparent pixels")
    assert "2.png" in broken(tmp_path / "animated", "3 frames in one file")


def test_frames_of_one_recording_have_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = iter([np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4, 3), np.uint8)])
    monkeypatch.setattr("ffrl.data.recordings.find.video_frames", lambda path, stride, how: frames)
    monkeypatch.setattr("ffrl.data.recordings.find.video_length", lambda *_: None)
    broken(tmp_path / "a.mp4", "frame 3 of 4 x 6 pixels, expected 6 x 4")


@pytest.mark.parametrize("name", ["gone.npy", "gone.npz", "gone.h5", "gone.gif", "gone.mp4", "gone.png"])
def test_files_that_have_gone_are_one_line(tmp_path: Path, name: str) -> None:
    broken(tmp_path / name)


def test_large_arrays_are_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    shape, least = (300, 256, 256, 3), 300 * 256 * 256 * 3
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, shape).flush()
    np.savez_compressed(tmp_path / "a.npz", frames=np.load(tmp_path / "a.npy", mmap_mode="r"))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("frames", shape, np.uint8, chunks=(8, 256, 256, 3), compression="gzip")
        for start in range(0, 300, 8):
            data[start : start + 8] = 0
    for name in ("a.npy", "a.npz", "a.h5"):
        tracemalloc.start()
        assert sum(1 for _ in open_recording(tmp_path / name).frames) == 300
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 0.3 * least, (name, peak)


def test_layouts() -> None:
    assert layout_of((9, 8, 7), "a")[:5] == (1, 9, 8, 7, 1)
    assert layout_of((9, 3, 8, 7), "a") == (1, 9, 8, 7, 3, True, False, False)
    assert layout_of((5, 9, 8, 7, 1), "a") == (5, 9, 8, 7, 1, False, True, False)
    assert layout_of((5, 9, 1, 8, 7), "a").frame_shape == (1, 8, 7)
