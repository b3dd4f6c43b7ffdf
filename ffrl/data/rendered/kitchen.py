"""A robot arm that holds an object in a kitchen, in the manner of Isaac3D."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffrl.data.rendered.colours import between, from_z, hue, looking

NUMBERS = 9
"""Shape; robot x and y, camera height, object scale, intensity and direction of the light as shares of their ranges;
hues of object and wall in turns."""
SHOULDER = np.array([0.0, 0.0, 0.62])
LINK = 0.52
"""Length of the upper and of the lower arm."""
SHAPES = ("box", "sphere", "cylinder", "capsule")

XML = """
<mujoco>
  <visual>
    <headlight ambient="0 0 0" diffuse="0 0 0" specular="0 0 0"/>
    <quality shadowsize="512" offsamples="0"/>
    <map znear="0.1" zfar="12" shadowclip="2.5"/>
  </visual>
  <statistic center="0 0.6 0.9" extent="1"/>
  <default><geom contype="0" conaffinity="0"/></default>
  <worldbody>
    <light name="lamp" pos="0 0 3" dir="0 0 -1" directional="true" castshadow="true" specular="0 0 0"/>
    <camera name="eye" fovy="45"/>
    <geom type="box" size="3 3 .05" pos="0 0 -.05" rgba=".62 .6 .56 1"/>
    <geom name="wall" type="box" size="3 .05 1.6" pos="0 1.6 1.6"/>
    <geom type="box" size=".36 .3 .82" pos="-1.22 1.25 .82" rgba=".72 .73 .76 1"/>
    <geom type="box" size=".02 .02 .3" pos="-.95 .94 1.05" rgba=".3 .3 .32 1"/>
    <geom type="box" size="1.2 .28 .4" pos=".42 1.28 .4" rgba=".86 .84 .8 1"/>
    <geom type="box" size="1.23 .31 .03" pos=".42 1.27 .83" rgba=".42 .27 .15 1"/>
    <geom type="box" size=".01 .01 .36" pos=".1 .99 .42" rgba=".5 .48 .45 1"/>
    <geom type="box" size=".01 .01 .36" pos=".75 .99 .42" rgba=".5 .48 .45 1"/>
    <geom type="box" size=".3 .16 .26" pos="-.42 1.42 1.6" rgba=".86 .84 .8 1"/>
    <geom type="box" size=".34 .16 .26" pos="1.08 1.42 1.6" rgba=".7 .68 .6 1"/>
    <geom type="cylinder" size=".12 .02" pos=".34 1.54 1.7" euler="90 0 0" rgba=".9 .9 .92 1"/>
    <geom type="box" size=".2 .16 .14" pos="0 0 .22" rgba=".62 .28 .16 1"/>
    <geom type="cylinder" size=".13 .04" pos="-.25 0 .13" euler="0 90 0" rgba=".35 .16 .1 1"/>
    <geom type="cylinder" size=".13 .04" pos=".25 0 .13" euler="0 90 0" rgba=".35 .16 .1 1"/>
    <geom type="capsule" fromto="0 0 .36 0 0 .62" size=".085" rgba=".55 .24 .13 1"/>
    <geom name="upper" type="capsule" size=".08 .26" rgba=".66 .3 .17 1"/>
    <geom name="lower" type="capsule" size=".07 .26" rgba=".66 .3 .17 1"/>
    <geom name="object" type="box" size=".1 .1 .1"/>
  </worldbody>
</mujoco>
"""


def elbow(x: float, z: float) -> NDArray[np.float64]:
    """Return where the elbow is, (x, z) from the shoulder, of an arm whose hand is at (x, z).

    Both arms are :data:`LINK` long; of the two solutions it is the one on the right of the way to the hand.

    Example:
        >>> at = elbow(0.6, 0.4)
        >>> bool(np.isclose(np.hypot(*at), LINK) and np.isclose(np.hypot(0.6 - at[0], 0.4 - at[1]), LINK))
        True
    """
    reach = np.hypot(x, z)
    aside = np.sqrt(LINK**2 - reach**2 / 4) / reach
    return np.array([x / 2 + aside * z, z / 2 - aside * x])


def set_scene(model: Any, numbers: NDArray[np.float64]) -> None:
    """Set a compiled model to the :data:`NUMBERS` of an image, ``(9,)``."""
    shape, x, y, height, scale, intensity, light, own, wall = numbers.tolist()
    hand = np.array([between(-0.55, 0.55, x), -0.1, between(0.1, 0.8, y)])
    joint = np.insert(elbow(hand[0], hand[2]), 1, 0.0)
    for name, start, end in (("upper", 0 * joint, joint), ("lower", joint, hand)):
        geom = model.geom(name)
        geom.pos[:], geom.quat[:] = SHOULDER + (start + end) / 2, from_z(end - start)
        geom.size[1] = np.linalg.norm(end - start) / 2
    half = between(0.11, 0.32, scale)
    sizes = ((half, half, half), (1.2 * half, 0, 0), (half, 1.1 * half, 0), (0.8 * half, 0.7 * half, 0))
    thing = model.geom("object")
    thing.type[:] = model_type(SHAPES[int(shape)])
    thing.size[:], thing.pos[:], thing.rgba[:] = sizes[int(shape)], SHOULDER + hand, hue(own, 0.85, 0.95)
    model.geom("wall").rgba[:] = hue(wall, 0.55, 0.9)
    lamp, power = model.light("lamp"), between(0.6, 1.05, intensity)
    lamp.dir[:] = (between(0.95, -0.95, light), 0.75, -0.9)
    lamp.dir[:] /= np.linalg.norm(lamp.dir)
    lamp.diffuse[:], model.vis.headlight.ambient[:] = 0.62 * power, 0.42 * power
    eye, up = model.camera("eye"), between(0.8, 1.6, height)
    eye.pos[:] = (0.0, -2.1, up)
    eye.quat[:] = looking(np.array([0.0, 2.1, 1.0 - up + 0.4 * (up - 1.1)]))


def model_type(shape: str) -> int:
    """Return MuJoCo's number of a type of bodies.

    Example:
        >>> model_type("sphere")
        2
    """
    return {"sphere": 2, "capsule": 3, "cylinder": 5, "box": 6}[shape]
