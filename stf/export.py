"""A trained model as programs that run without this package: encoder, flow and decoder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ffrl.core.errors import UserError
from ffrl.core.files import reporting
from ffrl.models.interface import Probabilistic, SequenceModel, WithFields

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value, between an exported program and the model."""


class Encoder(nn.Module):
    """Frames ``(N, C, H, W)`` in [0, 1], or vectors ``(N, F)``, to mean and log-variance of q(z | x) ``(N, D)``."""

    def __init__(self, model: Probabilistic) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        return self.model.posterior(frames)


class Part(nn.Module):
    """One function of a model as a module of its own."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model


class Flow(Part):
    """Latents ``(N, D)`` and speeds ``(N, T, C)`` to latents ``(N, T+1, D)``."""

    def forward(self, z0: Tensor, g: Tensor) -> Tensor:
        """See the class."""
        return self.model.flow(z0, g)


class Decoder(Part):
    """Latents ``(N, D)`` to images ``(N, C, H, W)`` in [0, 1], or to vectors ``(N, F)`` in their own units."""

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        return self.model.decode(z)


def export(model: SequenceModel, folder: str | Path) -> list[Path]:
    """Write ``encoder.pt2``, ``flow.pt2`` and ``decoder.pt2``, each checked against the model on random inputs.

    Any number of inputs goes through them at a time; the flow is of as many steps as the model was trained on. Vectors
    are float64, NaN where a value is missing.
    ``torch.export.load(path).module()`` makes a function of a file.

    Args:
        model: in evaluation mode, with fields.
        folder: where to, made if it is not there.

    Raises:
        UserError: the model has no flow of fields, cannot be exported, or the program differs from it.
    """
    if not (isinstance(model, WithFields) and isinstance(model, Probabilistic)):
        raise UserError(f"export: found mode {model.trained.mode}, without vector fields, expected one with a flow")
    folder = Path(folder)
    with reporting("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
    parameter = next(model.parameters())
    source = torch.Generator().manual_seed(0)

    kind = model.frame_kind
    said = kind.outputs(model.image_shape)

    def random(name: str, *shape: int) -> Tensor:
        drawn = torch.rand(shape, generator=source).to(parameter)
        return kind.mean(drawn).detach() if name == "encoder" else drawn

    programs: dict[str, tuple[nn.Module, tuple[tuple[int, ...], ...]]] = {
        "encoder": (Encoder(model), (said,)),
        "flow": (Flow(model), ((model.latent_dim,), (model.num_steps, model.num_controls))),
        "decoder": (Decoder(model), ((model.latent_dim,),)),
    }
    written = []
    for name, (module, shapes) in programs.items():
        batch = torch.export.Dim("batch", min=1)
        dynamic = tuple({0: batch} for _ in shapes)
        try:
            program = torch.export.export(
                module.eval(), tuple(random(name, 3, *shape) for shape in shapes), dynamic_shapes=dynamic
            )
        except Exception as error:  # whatever torch.export finds in modules that are not of this package
            raise UserError(f"export: {name}: cannot be exported: {str(error).splitlines()[0]}") from None
        inputs = tuple(random(name, 5, *shape) for shape in shapes)
        with torch.no_grad():
            made, expected = (_flat(one(*inputs)) for one in (program.module(), module))
        worst = max(
            float((a - b).abs().max() / b.abs().max().clamp_min(1e-6)) for a, b in zip(made, expected, strict=True)
        )
        if not worst <= TOLERANCE:
            raise UserError(f"export: {name}: found outputs that differ by {worst:.2g}, expected at most {TOLERANCE:g}")
        path = folder / f"{name}.pt2"
        with reporting("write", path):
            torch.export.save(program, path)
        written.append(path)
    return written


def _flat(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)
