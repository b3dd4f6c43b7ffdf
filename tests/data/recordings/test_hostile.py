"""Files that are small and become large, lead elsewhere, or are something else: one line, before they are decoded."""

from __future__ import annotations

import shutil
import socket
import struct
import zipfile
import zlib
from pathlib import Path

import av
import fuzz_watch
import h5py
import numpy as np
import pytest
from PIL import Image
from recording_tools import flat, moving, save_pictures, save_video, settings

import ffrl.data
from ffrl.config import ClipsConfig, DataConfig
from ffrl.core.errors import UserError
from ffrl.data.recordings import array_files, checks
from ffrl.data.recordings.activity import known_activity
from ffrl.data.recordings.clips import ClipSequences
from ffrl.data.recordings.find import BrokenRecording, open_recording
from ffrl.data.recordings.read import read_images


def refuse(path: Path, part: str, **how: object) -> None:
    with pytest.raises(BrokenRecording) as error:
        list(open_recording(path, how=ClipsConfig(**how)).frames)
    assert part in str(error.value) and "\n" not in str(error.value), error.value


def header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_frames_of_arrays_are_limited_before_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(header((9, 30_000, 30_000), "<f8"))
    refuse(tmp_path / "a.npy", "a frame of 6,867 MiB, expected 192 or less (--data.sequences.frame-mib)")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("frames.npy", header((9, 30_000, 30_000), "<f8"))
        archive.writestr("activity.npy", header((8, 2), "<f8") + bytes(128))
    refuse(tmp_path / "a.npz", "a frame of 6,867 MiB")
    with pytest.raises(BrokenRecording, match="a frame of 6,867 MiB"):
        known_activity(tmp_path / "a.npz")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frames"] = np.zeros((3, 400, 400))
    refuse(tmp_path / "a.h5", "a frame of 2 MiB, expected 1 or less", frame_mib=1)


def test_the_limit_can_be_raised(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 1200, 1200), np.uint8))
    refuse(tmp_path / "a.npy", "a frame of 2 MiB, expected 1 or less", frame_mib=1)
    assert len(list(open_recording(tmp_path / "a.npy", how=ClipsConfig(frame_mib=2)).frames)) == 3


