"""Which sequences a model sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from ffrl.config.checks import at_least, non_negative, probability
from ffrl.core.errors import require
from ffrl.core.registry import Registry, modules_in

DATA_SETS = Registry("stf.data", "data set", modules_in("ffrl.data.sets", "DATA_SET"))
"""Every :class:`~ffrl.data.catalogue.DataSet` by its ``--data.name``: every file in ``ffrl/data/sets`` is one, and what
installed packages add. Names alone import nothing heavy."""


@dataclass(frozen=True)
class ClipsConfig:
    """How a user's own recordings become clips (--data.name sequences)."""

    size: int = 64
    """Frames become size x size pixels in colour."""
    crop: Literal["center", "none"] = "center"
    """center: cut the largest square out of the middle, then resize; none: resize, whatever the proportions."""
    stride: int = 1
    """Take every stride-th frame of a recording."""
    dense: bool = False
    """Let clips begin at every frame, not only at those that the stride takes; hop is then in frames of the recording,
    all of which are kept in the cache."""
    fps: float = 0.0
    """Of videos, take the frames nearest to so many instants a second, by their own times; 0 is by the stride."""
    hop: int = 0
    """Frames, after the stride, between the starts of two clips; 0 is half a clip."""
    static: Literal["none", "median"] = "none"
    """median: frames are their changes from a static background, the median of each pixel over a recording; likelihood
    and networks count them in what each pixel changes by."""
    follow: int = 0
    """Side, in pixels of the recording, of a square window around what moves, which becomes the frame; 0 is none."""
    follow_node: str = ""
    """Point that the window follows, in a file of SLEAP or DeepLabCut beside each recording, of the same name but for
    its ending; left out: the centre of what differs from the background."""
    follow_smooth: float = 2.0
    """Frames, after the stride, over which the way of that window is smoothed: the deviation of a Gaussian."""
    validation: float = 0.2
    """Share of the clips that is held out: whole recordings, or the last part of a single one."""
    broken: Literal["refuse", "skip"] = "refuse"
    """What to do with recordings that cannot be used: stop, or name them and go on without."""
    cache: Path | None = None
    """Folder for the resized frames, read from there as they are needed (left out: stf in the user's cache folder)."""
    exclude: str | None = None
    """Patterns of files and folders that are left out, matched from the right, with commas between them, such as
    *_mask.png,raw/*."""
    array: str | None = None
    """Which array of an .npz or HDF5 file is read, such as images or data/demo_0/rgb (left out: frames, or the only
    one)."""
    axes: Literal["THW", "THWC", "TCHW", "NTHW", "NTHWC", "NTCHW", "TNHW", "TNHWC", "TNCHW"] | None = None
    """Axes of arrays: N recordings, T frames, C channels, H height, W width (left out: told by their lengths, with N
    first)."""
    range: str = "type"
    """Values of black and white. type: all of 8 and 16 bits without a sign, 0 to 255 of other integers, 0 to 1 of
    floating-point numbers; own: the least and the largest value of each recording; a number: 0 to that."""
    background: str | None = None
    """Colour behind transparent pixels, such as white or #ff8800 (left out: they are refused)."""
    frame_mib: int = 192
    """Largest frame, or chunk of HDF5, that is decoded, in MiB; 192 are 67 million pixels in colour."""

    def __post_init__(self) -> None:
        require(_is_range(self.range), "data.sequences.range", self.range, "type, own or a number above 0")
        colour = self.background is None or _is_colour(self.background)
        require(colour, "data.sequences.background", self.background, "a colour such as white or #ff8800")
        at_least("data.sequences.frame-mib", self.frame_mib, 1)
        require(8 <= self.size <= 1024, "data.sequences.size", self.size, "an integer from 8 to 1024")
        at_least("data.sequences.stride", self.stride, 1)
        non_negative("data.sequences.fps", self.fps)
        alone = self.stride == 1 or self.fps == 0
        require(alone, "data.sequences.fps", self.fps, f"none beside data.sequences.stride {self.stride}")
        require(not self.dense or self.stride > 1, "data.sequences.dense", True, "a data.sequences.stride above 1")
        at_least("data.sequences.hop", self.hop, 0)
        at_least("data.sequences.follow", self.follow, 0)
        require(self.follow != 1, "data.sequences.follow", self.follow, "0, or a window of at least 2 pixels")
        non_negative("data.sequences.follow-smooth", self.follow_smooth)
        expected = "none, or a window (data.sequences.follow) and no data.sequences.fps: poses go by frames"
        fits = not self.follow_node or (self.follow > 0 and self.fps == 0)
        require(fits, "data.sequences.follow-node", self.follow_node, expected)
        probability("data.sequences.validation", self.validation)


