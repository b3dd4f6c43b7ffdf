"""Sprite sheets: which cells are read, how layers are put over each other, and sheets that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sprite_tools import COLUMNS, ROWS, blank, coded, coded_sheets, picture

from ffrl.core.errors import UserError
from ffrl.data.sets.sprites import NAMES as SPRITES
from ffrl.data.sprites.sheets import LAYERS, Layer, compose, poses, read_layers, read_sheet


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coded_sheets(tmp_path_factory)


@pytest.fixture
def broken(root: Path, tmp_path: Path) -> Path:
    """The same sheets, by links that a test may replace."""
    for file in root.rglob("*.png"):
        link = tmp_path / file.relative_to(root)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(file)
    return tmp_path


def replace(file: Path, content: bytes | Image.Image) -> None:
    file.unlink()
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        content.save(file, "JPEG" if content.mode == "L" else "PNG", compress_level=1)


def test_poses_are_the_transformations() -> None:
    assert tuple(poses()) == SPRITES and len(SPRITES) == 9


def test_cells_are_those_of_the_published_frames(root: Path) -> None:
    used = read_sheet(root / "topwear" / "4.png")
    assert used.shape == (9, 8, 64, 64, 4) and used.dtype == np.uint8
    for pose, row in enumerate(ROWS):
        for frame, column in enumerate(COLUMNS[pose // 3]):
            cell = used[pose, frame]
            assert cell[37, 25].tolist() == [100, 10 * row, 15 * column, 255]  # layer 4: rows 36 to 38, from column 24
            assert (cell[..., 3] > 0).sum() == 30


def test_layers_in_order_and_cut_to_what_they_show(root: Path) -> None:
    layers = read_layers(root)
    assert [len(layer.pixels) for layer in layers] == [6, 1, 6, 2, 6, 6] == list(LAYERS.values())
    assert list(LAYERS) == ["body", "eyes", "bottomwear", "shoes", "topwear", "hair"]
    for number, layer in enumerate(layers):
        assert (layer.top, layer.left) == (9 * number, 20 + number)
        assert layer.pixels.shape[1:] == (9, 8, 4, 3, 10) and layer.pixels.dtype == torch.uint8
    body = layers[0].pixels[5, 7, 3, :, 0, 0]  # variant 5, slash-left, frame 3: row 13, column 3
    assert body.tolist() == [120, 130, 45, 255]


def test_window_reaches_every_corner(broken: Path) -> None:
    for variant, (row, column) in enumerate(((0, 0), (63, 63))):
        cells = blank()
        cells[11, 2, row, column] = 9, 8, 7, 255
        replace(broken / "shoes" / f"{variant}.png", picture(cells))
    layers = read_layers(broken)[3:4]
    assert (layers[0].top, layers[0].left) == (0, 0) and layers[0].pixels.shape[-2:] == (64, 64)
    walk_right = torch.tensor([2])
    for variant, (row, column) in enumerate(((0, 0), (63, 63))):
        frame = compose(layers, torch.tensor([[variant]]), walk_right, torch.tensor([[2]]))[0, 0]
        assert frame[:, row, column].mul(255).tolist() == pytest.approx([9, 8, 7])
        assert frame.sum() * 255 == pytest.approx(24)


def flat(colour: tuple[int, int, int, int], top: int = 0, left: int = 0, size: int = 64) -> Layer:
    return Layer(
        torch.tensor(colour, dtype=torch.uint8).view(1, 1, 1, 4, 1, 1).expand(1, 9, 8, 4, size, size), top, left
    )


def composed(*layers: Layer) -> torch.Tensor:
    zero = torch.zeros(1, dtype=torch.long)
    return compose(layers, torch.zeros(1, len(layers), dtype=torch.long), zero, zero[:, None])[0, 0]


def test_upper_layers_hide_lower_ones() -> None:
    frame = composed(flat((10, 20, 30, 255)), flat((200, 0, 0, 255), 0, 32, 32), flat((0, 90, 0, 255), 16, 40, 8))
    expected = torch.tensor([10, 20, 30]).view(3, 1, 1).repeat(1, 64, 64)
    expected[:, :32, 32:] = torch.tensor([200, 0, 0]).view(3, 1, 1)
    expected[:, 16:24, 40:48] = torch.tensor([0, 90, 0]).view(3, 1, 1)
    assert torch.equal((frame * 255).round().long(), expected)


def test_alpha_mixes_and_what_is_transparent_does_not_show() -> None:
    half = composed(flat((100, 0, 255, 255)), flat((200, 255, 5, 51)))  # 51 / 255 = 0.2
    assert half[:, 5, 5].mul(255).tolist() == pytest.approx([120, 51, 205], abs=1e-3)
    assert composed(flat((100, 0, 255, 51)))[:, 5, 5].mul(255).tolist() == pytest.approx([20, 0, 51], abs=1e-3)
    assert torch.equal(composed(flat((1, 2, 3, 255)), flat((255, 255, 255, 0))), composed(flat((1, 2, 3, 255))))
    assert composed(flat((255, 255, 255, 0))).count_nonzero() == 0


def test_composition_agrees_with_pillow(broken: Path) -> None:
    random = np.random.default_rng(0)
    pictures = []
    for name in LAYERS:
        cells = blank()
        noise = cells[9:16, :9, 20:36, 20:36]
        noise[...] = random.integers(0, 256, noise.shape, dtype=np.uint8)
        noise[..., 3] *= random.integers(0, 2, noise.shape[:-1], dtype=np.uint8)
        cells[:4, :7, 0, 0] = 255
        replace(broken / name / "0.png", picture(cells))
        pictures.append(picture(cells))
    layers = read_layers(broken)
    whole = Image.new("RGBA", pictures[0].size, "black")
    for layer in pictures:
        whole = Image.alpha_composite(whole, layer)
    expected = np.asarray(whole).reshape(21, 64, 13, 64, 4).swapaxes(1, 2)[..., :3].astype(np.float32)
    which = torch.arange(9)
    frames = compose(layers, torch.zeros(9, 6, dtype=torch.long), which, torch.arange(8).expand(9, 8))
    assert frames.shape == (9, 8, 3, 64, 64) and frames.dtype == torch.float32
    for pose, row in enumerate(ROWS):
        cells = expected[row, list(COLUMNS[pose // 3])]
        found = frames[pose].permute(0, 2, 3, 1).numpy() * 255
        assert np.abs(found - cells).max() < 3.01  # Pillow rounds to a level after each of the six layers
        assert np.abs(found - cells).mean() < 0.6


def test_palette_sheets_with_transparency_are_read(broken: Path) -> None:
    file = broken / "hair" / "2.png"
    paletted = np.zeros((1344, 832), dtype=np.uint8)
    paletted[9 * 64 + 5, 1 * 64 + 7] = 1  # walk-left, frame 1
    image = Image.fromarray(paletted)
    image.putpalette([0, 0, 0, 60, 70, 80])
    file.unlink()
    image.save(file, transparency=0)
    used = read_sheet(file)
    assert used[1, 1, 5, 7].tolist() == [60, 70, 80, 255] and (used[..., 3] > 0).sum() == 1


def test_other_files_are_left_alone(broken: Path) -> None:
    for name in ("notes.txt", "1.jpg", "x.png", "01.png", ".DS_Store"):
        (broken / "hair" / name).write_bytes(b"?")
    assert len(read_layers(broken)[-1].pixels) == 6


def without_body(pose_row: int, column: int) -> np.ndarray:
    cells = coded(0, 0)
    cells[pose_row, column] = 0
    return cells


SIZE = "an LPC sprite sheet of 832 x 1344 pixels with an alpha channel$"
BROKEN = {
    "wrong size": (lambda: Image.new("RGBA", (832, 1280), "red"), f"found 832 x 1280 pixels, expected {SIZE}"),
    "no alpha": (
        lambda: Image.new("RGB", (832, 1344), "red"),
        rf"found no alpha channel \(mode RGB\), expected {SIZE}",
    ),
    "jpeg": (lambda: Image.new("L", (832, 1344)), f"found no PNG image, expected {SIZE}"),
    "empty": (lambda: b"", f"found no PNG image, expected {SIZE}"),
    "blank": (
        lambda: picture(blank()),
        f"found only transparent pixels where walk, spell cast and slash are, expected {SIZE}",
    ),
    "without a body": (
        lambda: picture(without_body(13, 3)),
        "found an empty cell in frame 3 of slash-left, expected a body in all$",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_sheets_are_refused(broken: Path, kind: str) -> None:
    make, message = BROKEN[kind]
    file = broken / "body" / "3.png"
    replace(file, make())
    with pytest.raises(UserError, match=f"^{file}: {message}"):
        read_layers(broken)


@pytest.mark.parametrize("kept", [20, 60, 0.5, -200])
def test_truncated_sheets_are_refused(broken: Path, kept: float) -> None:
    file = broken / "body" / "0.png"
    content = file.read_bytes()
    replace(file, content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(UserError, match=f"^{file}: found .*, expected an LPC sprite sheet of 832 x 1344") as caught:
        read_layers(broken)
    assert "\n" not in str(caught.value)


def test_unused_cells_do_not_matter(broken: Path) -> None:
    cells = coded(0, 0)
    cells[[0, 4, 8, 12, 16, 20]] = 0  # to the back, thrust, shoot, hurt
    cells[9:12, 0] = 0  # standing before the walk
    replace(broken / "body" / "0.png", picture(cells))
    assert torch.equal(read_layers(broken)[0].pixels[0, 8, 0, :, 0, 0], torch.tensor([20, 150, 0, 255]).byte())


def test_missing_folder(broken: Path) -> None:
    (broken / "shoes").rename(broken / "boots")
    with pytest.raises(
        UserError, match=f"^data.root: found no folder {broken}/shoes, expected one of LPC sprite sheets$"
    ):
        read_layers(broken)
    with pytest.raises(UserError, match="^data.root: found no folder .*/0.png/body, expected"):
        read_layers(broken / "eyes" / "0.png")


def test_missing_sheets(broken: Path) -> None:
    (broken / "hair" / "5.png").unlink()
    with pytest.raises(UserError, match=f"^{broken}/hair: found 5, expected sheets: at least 6, 0.png to 5.png$"):
        read_layers(broken)
    (broken / "hair" / "7.png").symlink_to(broken / "hair" / "0.png")
    with pytest.raises(
        UserError, match=f"^{broken}/hair: found no 5.png, expected sheets 0.png to 7.png without gaps$"
    ):
        read_layers(broken)
    (broken / "eyes" / "0.png").unlink()
    with pytest.raises(UserError, match=f"^{broken}/eyes: found 0, expected sheets: at least 0.png$"):
        read_layers(broken)
