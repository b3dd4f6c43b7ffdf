"""What is said where nothing can be rendered, and, where MuJoCo is there, what its images show."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ffrl.config import DataConfig, RenderedConfig
from ffrl.core.errors import UserError
from ffrl.data import load
from ffrl.data.rendered import kitchen, living_room, stage
from ffrl.data.rendered.colours import from_z, looking
from ffrl.data.rendered.frames import Renderer

SCENES = {"kitchen": kitchen.NUMBERS, "living_room": living_room.NUMBERS}


@pytest.fixture(scope="module")
def renderers():
    """Processes that render every scene; skipped where there is nothing to render with."""
    pytest.importorskip("mujoco")
    made = {scene: Renderer(scene, 32, 1) for scene in SCENES}
    try:
        list(made["kitchen"].images(np.zeros((1, kitchen.NUMBERS))))
    except UserError as error:
        pytest.skip(str(error))
    yield made
    for renderer in made.values():
        renderer.close()


def drawn(renderer: Renderer, numbers: np.ndarray) -> np.ndarray:
    return np.concatenate(list(renderer.images(numbers)))


@pytest.mark.parametrize("scene", SCENES)
def test_every_factor_is_seen(scene: str, renderers: dict[str, Renderer]) -> None:
    rows = np.full((9 * (SCENES[scene] - 1), SCENES[scene]), 0.45)
    rows[:, 0] = 1
    for column in range(1, SCENES[scene]):
        rows[9 * (column - 1) : 9 * column, column] = np.arange(9) / 9
    images = drawn(renderers[scene], rows).astype(float).reshape(-1, 9, 3 * 32 * 32) / 255
    steps = np.abs(np.diff(images, axis=1)).sum(-1)
    assert steps.min() > 5, "of 3072 values"
    assert np.abs(images[:, -1] - images[:, 0]).sum(-1).min() > 15


@pytest.mark.parametrize("scene", SCENES)
def test_equal_numbers_give_equal_images_in_any_order(scene: str, renderers: dict[str, Renderer]) -> None:
    numbers = np.random.default_rng(0).random((40, SCENES[scene]))
    numbers[:, 0] = np.arange(40) % 4
    images = drawn(renderers[scene], numbers)
    assert images.shape == (40, 3, 32, 32) and images.dtype == np.uint8
    assert (drawn(renderers[scene], numbers[::-1])[::-1] == images).all()
    assert len(np.unique(images.reshape(40, -1), axis=0)) == 40


def test_a_data_set_is_rendered(renderers: dict[str, Renderer], tmp_path: Path) -> None:
    rendered = RenderedConfig(sequences=3, held_out=2, size=32, cache=tmp_path)
    data = load(DataConfig(name="falcor3d", rendered=rendered))
    frames = data.mixed("validation", torch.arange(2), torch.Generator()).frames
    assert frames.shape == (2, 9, 3, 32, 32) and 0.05 < frames.mean() < 0.9
    assert (frames.diff(dim=1).abs().amax((2, 3, 4)) > 0.02).all(), "something always moves"


def shell(folder: Path, text: str) -> Path:
    (folder / "mujoco.py").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("raise ModuleNotFoundError('No module named mujoco', name='mujoco')", "found no MuJoCo, which renders"),
        ("__version__ = '4.0.0'", "found a MuJoCo that cannot render, expected one before version 4"),
        ("raise ImportError('Cannot use OSMesa')", "cannot render here, expected OSMesa or EGL"),
        ("class Renderer: pass", "found MuJoCo failing"),
        ("import os; os._exit(3)", "found MuJoCo ending with exit code 3"),
    ],
)
def test_what_is_missing_is_one_line(
    module: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(sys, "path", [str(shell(tmp_path, module)), *sys.path])
    with pytest.raises(UserError, match=f"^data.name: .*{found}[^\n]*$"):
        list(Renderer("kitchen", 16, 1).images(np.zeros((1, kitchen.NUMBERS))))
    assert capfd.readouterr() == ("", "")


def test_without_a_library_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(stage, "find_library", lambda name: None)
    with pytest.raises(UserError, match="found no library to render with.*apt-get install libosmesa6, or libegl1"):
        stage.import_mujoco()
    assert "[render]'" in stage.NEED


def turned(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A vector turned by a quaternion, by q v q*."""
    w, u = quaternion[0], quaternion[1:]
    return vector + 2 * np.cross(u, np.cross(u, vector) + w * vector)


@pytest.mark.parametrize("seed", range(5))
def test_directions(seed: int) -> None:
    towards = np.random.default_rng(seed).normal(size=3)
    unit = towards / np.linalg.norm(towards)
    assert np.allclose(turned(from_z(towards), np.array([0, 0, 1.0])), unit)
    quaternion = looking(towards)
    assert np.allclose(turned(quaternion, np.array([0, 0, -1.0])), unit)
    assert abs(turned(quaternion, np.array([1.0, 0, 0]))[2]) < 1e-9 < turned(quaternion, np.array([0, 1.0, 0]))[2]


def test_the_arm_reaches_every_place_of_the_hand() -> None:
    for x in np.linspace(-0.55, 0.55, 23):
        for z in np.linspace(0.1, 0.8, 15):
            joint = kitchen.elbow(x, z)
            assert np.isclose(np.hypot(*joint), kitchen.LINK)
            assert np.isclose(np.hypot(x - joint[0], z - joint[1]), kitchen.LINK)