def _is_range(text: str) -> bool:
    try:
        return text in ("type", "own") or 0 < float(text) < float("inf")
    except ValueError:
        return False


def _is_colour(text: str) -> bool:
    from PIL import ImageColor

    try:
        return len(ImageColor.getrgb(text)) == 3
    except ValueError:
        return False


@dataclass(frozen=True)
class VectorsConfig:
    """How a user's own vectors become clips (--data.name vectors)."""

    columns: str = ""
    """Features to take, NAME,NAME,... as in the file's first line; all of them if left out."""
    periodic: str = ""
    """Features that are angles, NAME,NAME=360,...: in radians, or with their period."""
    stride: int = 1
    """Take every stride-th vector of a recording."""
    hop: int = 0
    """Vectors, after the stride, between the starts of two clips; 0 is half a clip."""
    validation: float = 0.2
    """Share of the clips that is held out: whole recordings, or the last part of a single one."""

    def __post_init__(self) -> None:
        at_least("data.vectors.stride", self.stride, 1)
        at_least("data.vectors.hop", self.hop, 0)
        probability("data.vectors.validation", self.validation)


@dataclass(frozen=True)
class PosesConfig:
    """How poses of animals become clips (--data.name poses)."""

    nodes: str = ""
    """Points to take, NAME,NAME,... as the file calls them; all of them if left out."""
    edges: str = ""
    """Points that figures join, NAME-NAME,...; left out: those that the file joins."""
    align: Literal["none", "start", "each"] = "none"
    """start: move and turn every clip so that its first pose has the centre at the origin and the heading ahead of it
    on the x axis; each: do so with every pose, which is then egocentric and no longer says where the animal goes."""
    centre: str = ""
    """Point at the origin of aligned poses."""
    heading: str = ""
    """Point ahead of the centre in aligned poses."""
    confidence: float = 0.0
    """Least score of a point, as the file has them; points with a lower one are missing."""
    stride: int = 1
    """Take every stride-th frame."""
    hop: int = 0
    """Poses, after the stride, between the starts of two clips; 0 is half a clip."""
    validation: float = 0.2
    """Share of the clips that is held out: whole videos, or the last part of a single one."""

    def __post_init__(self) -> None:
        for key in ("centre", "heading") if self.align != "none" else ():
            name = getattr(self, key)
            require(bool(name), f"data.poses.{key}", name, f"the name of a point: data.poses.align is {self.align!r}")
        non_negative("data.poses.confidence", self.confidence)
        at_least("data.poses.stride", self.stride, 1)
        at_least("data.poses.hop", self.hop, 0)
        probability("data.poses.validation", self.validation)


@dataclass(frozen=True)
class RenderedConfig:
    """How many images in the manner of isaac3d and falcor3d are rendered, of which size, and where they are kept."""

    sequences: int = 4000
    """Sequences to train on; they are rendered once."""
    held_out: int = 200
    """Sequences to evaluate on, of other images."""
    size: int = 64
    """Pixels of a side; 128 is that of the published images."""
    cache: Path | None = None
    """Folder for the rendered images (left out: stf in the user's cache folder)."""

    def __post_init__(self) -> None:
        at_least("data.rendered.sequences", self.sequences, 1)
        at_least("data.rendered.held-out", self.held_out, 1)
        require(16 <= self.size <= 512, "data.rendered.size", self.size, "an integer from 16 to 512")