def test_chunks_of_hdf5_are_limited(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("frames", (2000, 40, 40), "u1", chunks=(2000, 40, 40), compression="gzip")[:] = 1
    refuse(tmp_path / "a.h5", "a chunk of 4 MiB, expected 1 or less", frame_mib=1)
    with pytest.raises(UserError, match="a chunk of 4 MiB"):
        read_images(tmp_path / "a.h5", (1, 40, 40), how=ClipsConfig(frame_mib=1))


def test_hdf5_of_which_nothing_is_stored_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("frames", (2**33, 64, 64, 3), "u1", chunks=(1, 64, 64, 3))
    refuse(tmp_path / "a.h5", "frames: found an array of which nothing is stored, expected its values")


def test_the_disk_has_room_for_the_frames_before_any_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", moving(30, 20, 20))
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9000, 1, 8999))
    with pytest.raises(
        UserError, match="data.sequences.cache: found 0.0 GiB free in .*, expected .* for the frames of"
    ):
        ClipSequences(settings(tmp_path / "a.npy"))
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_activity_is_limited(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("frames.npy", "w") as file:
            np.lib.format.write_array(file, moving(9))
        archive.writestr("transformations.npy", header((2**21,), "|S1") + bytes(2**21))
    with pytest.raises(BrokenRecording, match="transformations: found 2,097,.* bytes, expected at most 1,048,576"):
        known_activity(tmp_path / "a.npz")


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["png", "gif", "bmp"])
def test_pictures_are_limited_before_they_are_decoded(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / f"0.{kind}" if kind != "gif" else tmp_path / "a.gif"
    if kind == "png":
        path.write_bytes(png(60_000, 60_000))
    elif kind == "gif":
        path.write_bytes(b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + b"\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;")
    else:
        Image.new("RGB", (800, 800)).save(path)
        refuse(tmp_path / "a", "a frame of 2 MiB, expected 1 or less", frame_mib=1)
        return
    refuse(tmp_path / "a" if kind == "png" else path, "a frame of 10,300 MiB, expected 192 or less")


def test_videos_are_limited_before_they_are_decoded(tmp_path: Path) -> None:
    save_video(tmp_path / "a.mp4", flat([(9, 9, 9)] * 3, 800, 800))
    refuse(tmp_path / "a.mp4", "a frame of 2 MiB, expected 1 or less", frame_mib=1)


@pytest.mark.parametrize("name", ["tcp:127.0.0.1:{}.mp4", "http:127.0.0.1:{}.mp4"])
def test_names_of_files_are_no_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        path = Path(name.format(server.getsockname()[1]))
        save_video(tmp_path / "a.mp4", flat([(200, 9, 9)] * 4))
        (tmp_path / "a.mp4").rename(tmp_path / path)
        assert len(list(open_recording(path).frames)) == 4, "it is the file of this name"
        with pytest.raises(BlockingIOError):
            server.accept()


def test_lists_of_files_are_no_videos(tmp_path: Path) -> None:
    save_video(tmp_path / "b.mp4", flat([(200, 9, 9)] * 4))
    for number, text in enumerate(
        ("ffconcat version 1.0\nfile b.mp4\n", "#EXTM3U\n#EXTINF:1,\nb.mp4\n#EXT-X-ENDLIST\n")
    ):
        (tmp_path / f"{number}.mp4").write_text(text)
        refuse(tmp_path / f"{number}.mp4", "expected a video")


def test_hdf5_leads_to_no_other_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(range(256)) * 100)
    with h5py.File(tmp_path / "other.hdf", "w") as file:
        file["x"] = moving(9)
    shape = (9, 20, 28, 3)
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("frames", shape, "u1", external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)])
    layout = h5py.VirtualLayout(shape, "u1")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf"), "x", shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("frames", layout)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["frames"] = h5py.ExternalLink("other.hdf", "/x")
    with h5py.File(tmp_path / "soft.h5", "w") as file:
        file["there"], file["frames"] = h5py.ExternalLink("other.hdf", "/"), h5py.SoftLink("/there/x")
    with h5py.File(tmp_path / "circle.h5", "w") as file:
        file["frames"] = h5py.SoftLink("/frames")
    for name, part in (
        ("external", "found an array whose values are in other files, expected them in the file itself"),
        ("virtual", "found an array whose values are in other files"),
        ("link", "frames: found a link to other.hdf, expected the array in the file itself"),
        ("soft", "found a link to other.hdf"),
        ("circle", "found no array 'frames'"),
    ):
        refuse(tmp_path / f"{name}.h5", part)
    with h5py.File(tmp_path / "activity.h5", "w") as file:
        file["frames"] = moving(9)
        file["activity"] = h5py.ExternalLink("other.hdf", "/x")
    with pytest.raises(BrokenRecording, match="found a link to other.hdf"):
        known_activity(tmp_path / "activity.h5")


def test_a_missing_filter_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("frames", data=moving(9), chunks=(3, 20, 28, 3), compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: False)
    monkeypatch.setattr(array_files.importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(
        UserError, match="compressed with filter 1 .*, which is not installed, expected it: pip"
    ) as error:
        open_recording(tmp_path / "a.h5")
    assert not isinstance(error.value, BrokenRecording), "a missing package is no reason to skip recordings"


@pytest.mark.parametrize("name", ["a.mp4", "a.npy", "a.npz", "a.h5", "a.gif", "a.png"])
@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (bytes(4096), "a file of zeros"),
    ],
)
def test_what_a_file_is_instead(tmp_path: Path, name: str, content: bytes, part: str) -> None:
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, f"found {part}")


def test_the_frames_of_a_gif_are_counted_for_its_progress(tmp_path: Path) -> None:
    images = [Image.fromarray(frame) for frame in moving(7)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:])
    assert open_recording(tmp_path / "a.gif", 2).expected == 4


def test_damaged_pictures_of_new_kinds_are_one_line(tmp_path: Path) -> None:
    for form in ("bmp", "webp", "tif"):
        save_pictures(tmp_path / form, moving(2), form)
        for cut in (20, 60, 200):
            data = tmp_path / form / f"1.{form}"
            whole = data.read_bytes()
            data.write_bytes(whole[:-cut])
            refuse(tmp_path / form, f"1.{form}")
            data.write_bytes(whole)


