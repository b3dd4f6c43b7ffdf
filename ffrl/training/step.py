"""One optimisation step and one forward pass, the same for all three modes, without waiting for the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ffrl.config import ObjectiveConfig, RunConfig
from ffrl.config.optimizer import learning_rate
from ffrl.core.device import autocast
from ffrl.core.errors import UserError
from ffrl.models.activity import Phase, alone
from ffrl.models.interface import SequenceModel
from ffrl.models.outputs import SequenceNoise, SequenceOutputs
from ffrl.training.batch import Batch, Feed
from ffrl.training.phases import cycle
from ffrl.training.window import Window

Objective = Callable[[SequenceOutputs, Tensor, ObjectiveConfig], dict[str, Tensor]]


class Forward:
    """The map (frames, noise, phase, activity) -> named loss terms; only the model itself runs under autocast.

    With ``config.compile`` it is compiled, and the numbers of the phase go in as tensors: as Python floats, which
    change at every step, each would start a compilation.
    """

    def __init__(self, config: RunConfig, model: SequenceModel, precision: torch.dtype, objective: Objective) -> None:
        def terms(frames: Tensor, noise: SequenceNoise, phase: Phase, activity: Tensor | None) -> dict[str, Tensor]:
            with autocast(frames.device, precision):
                outputs = model(frames, noise, phase, activity)
            return objective(outputs, frames, config.objective)

        self.eager = terms
        self._compiled = torch.compile(terms) if config.compile else None

    def __call__(self, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Return the loss terms of ``batch``, 0-dim tensors on its device, among them ``loss``.

        Raises:
            UserError: compilation is asked for and fails, for want of a C++ compiler for instance.
        """
        if self._compiled is None:
            return self.eager(batch.frames, batch.noise, phase, batch.activity)
        phase = _numbers_as_tensors(phase, batch.frames.device)
        try:
            return self._compiled(batch.frames, batch.noise, phase, batch.activity)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason = str(error).partition("\n")[0]
            message = f"compile: found that torch.compile fails ({reason}), expected a working compiler"
            raise UserError(message) from error


def _numbers_as_tensors(phase: Phase, device: torch.device) -> Phase:
    values = {field.name: getattr(phase, field.name) for field in dataclasses.fields(phase)}
    numbers = {name: value for name, value in values.items() if type(value) is float}
    tensors: dict[str, Any] = {name: torch.full((), value, device=device) for name, value in numbers.items()}
    return dataclasses.replace(phase, **tensors)


def rate_at(config: RunConfig, step: int) -> float:
    """Return the learning rate of step ``step`` of a run: one warm-up and one decay per stretch of gradient phases."""
    first, steps = cycle(config, step)
    return learning_rate(config.optimizer, max(step - first, 0), steps)


def build_optimizer(config: RunConfig, model: nn.Module, fields: Iterable[nn.Parameter] = ()) -> torch.optim.AdamW:
    """Return the fused AdamW of all trainable parameters.

    Weight decay acts on those with two or more dimensions; the learning rate of every group is multiplied by its
    ``factor``, which is ``optimizer.field_factor`` for the fields and 1 for everything else.
    """
    of_fields = {id(parameter) for parameter in fields}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            factor = config.optimizer.field_factor if id(parameter) in of_fields else 1.0
            decay = config.optimizer.weight_decay if parameter.ndim >= 2 else 0.0
            groups.setdefault((factor, decay), []).append(parameter)
    options = [
        {"params": parameters, "weight_decay": decay, "factor": factor}
        for (factor, decay), parameters in groups.items()
    ]
    return torch.optim.AdamW(options, lr=config.optimizer.learning_rate, fused=True)


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    clip: float,
    average: Callable[[list[Tensor]], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Backpropagate ``loss`` and take one clipped step, or none at all when anything is not finite.

    The gradient g becomes g min(1, clip / (‖g‖ + 1e-6)) with the norm over all parameters. Whether the step is taken is
    decided on the device: fused AdamW leaves parameters, moments and step count as they are when ``found_inf`` is 1.

    Args:
        model: with parameters that the loss depends on.
        optimizer: a fused one.
        loss: 0-dim tensor.
        clip: largest norm of the gradient.
        average: replaces loss and gradients by their means over several processes, in place.

    Returns:
        The gradient norm before clipping and whether the step was taken, 0-dim tensors on the device.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        >>> norm, finite = update(model, optimizer, model(torch.tensor([1.0, float("nan")])).sum(), clip=1.0)
        >>> bool(finite), bool(model.weight.isfinite().all())
        (False, True)
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if average is not None:
        average([loss.detach(), *gradients])
    norm = torch.nn.utils.get_total_norm(gradients)
    torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    finite = torch.isfinite(norm) & torch.isfinite(loss.detach())
    optimizer.found_inf = (~finite).to(torch.float32)  # type: ignore[attr-defined]
    optimizer.step()
    return norm, finite


def forget(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    """Drop the moments of parameters that hold something else now, so that their next step is like a first one.

    A field that a search puts where none was alive has a second moment of next to nothing there, and a count of steps
    at which that is believed: Adam would move it several times too far.

    Example:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.AdamW([weight])
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> forget(optimizer, [weight])
        >>> weight in optimizer.state
        False
    """
    for parameter in parameters:
        optimizer.state.pop(parameter, None)


class TrainingStep:
    r"""Takes the batch of a step, computes the loss terms and updates the model; nothing in it waits for the device.

    After the first phase the loss has two parts, of sequences and, with weight w, of other frames that stand alone:

    .. math:: L(x_{0:T}) + w \, L(x)

    Frames alone are sequences of T = 0, whose latent bears as much of the KL as a frame of a sequence does.
    """

    def __init__(self, config: RunConfig, model: SequenceModel, feed: Feed, forward: Forward, window: Window) -> None:
        self.config, self.model, self.feed = config, model, feed
        self.forward, self.window = forward, window
        self.optimizer = build_optimizer(config, model, model.field_parameters())

    def __call__(self, step: int) -> None:
        """Take optimisation step ``step``, counted from 0."""
        config = self.config
        batch = self.feed(step)
        phase = self.model.phase(config.progress(step))
        terms = self.forward(batch, phase)
        loss = terms["loss"]
        if batch.alone is not None:
            beside = self.forward(batch.alone, alone(phase, batch.frames.shape[1], config.still))
            terms["alone"] = beside["loss"]
            loss = loss + config.still.beside * beside["loss"]
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * rate_at(config, step)
        values = [value.detach() for value in terms.values()]
        norm, finite = update(
            self.model,
            self.optimizer,
            loss,
            config.optimizer.gradient_clip,
            lambda found: self.feed.ranks.average([*found, *values], config.batch_size),
        )
        self.model.after_step()
        self.window.add({**terms, "gradient_norm": norm}, finite)
