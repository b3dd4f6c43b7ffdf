"""What a run has to know of its data to be loaded without them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ffrl.core.errors import UserError
from ffrl.core.reading import shown
from ffrl.data.features import Features

if TYPE_CHECKING:
    from ffrl.data.base import SequenceData


@dataclass(frozen=True)
class DataSpec:
    """Shape, length and transformations of sequences, as JSON values.

    Args:
        name: name of the data set.
        title: what results call the data.
        image_shape: ``(C, H, W)``, or ``(F,)`` of vectors.
        num_steps: T.
        transformations: names of the J transformations; none if they are not known.
        unit_steps: what one unit step of each means, in words.
        features: of vectors; None for images.

    Example:
        >>> spec = DataSpec("arrays", "moving bars", (1, 12, 20), 5, ("shift",), ("1 pixel",))
        >>> DataSpec.read(spec.plain(), "run.json") == spec
        True
    """

    name: str
    title: str
    image_shape: tuple[int, ...]
    num_steps: int
    transformations: tuple[str, ...] = ()
    unit_steps: tuple[str, ...] = ()
    features: Features | None = None

    @classmethod
    def of(cls, data: SequenceData) -> DataSpec:
        """That of sequences."""
        names = tuple(data.transformations), tuple(data.unit_steps)
        return cls(data.name, data.title, tuple(data.image_shape), data.num_steps, *names, data.features)

    def plain(self) -> dict[str, Any]:
        """JSON values; ``features`` only of vectors."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return values | {"features": self.features.plain()} if self.features else _without(values, "features")

    @classmethod
    def read(cls, values: Any, source: str) -> DataSpec:
        """The inverse of :meth:`plain`.

        Args:
            values: from a JSON file.
            source: its name, for messages.

        Raises:
            UserError: something is missing or of another type.
        """
        names = {"name": str, "title": str, "image_shape": int, "num_steps": int}
        names |= {"transformations": str, "unit_steps": str}
        vectors = isinstance(values, dict) and "features" in values
        features = Features.read(values["features"], source) if vectors else None
        values = _without(values, "features") if vectors else values
        if not isinstance(values, dict) or values.keys() != names.keys():
            found = sorted(values) if isinstance(values, dict) else values
            raise UserError(f"{source}: found {shown(found)}, expected the keys {', '.join(names)}")
        made: dict[str, Any] = {}
        for key, kind in names.items():
            value = values[key]
            several = key in ("image_shape", "transformations", "unit_steps")
            items = value if several and isinstance(value, list) else [value]
            if several is not isinstance(value, list) or any(type(item) is not kind for item in items):
                raise UserError(
                    f"{source}: {key}: found {shown(value)}, expected {'a list of ' if several else ''}{kind}"
                )
            made[key] = tuple(items) if several else value
        shape = made["image_shape"]
        fits = len(shape) == 3 if features is None else shape == (len(features),)
        if not fits or min(*shape, made["num_steps"]) < 1:
            raise UserError(f"{source}: found frames of {shape}, T = {made['num_steps']}, expected sizes")
        return cls(**made, features=features)


def _without(values: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != key}