@dataclass(frozen=True)
class DataConfig:
    """Which sequences the model sees."""

    name: Annotated[str, DATA_SETS] = "mnist"
    """Data set; its published T, and one field per transformation or three to spare, become defaults."""
    root: Path | None = None
    """Where the files are: a folder, for shapes3d also 3dshapes.h5 itself, for sequences also one recording. Left out:
    the 10,000 digits that come with the package (mnist, moving-mnist), or rendered images (shapes3d, isaac3d,
    falcor3d)."""
    download: bool = False
    """Fetch the full MNIST into --data.root first (needs a network); for other data sets see stf data fetch."""
    protocol: Literal["ffrl", "sta"] = "ffrl"
    """Unit steps of MNIST: ffrl is +0.1 scale, 10 degrees, 20 degrees of hue; sta is x1.1 scale, 20 degrees, 20
    degrees. Mixed sequences of any data set: ffrl switches one transformation, sta has independent Markov chains."""
    num_steps: int = 8
    """T, the number of transitions in a sequence of T + 1 frames."""
    stay: float = 0.85
    """Mixed sequences, protocol ffrl: probability per step that the acting transformation goes on acting."""
    overlap: float = 0.1
    """Mixed sequences, protocol ffrl: probability per step that one more transformation acts."""
    active: int = 1
    """Mixed sequences, protocol ffrl: how many transformations act at a time, each switching on its own; two of them
    may be the same one. With many more than the data has transformations, all of these act nearly always."""
    on_rate: float = 0.1
    """Mixed sequences, protocol sta: probability per step that an inactive transformation switches on."""
    off_rate: float = 0.3
    """Mixed sequences, protocol sta: probability per step that an active transformation switches off."""
    speed_spread: float = 0.7
    """Mixed sequences, protocol ffrl: speeds are uniform on [1 - spread, 1 + spread] (sta: Laplace(1, 0.1))."""
    train_images: int | None = None
    """Train on the first so many images, or clips, of the training split only (left out: all of them)."""
    start_probability: float | None = None
    """Training sequences: probability that a transformation has already acted before the first frame (mnist; left out:
    0.5), or does not start at the first value of its factor (shapes3d, falcor3d, isaac3d; left out: 1, as the images of
    the grid are)."""
    in_memory: bool = False
    """Read the image files of a benchmark data set into memory as a whole (shapes3d: 5.5 GiB), not as they are needed.
    3dshapes.h5 is quick in this way, or once stf data fetch shapes3d --unpack has unpacked it."""
    workers: int = 2
    """Threads that decode pictures, or processes that render isaac3d and falcor3d; batches are read ahead of the
    training step, for 0 when it needs them."""
    digits: int = 1
    """moving-mnist: digits per frame, each with transformations of its own."""
    sequences: ClipsConfig = field(default_factory=ClipsConfig)
    vectors: VectorsConfig = field(default_factory=VectorsConfig)
    poses: PosesConfig = field(default_factory=PosesConfig)
    rendered: RenderedConfig = field(default_factory=RenderedConfig)

    @property
    def changes(self) -> bool:
        """Whether frames are changes from a static background."""
        return self.name == "sequences" and self.sequences.static != "none"

    def __post_init__(self) -> None:
        at_least("data.num-steps", self.num_steps, 1)
        require(0.0 <= self.stay <= 1.0, "data.stay", self.stay, "a probability")
        require(0.0 <= self.overlap <= 1.0, "data.overlap", self.overlap, "a probability")
        at_least("data.active", self.active, 1)
        probability("data.on-rate", self.on_rate)
        probability("data.off-rate", self.off_rate)
        require(0.0 <= self.speed_spread < 1.0, "data.speed-spread", self.speed_spread, "a number in [0, 1)")
        count = self.train_images
        require(count is None or count >= 1, "data.train-images", count, "an integer of at least 1")
        start = self.start_probability
        require(start is None or 0.0 <= start <= 1.0, "data.start-probability", start, "a probability")
        require(not self.download or self.root is not None, "data.download", True, "--data.root to download into")
        at_least("data.workers", self.workers, 0)
        require(1 <= self.digits <= 4, "data.digits", self.digits, "an integer from 1 to 4")
