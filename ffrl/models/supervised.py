"""The supervised mode: which transformation acts is given, and moves the latents by a field of its own."""

from __future__ import annotations

from ffrl.config import RunConfig, SupervisedConfig
from ffrl.fields.build import build_fields
from ffrl.models.activity import GivenActivity
from ffrl.models.autoencoder import Networks
from ffrl.models.flow_vae import FlowFactorizedVAE, FlowSettings
from ffrl.models.mode import Mode
from ffrl.models.penalties import Penalty, regularisers


def flow_with_given_activity(config: RunConfig, networks: Networks, *penalties: Penalty) -> FlowFactorizedVAE:
    """A flow-factorised VAE of K potentials, one for each transformation.

    Args:
        config: of its sizes.
        networks: encoder and decoder.
        penalties: beside those that the objective asks for.
    """
    size = config.model
    fields, activity = build_fields(size), GivenActivity(size.num_fields)
    every = [*regularisers(config, fields), *penalties]
    return FlowFactorizedVAE(networks, fields, activity, FlowSettings.of(config), every)


MODE = Mode(SupervisedConfig, flow_with_given_activity)
"""FFRL, supervised."""
