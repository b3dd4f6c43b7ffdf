"""STA as published: Helmholtz fields with a penalised divergence, and relaxed activity that a network reads off."""

from __future__ import annotations

from ffrl.fields.build import build_fields
from ffrl.models.autoencoder import Networks
from ffrl.models.flow_vae import FlowFactorizedVAE, FlowSettings
from ffrl.models.penalties import regularisers
from ffrl.nn.networks import build_encoder
from stf.models.divergence import divergence_penalty
from stf.sta.activity import RelaxedActivity
from stf.sta.config import StaConfig


def sta(config: StaConfig, networks: Networks) -> FlowFactorizedVAE:
    r"""v = sum_k g^k (grad u^k + r^k) with relaxed spike-and-slab activity from a network of its own.

    What differs from the publication is in docs/baselines.md.

    Source: Song, Keller, Yue, Perona and Welling 2024, "Unsupervised Representation Learning from Sparse Transformation
    Analysis", arXiv:2410.05564.

    Example:
        >>> import torch
        >>> from stf.modes.sta import MODE
        >>> MODE.build(StaConfig(), (3, 28, 28)).infer(torch.rand(2, 9, 3, 28, 28)).shape
        torch.Size([2, 8, 6])
    """
    size = config.model
    fields = build_fields(size)
    activity = RelaxedActivity(fields.num_controls, size.latent_dim, config.sparsity, config.relaxation)
    penalties = [*regularisers(config, fields), *divergence_penalty(size, fields)]
    pixels = None
    if size.activity_from == "pixels":
        seen = networks.frame_kind.entered(networks.image_shape)
        pixels = build_encoder(size.architecture, seen, size.latent_dim, size.width, size.depth)
    return FlowFactorizedVAE(networks, fields, activity, FlowSettings.of(config), penalties, pixels)
