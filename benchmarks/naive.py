"""The flow-factorised model written down plainly: one network per field, and automatic differentiation for all else.

Every u^k(z, t) is an MLP of [z; t]; its gradient comes from ``torch.autograd.grad`` with a graph kept for training, the
change of density from the full Jacobian, one row at a time, through that graph again. Python loops run over fields,
rows and steps, and all K fields are evaluated whether or not they act. Encoder, decoder and loss are those of the
project, so that the two differ in the flow alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F

from ffrl.config import SupervisedConfig
from ffrl.models.activity import Phase
from ffrl.models.flow_vae import FlowFactorizedVAE
from ffrl.models.outputs import SequenceNoise, SequenceOutputs
from ffrl.nn.networks import build_decoder, build_encoder


class NaivePotential(nn.Module):
    """u(z, t) = a . softplus(W [z; t] + b): ``z (B, D)``, ``t (B, 1)`` -> ``(B,)``."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim + 1, width)
        self.output = nn.Linear(width, 1, bias=False)

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """Evaluate the potential."""
        return self.output(F.softplus(self.hidden(torch.cat([z, t], dim=1))))[:, 0]


class NaiveModel(nn.Module):
    """Supervised model with the same encoder, decoder and bound as the supervised mode."""

    def __init__(self, config: SupervisedConfig, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        size = config.model
        self.config = config
        self.encoder = build_encoder(size.architecture, image_shape, 2 * size.latent_dim, size.width, size.depth)
        self.decoder = build_decoder(size.architecture, image_shape, size.latent_dim, size.width, size.depth)
        self.potentials = nn.ModuleList(
            NaivePotential(size.latent_dim, size.potential_width) for _ in range(size.num_fields)
        )
        self.density = config.objective.density if config.objective.bound == "paper" else None
        if self.density is not None:
            self.log_diffusion = nn.Parameter(torch.full((size.num_fields,), size.diffusion).log())

    @torch.no_grad()
    def copy_from(self, model: FlowFactorizedVAE) -> None:
        """Take over the weights of a model with softplus potentials, whose periodic time features are silenced."""
        self.encoder.load_state_dict(model.encoder.state_dict())
        self.decoder.load_state_dict(model.decoder.state_dict())
        if self.density is not None:
            self.log_diffusion.copy_(model.log_diffusion)
        u = model.field_model
        u.time_weight[..., 1:] = 0.0
        for k, potential in enumerate(self.potentials):
            potential.hidden.weight.copy_(torch.cat([u.weight[k], u.time_weight[k, :, :1]], dim=1))
            potential.hidden.bias.copy_(u.bias[k])
            potential.output.weight.copy_(u.scale[k].unsqueeze(0))

    def phase(self, progress: float) -> Phase:
        """The same throughout training."""
        return Phase()

    def draw_noise(self, batch_size: int, num_steps: int, generator: torch.Generator) -> SequenceNoise:
        """The noise of z_0, which is all there is."""
        latent = torch.randn(batch_size, self.config.model.latent_dim, generator=generator)
        others = latent.new_empty(batch_size, num_steps, 0)
        return SequenceNoise(latent, others, torch.empty(batch_size, num_steps, len(self.potentials), 0))

    def transition(self, z: Tensor, g: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        """z_t and log q(z_t) - log q(z_{t-1}) from z_{t-1} ``(B, D)`` under ``g (B, K)``: ``(B, D)`` and ``(B,)``."""
        velocity, jacobian = torch.zeros_like(z), 0.0
        for k, potential in enumerate(self.potentials):
            (gradient,) = grad(potential(z, t).sum(), z, create_graph=True)
            velocity = velocity + g[:, k : k + 1] * gradient
            if self.density is not None:
                rows = [grad(gradient[:, i].sum(), z, create_graph=True)[0] for i in range(z.shape[1])]
                jacobian = jacobian + g[:, k, None, None] * torch.stack(rows, dim=1)
        if self.density is None:
            return z + velocity, None
        if self.density == "trace":
            return z + velocity, -torch.diagonal(jacobian, dim1=1, dim2=2).sum(1)
        return z + velocity, -torch.linalg.slogdet(torch.eye(z.shape[1]) + jacobian).logabsdet

    def forward(self, frames: Tensor, noise: SequenceNoise, phase: Phase, activity: Tensor) -> SequenceOutputs:
        """One pass over sequences, frame by frame."""
        steps = activity.shape[1]
        mean, log_variance = self.encoder(frames[:, 0]).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_variance) * noise.latent
        latents, logits, changes, log_priors = [z], [self.decoder(z)], [], []
        sigma = torch.ones_like(z[:, 0])
        for step in range(steps):
            g, t = activity[:, step], torch.full_like(z[:, :1], (step + 1) / steps)
            z, change = self.transition(z, g, t)
            latents.append(z)
            logits.append(self.decoder(z))
            if change is not None:
                sigma = sigma + (g.abs() * self.log_diffusion.exp()).sum(1) / sigma
                changes.append(change)
                log_priors.append(torch.distributions.Normal(0.0, sigma[:, None]).log_prob(z).sum(1))
        paper = self.density is not None
        return SequenceOutputs(
            logits=torch.stack(logits, 1),
            latents=torch.stack(latents, 1),
            mean=mean,
            log_variance=log_variance,
            activity=activity,
            activity_kl={},
            log_density_change=torch.stack(changes, 1) if paper else None,
            log_prior=torch.stack(log_priors, 1) if paper else None,
        )
