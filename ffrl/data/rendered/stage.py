"""A scene on MuJoCo's off-screen renderer: the one place that touches MuJoCo and its GL library."""

from __future__ import annotations

import os
import sys
from ctypes.util import find_library
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffrl.core.errors import UserError

SCENES = ("kitchen", "living_room")
FINER = 2
"""Pixels are drawn so many times as fine in both directions and averaged, which smooths edges."""
LIBRARIES = {"osmesa": "OSMesa", "egl": "EGL"}
"""Off-screen renderers in the order in which they are tried, and their libraries."""
NEED = "pip install 'sparse-transformation-flow[render]'"


class Stage:
    """A scene that is drawn again and again. OSMesa has one at a time in a process: close it before another is made.

    Args:
        scene: one of :data:`SCENES`.
        size: pixels of a side.

    Raises:
        UserError: MuJoCo is not installed, or finds no library to render with.
    """

    def __init__(self, scene: str, size: int) -> None:
        mujoco = import_mujoco()
        self._mujoco, self._scene = mujoco, import_module(f"ffrl.data.rendered.{scene}")
        side, finer = size, FINER * size
        text = self._scene.XML.replace("<visual>", f'<visual><global offwidth="{finer}" offheight="{finer}"/>')
        self.size, self.numbers = side, int(self._scene.NUMBERS)
        self.model: Any = mujoco.MjModel.from_xml_string(text)
        self.model.geom_rbound[:] = 0.0  # bodies grow: none may be left out as too far away
        self.model.geom_sameframe[:] = 0  # bodies move within the frame that they are in
        self.data: Any = mujoco.MjData(self.model)
        try:
            self._renderer = mujoco.Renderer(self.model, finer, finer)
        except Exception as error:  # each GL library fails in its own way
            raise UserError(no_library(os.environ.get("MUJOCO_GL", ""))) from error
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0

    def draw(self, numbers: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the image ``(3, size, size)`` of the numbers of a scene."""
        self._scene.set_scene(self.model, numbers)
        self._mujoco.mj_kinematics(self.model, self.data)
        self._mujoco.mj_camlight(self.model, self.data)
        self._renderer.update_scene(self.data, "eye")
        fine = self._renderer.render().astype(np.uint16)
        blocks = fine.reshape(self.size, FINER, self.size, FINER, 3).sum((1, 3), dtype=np.uint16)
        return np.moveaxis((blocks + FINER**2 // 2) // FINER**2, -1, 0).astype(np.uint8)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()


def import_mujoco() -> Any:
    """Return MuJoCo, told to render off-screen by what there is unless ``MUJOCO_GL`` says otherwise.

    Raises:
        UserError: it is not installed, or there is nothing to render with.
    """
    chosen = os.environ.get("MUJOCO_GL", "")
    if not chosen and sys.platform == "linux":  # elsewhere MuJoCo knows what there is
        chosen = next((name for name, library in LIBRARIES.items() if find_library(library)), "")
        if not chosen:
            raise UserError(no_library(""))
        os.environ["MUJOCO_GL"] = chosen
    try:
        mujoco = import_module("mujoco")
    except ModuleNotFoundError as error:
        raise UserError(f"data.name: found no MuJoCo, which renders the images, expected it ({NEED})") from error
    except Exception as error:  # each GL library fails in its own way
        raise UserError(no_library(chosen)) from error
    if not hasattr(mujoco, "Renderer"):
        raise UserError(f"data.name: found a MuJoCo that cannot render, expected one before version 4 ({NEED})")
    return mujoco


def no_library(chosen: str) -> str:
    """Return the line that says which library is missing.

    Example:
        >>> no_library("")
        'data.name: found no library to render with, expected OSMesa or EGL (apt-get install libosmesa6, or libegl1)'
    """
    found = f"that MUJOCO_GL={chosen} cannot render here" if chosen else "no library to render with"
    return f"data.name: found {found}, expected OSMesa or EGL (apt-get install libosmesa6, or libegl1)"
