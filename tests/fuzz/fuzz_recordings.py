"""Recordings, vectors and poses that are fuzzed: read as training reads them, and as ``--from`` does."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch
from fuzz_format import Format, check_message
from PIL import Image
from pose_tools import walk, write_csv, write_hdf5
from recording_tools import moving, save_video

import ffrl.data
from ffrl.config import ClipsConfig, DataConfig
from ffrl.core.errors import UserError, fitting
from ffrl.data.recordings.read import read_sequence
from ffrl.data.spec import DataSpec
from ffrl.training.run_folder import Description
from stf.registry import default_config

SIDE, FRAMES, STEPS = 16, 12, 3


def as_training(config: DataConfig) -> None:
    """What ``stf train`` does before its first step, and the frames of that."""
    config = default_config("unsupervised", config).data
    with fitting(f"data {config.name}"):
        data = ffrl.data.load(config, "cpu")
    for split in ("train", "validation"):
        data.mixed(split, torch.arange(min(3, data.size(split))), torch.Generator())
    Description(DataSpec.of(data), {}, data.inventory, data.contents()).encoded()


def each(path: Path, *reads: Callable[[], object]) -> None:
    """Read a file in several ways, and raise the first refusal when all of them have been tried."""
    refusals = []
    for read in reads:
        try:
            read()
        except UserError as error:
            check_message(error, path)
            refusals.append(error)
    if refusals:
        raise refusals[0]


def read_recording(path: Path, folder: bool = False, clips: bool = False) -> None:
    """Frames of a file, or of the folder that it is a picture of; its contents choose the settings.

    A file of ``clips`` is nothing for ``--from``.
    """
    root, cache = path.parent if folder else path, path.parents[1] / "cache"
    how = ClipsConfig(SIDE, cache=cache)
    if zlib.crc32(path.read_bytes()) % 2:
        how = ClipsConfig(SIDE, cache=cache, stride=2, range="own", background="white", crop="none")
    config = DataConfig(name="sequences", root=root, num_steps=STEPS - (how.stride > 1), sequences=how)
    try:
        shape = (3, SIDE, SIDE)
        reads = [lambda: as_training(config), lambda: read_sequence(root, shape, "grey", how=how, stride=how.stride)]
        each(path, *reads[: 1 if clips else 2])
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def read_plainly(name: str, path: Path) -> None:
    """Vectors or poses."""
    as_training(DataConfig(name=name, root=path, num_steps=STEPS))


def frames(grey: bool = False) -> np.ndarray:
    made = moving(FRAMES, SIDE, SIDE)
    made[:, : SIDE // 2] = made[:1, :1, :1]  # so that pictures are small
    return made[..., 0] if grey else made


def _in_folder(folder: Path) -> Path:
    (folder / "recordings").mkdir()
    return folder / "recordings"


def array(name: str, folder: Path) -> Path:
    path = _in_folder(folder) / name
    np.save(path, frames()) if path.suffix == ".npy" else np.savez_compressed(path, frames=frames())
    return path


def known(folder: Path) -> Path:
    """Clips with their activity."""
    path = _in_folder(folder) / "a.npz"
    speeds = np.ones((2, FRAMES - 1, 2), np.float32)
    np.savez(path, frames=np.stack([frames(), frames()]), activity=speeds, transformations=np.array(["left", "right"]))
    return path


def hdf5(packed: bool, folder: Path) -> Path:
    path = _in_folder(folder) / "a.h5"
    with h5py.File(path, "w") as file:
        if packed:
            file.create_dataset("frames", data=frames(), chunks=(1, SIDE, SIDE, 3), compression="gzip", shuffle=True)
        else:
            file["frames"] = frames()
            file["activity"], file["transformations"] = np.ones((FRAMES - 1, 1), np.float32), ["left"]
    return path


def video(name: str, codec: str, folder: Path) -> Path:
    path = _in_folder(folder) / name
    save_video(path, frames(), codec, rate=25)
    return path


def animation(name: str, folder: Path) -> Path:
    path = _in_folder(folder) / name
    first, *others = map(Image.fromarray, frames())
    options = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=others, **options)
    return path


def palette(folder: Path) -> Path:
    """An animation with few colours, one of them transparent, and frames that change a part."""
    path = _in_folder(folder) / "a.gif"
    images = [Image.fromarray(frame // 64 * 64).quantize(8) for frame in frames()]
    images[0].save(path, save_all=True, append_images=images[1:], transparency=3, disposal=2)
    return path


def pictures(form: str, mode: str, folder: Path) -> Path:
    """A folder of pictures, of which one is changed."""
    root = _in_folder(folder)
    for number, frame in enumerate(frames()):
        image = Image.fromarray(frame)
        if mode == "I;16":
            image = Image.fromarray(frame[..., 0].astype(np.uint16) * 257)
        elif mode != "RGB":
            image = image.convert(mode)
        image.save(root / f"{number}.{form}")
    return root / "4.png" if form == "png" else root / f"4.{form}"


VALUES = np.random.default_rng(0).normal(size=(FRAMES, 3)).round(3)


def vectors(name: str, folder: Path) -> Path:
    path = folder / name
    match path.suffix:
        case ".csv":
            rows = [",".join(("x", "y", "heading")), *(",".join(map(str, row)) for row in VALUES.tolist())]
            path.write_text("\n".join(rows) + "\n")
        case ".npy":
            np.save(path, VALUES)
        case ".npz":
            np.savez(path, values=VALUES, features=["x", "y", "z"], activity=np.ones((FRAMES - 1, 1)))
        case _:
            with h5py.File(path, "w") as file:
                file["values"], file["features"] = VALUES, ["x", "y", "z"]
                file["activity"] = np.ones((FRAMES - 1, 1))
    return path


def deeplabcut(name: str, animals: tuple[str, ...], folder: Path) -> Path:
    points = [walk(FRAMES, seed) for seed in range(len(animals) or 1)]
    return (write_csv if name.endswith(".csv") else write_hdf5)(folder / name, points, animals)


def sleap(name: str, folder: Path) -> Path:
    import sleap_io

    skeleton = sleap_io.Skeleton(nodes=["a", "b"], edges=[(0, 1)])
    film, track = sleap_io.Video("walk.mp4", open_backend=False), sleap_io.Track("fly")
    labelled = []
    for number, points in enumerate(walk(FRAMES)[:, :2]):
        pose = sleap_io.PredictedInstance.from_numpy(points, skeleton=skeleton, track=track, score=0.5)
        labelled.append(sleap_io.LabeledFrame(video=film, frame_idx=number, instances=[pose]))
    labels, path = sleap_io.Labels(labelled), folder / name
    sleap_io.save_slp(labels, str(path), embed=False) if name.endswith(".slp") else sleap_io.save_analysis_h5(
        labels, str(path)
    )
    return path


RECORDINGS = {
    "npy": Format(partial(array, "a.npy"), read_recording, "npy"),
    "npz": Format(partial(array, "a.npz"), read_recording, "npz"),
    "npz with activity": Format(known, partial(read_recording, clips=True), "npz"),
    "hdf5": Format(partial(hdf5, False), read_recording, "hdf5", 2),
    "hdf5, packed": Format(partial(hdf5, True), read_recording, "hdf5", 2),
    "mp4": Format(partial(video, "a.mp4", "libx264"), read_recording, "", 4),
    "mp4, MPEG-4": Format(partial(video, "b.mp4", "mpeg4"), read_recording, "", 4),
    "avi": Format(partial(video, "a.avi", "mpeg4"), read_recording, "", 4),
    "avi, FFV1": Format(partial(video, "b.avi", "ffv1"), read_recording, "", 4),
    "mov": Format(partial(video, "a.mov", "mpeg4"), read_recording, "", 4),
    "mkv": Format(partial(video, "a.mkv", "libx264"), read_recording, "", 4),
    "webm": Format(partial(video, "a.webm", "libvpx"), read_recording, "", 4),
    "mpg": Format(partial(video, "a.mpg", "mpeg2video"), read_recording, "", 4),
    "gif": Format(partial(animation, "a.gif"), read_recording, "", 2),
    "gif, transparent": Format(palette, read_recording, "", 2),
    "apng": Format(partial(animation, "a.apng"), read_recording, "png", 2),
    "webp, animated": Format(partial(animation, "a.webp"), read_recording, "", 2),
    "tiff, stack": Format(partial(animation, "a.tiff"), read_recording, "", 2),
    "png folder": Format(partial(pictures, "png", "RGB"), partial(read_recording, folder=True), "png", 2),
    "png folder, palette": Format(partial(pictures, "png", "P"), partial(read_recording, folder=True), "png", 2),
    "png folder, alpha": Format(partial(pictures, "png", "RGBA"), partial(read_recording, folder=True), "png", 2),
    "png folder, 16 bits": Format(partial(pictures, "png", "I;16"), partial(read_recording, folder=True), "png", 2),
    "tiff folder": Format(partial(pictures, "tif", "RGB"), partial(read_recording, folder=True), "", 2),
    "bmp folder": Format(partial(pictures, "bmp", "RGB"), partial(read_recording, folder=True), "", 2),
    "webp folder": Format(partial(pictures, "webp", "RGB"), partial(read_recording, folder=True), "", 2),
    "jpg folder": Format(partial(pictures, "jpg", "RGB"), partial(read_recording, folder=True), "", 2),
    "vectors csv": Format(partial(vectors, "a.csv"), partial(read_plainly, "vectors"), "table"),
    "vectors npy": Format(partial(vectors, "a.npy"), partial(read_plainly, "vectors"), "npy"),
    "vectors npz": Format(partial(vectors, "a.npz"), partial(read_plainly, "vectors"), "npz"),
    "vectors hdf5": Format(partial(vectors, "a.h5"), partial(read_plainly, "vectors"), "hdf5", 2),
    "DeepLabCut csv": Format(partial(deeplabcut, "a.csv", ()), partial(read_plainly, "poses"), "table"),
    "DeepLabCut csv, two": Format(partial(deeplabcut, "b.csv", ("a", "b")), partial(read_plainly, "poses"), "table"),
    "DeepLabCut hdf5": Format(partial(deeplabcut, "a.h5", ()), partial(read_plainly, "poses"), "hdf5", 2),
    "SLEAP slp": Format(partial(sleap, "a.slp"), partial(read_plainly, "poses"), "hdf5", 4, "sleap_io"),
    "SLEAP analysis": Format(partial(sleap, "a.analysis.h5"), partial(read_plainly, "poses"), "hdf5", 4, "sleap_io"),
}
"""By name."""