def test_transparent_videos_have_a_background(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("qtrle", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "argb"
        pixels = np.zeros((48, 64, 4), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        container.mux(stream.encode())
    refuse(tmp_path / "a.mov", "--data.sequences.background COLOUR")
    (frame,) = open_recording(tmp_path / "a.mov", how=ClipsConfig(background="lime")).frames
    assert (frame == (0, 255, 0)).all()


def test_shapes3d_leads_to_no_other_files(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file.create_dataset("images", (480_000, 64, 64, 3), "u1", chunks=(1, 64, 64, 3))
        file["labels"] = np.zeros((480_000, 6))
    with pytest.raises(UserError, match="images: found an array of which nothing is stored"):
        ffrl.data.load(DataConfig(name="shapes3d", root=tmp_path))


def test_arrays_of_which_most_is_not_stored_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("frames", (2**20, 16, 16, 3), "u1", chunks=(1, 16, 16, 3))[0] = 1
    refuse(tmp_path / "a.h5", "found 1 of 1,048,576 chunks of an array stored, expected its values")


def test_texts_in_a_heap_larger_than_the_file_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frames"], file["activity"] = moving(12, 16, 16), np.ones((11, 1))
        file["transformations"] = ["left"]
    assert known_activity(tmp_path / "a.h5") is not None
    content = bytearray((tmp_path / "a.h5").read_bytes())
    place = content.index(b"GCOL") + 8
    content[place : place + 8] = struct.pack("<Q", 2**31)
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(BrokenRecording, match=r"found damaged data \(a heap of 2,147,483,648 bytes\)"):
        known_activity(tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["activity", "transformations"])
def test_members_of_archives_that_are_no_arrays_are_one_line(tmp_path: Path, name: str) -> None:
    np.savez(
        tmp_path / "a.npz", frames=moving(12, 16, 16), **{"activity": np.ones((11, 1))} if name != "activity" else {}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr(f"{name}.npy", b"no array")
    with pytest.raises(BrokenRecording, match=f"a.npz: {name}: found the magic string is not correct"):
        known_activity(tmp_path / "a.npz")


def test_a_video_in_an_unknown_codec_is_one_line(tmp_path: Path) -> None:
    save_video(tmp_path / "a.avi", flat([(255, 0, 0)] * 12))
    content = (tmp_path / "a.avi").read_bytes()
    assert content.count(b"FMP4") == 2
    (tmp_path / "a.avi").write_bytes(content.replace(b"FMP4", b"ZZZZ"))
    refuse(tmp_path / "a.avi", "found a video stream in no codec that is known, expected a video")


@pytest.mark.parametrize("disposal", [1, 2, 3])
def test_a_part_of_an_animation_that_is_too_large_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disposal: int
) -> None:
    images = [Image.fromarray(frame) for frame in moving(4, 16, 16)]
    options = {"save_all": True, "append_images": images[1:], "disposal": disposal, "optimize": False}
    images[0].save(tmp_path / "a.gif", **options)
    content = bytearray((tmp_path / "a.gif").read_bytes())
    place = content.index(struct.pack("<4H", 0, 0, 16, 16), content.index(struct.pack("<4H", 0, 0, 16, 16)) + 1)
    content[place : place + 8] = struct.pack("<4H", 0, 0, 40_000, 40_000)
    (tmp_path / "a.gif").write_bytes(content)
    monkeypatch.setattr(fuzz_watch, "MOST_BYTES", 2**27)
    with fuzz_watch.watched(tmp_path):
        refuse(tmp_path / "a.gif", "MiB, expected 192 or less (--data.sequences.frame-mib)")


def test_what_pillow_warns_of_is_not_shown(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    images = [Image.fromarray(frame) for frame in moving(3, 16, 16)]
    images[0].save(tmp_path / "a.tif", save_all=True, append_images=images[1:])
    content = bytearray((tmp_path / "a.tif").read_bytes())
    tags = int.from_bytes(content[4:8], "little")
    second = int.from_bytes(content[tags + 2 + 12 * content[tags] :][:4], "little")
    content[second] = 200  # entries of the directory of the second frame, beyond the end of the file
    (tmp_path / "a.tif").write_bytes(content[: second + 500])
    refuse(tmp_path / "a.tif", "found")
    assert not list(recwarn)
