"""Pictures and arrays as cameras, microscopes and other programs write them: the frames that every viewer shows."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image, ImageOps
from recording_tools import moving, save_pictures, settings

from ffrl.config import ClipsConfig
from ffrl.core.errors import UserError
from ffrl.data.recordings.clips import ClipSequences
from ffrl.data.recordings.find import BrokenRecording, find_recordings, open_recording
from ffrl.data.recordings.levels import Levels, levels_of, to_bytes


def frames_in(path: Path, **how: object) -> np.ndarray:
    return np.array(list(open_recording(path, how=ClipsConfig(**how)).frames))


def deep(count: int = 6) -> np.ndarray:
    """Grey frames of 16 bits whose levels of 8 bits are known."""
    return moving(count)[..., 0].astype(np.uint16) * 257


@pytest.mark.parametrize("form", ["bmp", "webp", "tif", "tiff", "png"])
def test_folders_of_any_lossless_picture(tmp_path: Path, form: str) -> None:
    frames = moving(5)
    (tmp_path / "walk").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "walk" / f"{number}.{form}", lossless=True)
    assert find_recordings(tmp_path).paths == (tmp_path / "walk",)
    assert np.array_equal(frames_in(tmp_path / "walk"), frames)


@pytest.mark.parametrize("suffix", [".tif", ".webp"])
def test_stacks_and_animations_are_recordings(tmp_path: Path, suffix: str) -> None:
    frames = moving(5)
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=images[1:], lossless=True)
    (path,) = find_recordings(tmp_path).paths
    opened = open_recording(path, 2)
    assert opened.expected == 3 and np.array_equal(list(opened.frames), frames[::2])


@pytest.mark.parametrize("form", ["png", "tif", "stack"])
def test_sixteen_bits_are_scaled_by_their_range(tmp_path: Path, form: str) -> None:
    images = [Image.fromarray(frame) for frame in deep()]
    path = tmp_path / "a.tif"
    if form == "stack":
        images[0].save(path, save_all=True, append_images=images[1:])
    else:
        path = tmp_path / "walk"
        path.mkdir()
        for number, image in enumerate(images):
            image.save(path / f"{number}.{form}")
    assert np.array_equal(frames_in(path)[..., 0], deep() // 257)
    twelve = frames_in(path, range="70000")[..., 0].astype(int)
    assert np.abs(twelve - deep() * (255 / 70000)).max() <= 0.5


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "int64", "uint64", ">u2", "float64"])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_arrays_of_any_numbers(tmp_path: Path, dtype: str, suffix: str) -> None:
    seen = moving(5)
    stored = seen.astype(dtype)
    stored = stored * 257 if dtype in ("uint16", ">u2") else stored / 255 if dtype == "float64" else stored
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, stored)
    elif suffix == ".npz":
        np.savez(path, frames=stored)
    else:
        with h5py.File(path, "w") as file:
            file["frames"] = stored
    assert np.array_equal(frames_in(path), seen)
    low, high = int(seen.min()), int(seen.max())
    own = np.rint((seen.astype(float) - low) * 255 / (high - low))
    assert np.array_equal(frames_in(path, range="own"), own)


def test_levels_by_type_and_by_hand() -> None:
    assert levels_of(np.dtype("uint16"), "type") == Levels(0, 65535)
    assert levels_of(np.dtype("int64"), "type") == levels_of(np.dtype("uint8"), "type") == Levels(0, 255)
    assert levels_of(np.dtype("float16"), "type") == Levels(0, 1) and levels_of(np.dtype("float16"), "own") is None
    assert to_bytes(np.array([0, 1], np.uint8), Levels(0, 1), "a").tolist() == [0, 255]
    with pytest.raises(UserError, match=r"found values in \[-1, 9\], expected values in \[0, 255\].*range own"):
        to_bytes(np.array([-1, 9]), Levels(0, 255), "a.npy")
    with pytest.raises(UserError, match="data.sequences.range: found 'dark', expected type, own or a number above 0"):
        ClipsConfig(range="dark")


def test_floats_are_clipped_by_no_more_than_rounding(tmp_path: Path) -> None:
    frames = np.full((5, 10, 10, 3), 0.5, np.float32)
    frames[0, 0, 0, 0], frames[1, 0, 0, 0] = np.nextafter(np.float32(1), np.float32(2)), -1e-9
    np.save(tmp_path / "a.npy", frames)
    found = frames_in(tmp_path / "a.npy")
    assert found[0, 0, 0, 0] == 255 and found[1, 0, 0, 0] == 0
    frames[2, 0, 0, 0] = 1.01
    np.save(tmp_path / "a.npy", frames)
    with pytest.raises(BrokenRecording, match="found values in"):
        frames_in(tmp_path / "a.npy")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["png", "jpg", "webp", "tif"])
def test_pictures_are_turned_as_viewers_turn_them(tmp_path: Path, orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = np.zeros((20, 32, 3), np.uint8)
    picture[:8, :8], picture[12:, :8], picture[:8, 24:] = (220, 30, 30), (30, 200, 30), (30, 30, 220)
    (tmp_path / "walk").mkdir()
    Image.fromarray(picture).save(tmp_path / "walk" / f"0.{form}", exif=exif, quality=95)
    with Image.open(tmp_path / "walk" / f"0.{form}") as image:
        image.load()
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(frames_in(tmp_path / "walk")[0], shown)


def test_bursts_of_both_orientations_have_one_size(tmp_path: Path) -> None:
    (tmp_path / "burst").mkdir()
    frame = moving(1)[0]
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(frame).save(tmp_path / "burst" / "0.png")
    Image.fromarray(np.rot90(frame)).save(tmp_path / "burst" / "1.png", exif=turned)
    assert np.array_equal(frames_in(tmp_path / "burst"), [frame, frame])


def test_the_first_picture_of_a_camera_file_is_the_frame(tmp_path: Path) -> None:
    (tmp_path / "burst").mkdir()
    for number in range(4):
        picture = Image.new("RGB", (28, 20), (60 * number, 0, 0))
        small = picture.resize((14, 10))
        picture.save(tmp_path / "burst" / f"{number}.jpg", "MPO", save_all=True, append_images=[small])
    found = frames_in(tmp_path / "burst")
    assert found.shape == (4, 20, 28, 3) and np.abs(found[:, 0, 0, 0] - 60 * np.arange(4)).max() < 3


@pytest.mark.parametrize(("name", "form"), [("jpg", "PNG"), ("png", "JPEG"), ("png", "WEBP"), ("tif", "BMP")])
def test_pictures_are_what_they_are_whatever_they_are_called(tmp_path: Path, name: str, form: str) -> None:
    (tmp_path / "a").mkdir()
    for number in range(3):
        Image.new("RGB", (28, 20), (90, 90, 90)).save(tmp_path / "a" / f"{number}.{name}", form)
    assert np.abs(frames_in(tmp_path / "a").astype(int) - 90).max() < 3


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "gif"])
def test_a_background_stands_behind_transparent_pixels(tmp_path: Path, kind: str) -> None:
    clear = Image.new("RGBA", (28, 20), (0, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 14, 20))
    path = tmp_path / ("a.gif" if kind == "gif" else "a")
    if kind == "gif":
        clear.save(path, save_all=True, append_images=[clear.transpose(Image.Transpose.FLIP_LEFT_RIGHT)], disposal=2)
    else:
        path.mkdir()
        image = clear.convert("LA") if kind == "LA" else clear.quantize(8) if kind == "palette" else clear
        image.save(path / "0.png")
    with pytest.raises(BrokenRecording, match="transparent pixels, expected .*--data.sequences.background COLOUR"):
        frames_in(path)
    found = frames_in(path, background="#ffff00")[0]
    assert found[0, -1].tolist() == [255, 255, 0] and found[0, 0].tolist() != [255, 255, 0]
    with pytest.raises(UserError, match="data.sequences.background: found 'nocolour', expected a colour"):
        ClipsConfig(background="nocolour")


def test_grey_recordings_need_no_axis_of_channels(tmp_path: Path) -> None:
    grey = np.stack([moving(12, 16, 16, seed=seed)[..., 0] for seed in range(5)])
    np.save(tmp_path / "a.npy", grey)
    opened = open_recording(tmp_path / "a.npy")
    assert opened.parts == 5 and np.array_equal(np.array(list(opened.frames))[..., 0], grey.reshape(-1, 16, 16))
    np.save(tmp_path / "b.npy", grey.swapaxes(0, 1))
    assert np.array_equal(frames_in(tmp_path / "b.npy", axes="TNHW"), list(open_recording(tmp_path / "a.npy").frames))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", data=grey.swapaxes(0, 1), chunks=(3, 2, 16, 16), compression="gzip")
    assert np.array_equal(frames_in(tmp_path / "b.h5", axes="TNHW"), frames_in(tmp_path / "a.npy"))


@pytest.mark.parametrize("shape", [(20, 10, 64, 64), (20, 10000, 64, 64)])
def test_frames_before_sequences_are_not_taken_for_sequences(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, shape).flush()
    with pytest.raises(BrokenRecording, match="expected --data.sequences.axes TNHW, or NTHW for 20 recordings"):
        open_recording(tmp_path / "a.npy")
    assert open_recording(tmp_path / "a.npy", how=ClipsConfig(axes="TNHW")).parts == shape[1]


def test_which_array_is_read(tmp_path: Path) -> None:
    frames = moving(6)
    np.savez(tmp_path / "a.npz", left=frames, right=frames[::-1])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(200):
            file[f"data/demo_{number}/rgb"] = frames[number % 6 :]
        file["data/again"] = h5py.SoftLink("/data/demo_1/rgb")
    for path, name, wanted in (
        (tmp_path / "a.npz", "right", frames[::-1]),
        (tmp_path / "a.h5", "data/demo_2/rgb", frames[2:]),
        (tmp_path / "a.h5", "data/again", frames[1:]),
    ):
        with pytest.raises(BrokenRecording, match="--data.sequences.array NAME chooses") as error:
            open_recording(path)
        assert len(str(error.value)) < 400
        assert np.array_equal(frames_in(path, array=name), wanted)
        with pytest.raises(BrokenRecording, match="found no array 'middle', expected "):
            frames_in(path, array="middle")


def test_the_only_grey_array_of_an_hdf5_file_needs_no_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["times"] = moving(6)[..., 0], np.arange(6)
    assert np.array_equal(frames_in(tmp_path / "a.h5")[..., 0], moving(6)[..., 0])


def test_patterns_leave_out_files_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = tmp_path / "r"
    save_pictures(root / "walk", moving(30, 10, 10))
    for number in range(30):
        Image.new("RGB", (10, 10)).save(root / "walk" / f"{number}_mask.png")
    np.save(root / "left.npy", moving(30, 10, 10))
    (root / "raw").mkdir()
    np.save(root / "raw" / "left.npy", moving(30, 10, 10, seed=1))
    data = ClipSequences(settings(root))
    assert "pictures named in 2 ways (#.png, #_mask.png), read as one recording" in capsys.readouterr().err
    assert data.inventory is not None and data.inventory.sizes["walk"][0] == 60
    data = ClipSequences(settings(root, exclude="*_mask.png, raw"))
    assert data.inventory is not None and "ways" not in capsys.readouterr().err
    assert {name: size[0] for name, size in data.inventory.sizes.items()} == {"walk": 30, "left.npy": 30}
