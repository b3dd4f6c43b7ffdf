"""A living room under a lamp and from a camera that move, in the manner of Falcor3D."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffrl.data.rendered.colours import between, hue, looking

NUMBERS = 8
"""Which furnishing; intensity of the lamp, its place x, y, z and that of the camera as shares of their ranges."""
FURNISHINGS = (
    {"sofa": (0.0, 0.0, 0.75), "rug": (0.0, 0.75, 0.75), "wood": (0.08, 0.5, 0.6), "vase": (0.98, 0.8, 0.6)},
    {"sofa": (0.6, 0.35, 0.7), "rug": (0.12, 0.55, 0.85), "wood": (0.08, 0.6, 0.4), "vase": (0.33, 0.7, 0.6)},
    {"sofa": (0.35, 0.35, 0.6), "rug": (0.62, 0.45, 0.65), "wood": (0.1, 0.3, 0.8), "vase": (0.14, 0.8, 0.85)},
    {"sofa": (0.06, 0.5, 0.65), "rug": (0.4, 0.35, 0.6), "wood": (0.0, 0.0, 0.85), "vase": (0.55, 0.7, 0.7)},
)
"""Hue in turns, saturation and value of what each furnishing colours."""
AIM = np.array([0.0, 1.0, 0.3])
"""What the lamp shines at."""

XML = """
<mujoco>
  <visual>
    <headlight ambient="0 0 0" diffuse="0 0 0" specular="0 0 0"/>
    <quality shadowsize="512" offsamples="0"/>
    <map znear="0.5" zfar="9" shadowscale="0.7"/>
  </visual>
  <statistic center="0 1 0.6" extent="1"/>
  <default><geom contype="0" conaffinity="0"/></default>
  <worldbody>
    <light name="lamp" pos="0 0 3" dir="0 0 -1" castshadow="true" specular="0 0 0" cutoff="80" exponent="0"
      attenuation="0.3 0 0.08"/>
    <camera name="eye" fovy="55"/>
    <geom type="box" size="3.2 4 .05" pos="0 0 -.05" rgba=".62 .45 .28 1"/>
    <geom type="box" size="3.2 .05 1.5" pos="0 2 1.5" rgba=".8 .8 .78 1"/>
    <geom type="box" size=".05 4 1.5" pos="-2.3 0 1.5" rgba=".74 .76 .78 1"/>
    <geom name="rug" type="box" size="1.15 .75 .012" pos=".1 .35 .012"/>
    <geom name="sofa" type="box" size=".95 .36 .2" pos="0 1.4 .26"/>
    <geom name="sofa-back" type="box" size=".95 .11 .34" pos="0 1.72 .48"/>
    <geom name="sofa-left" type="box" size=".12 .38 .3" pos="-1.02 1.42 .3"/>
    <geom name="sofa-right" type="box" size=".12 .38 .3" pos="1.02 1.42 .3"/>
    <geom type="ellipsoid" size=".2 .08 .18" pos="-.6 1.45 .6" euler="-15 0 10" rgba=".85 .55 .55 1"/>
    <geom type="ellipsoid" size=".2 .08 .18" pos=".66 1.45 .6" euler="-15 0 -10" rgba=".75 .3 .35 1"/>
    <geom name="table" type="box" size=".5 .3 .03" pos="-.1 .35 .36"/>
    <geom type="box" size=".03 .03 .17" pos="-.53 .11 .17" rgba=".15 .15 .15 1"/>
    <geom type="box" size=".03 .03 .17" pos=".33 .11 .17" rgba=".15 .15 .15 1"/>
    <geom type="box" size=".03 .03 .17" pos="-.53 .59 .17" rgba=".15 .15 .15 1"/>
    <geom type="box" size=".03 .03 .17" pos=".33 .59 .17" rgba=".15 .15 .15 1"/>
    <geom name="vase" type="capsule" size=".08 .08" pos="-.3 .35 .53"/>
    <geom type="sphere" size=".07" pos=".05 .27 .46" rgba=".8 .72 .3 1"/>
    <geom name="side" type="box" size=".22 .22 .27" pos="1.5 1.35 .27"/>
    <geom type="cylinder" size=".07 .14" pos="1.5 1.35 .68" rgba=".16 .16 .2 1"/>
    <geom type="capsule" size=".015 .3" pos="1.56 1.35 1.05" euler="0 15 0" rgba=".25 .2 .15 1"/>
    <geom type="capsule" size=".015 .28" pos="1.42 1.35 1.02" euler="0 -18 0" rgba=".25 .2 .15 1"/>
    <geom name="shelf" type="box" size=".55 .13 .025" pos="-.25 1.85 1.35"/>
    <geom name="shelf-end" type="box" size=".025 .13 .18" pos=".3 1.85 1.52"/>
    <geom type="box" size=".06 .08 .12" pos="-.55 1.83 1.5" rgba=".7 .2 .2 1"/>
    <geom type="box" size=".05 .08 .1" pos="-.38 1.83 1.475" rgba=".25 .35 .6 1"/>
    <geom type="sphere" size=".08" pos="-.05 1.82 1.455" rgba=".75 .6 .2 1"/>
  </worldbody>
</mujoco>
"""
COLOURED = {
    "sofa": ("sofa", "sofa-back", "sofa-left", "sofa-right"),
    "rug": ("rug",),
    "wood": ("table", "side", "shelf", "shelf-end"),
    "vase": ("vase",),
}


def set_scene(model: Any, numbers: NDArray[np.float64]) -> None:
    """Set a compiled model to the :data:`NUMBERS` of an image, ``(8,)``."""
    furnishing, intensity, light_x, light_y, light_z, x, y, z = numbers.tolist()
    for what, colour in FURNISHINGS[int(furnishing)].items():
        for name in COLOURED[what]:
            model.geom(name).rgba[:] = hue(*colour)
    lamp, power = model.light("lamp"), between(0.5, 1.0, intensity)
    lamp.pos[:] = (between(-1.4, 1.4, light_x), between(-2.3, -0.5, light_z), between(1.2, 2.7, light_y))
    lamp.dir[:] = AIM - lamp.pos
    lamp.dir[:] /= np.linalg.norm(lamp.dir)
    lamp.diffuse[:], model.vis.headlight.ambient[:] = 0.8 * power, 0.3 * power
    eye = model.camera("eye")
    eye.pos[:] = (between(-0.55, 0.55, x), between(-2.6, -1.5, z), between(0.85, 1.45, y))
    eye.quat[:] = looking(np.array([0.0, 1.0, -0.16]))
