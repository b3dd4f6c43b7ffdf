"""The weakly supervised model: one transformation per sequence, and which one is inferred exactly."""

from __future__ import annotations

from ffrl.fields.build import build_fields
from ffrl.models.autoencoder import Networks
from ffrl.models.flow_vae import FlowSettings
from ffrl.models.penalties import regularisers
from stf.config import WeakConfig
from stf.discovery.population import require_rows
from stf.inference.activity import ExactActivity
from stf.inference.prior import ActivityPrior
from stf.models.sparse_flow import JointSettings, SparseTransformationFlow


def weak(config: WeakConfig, networks: Networks) -> SparseTransformationFlow:
    r"""One field acts at unit speed throughout a sequence (FFRL, weakly supervised).

    The posterior multiplies the evidence of all transitions under a uniform prior over the fields that are alive,

    .. math:: q(k | \bar x) \propto \prod_t N(\Delta_t; V_t^k, \tau_k I).

    Example:
        >>> import torch
        >>> from stf.config.modes import WEAK
        >>> WEAK.build(WeakConfig(), (3, 28, 28)).infer(torch.rand(2, 9, 3, 28, 28)).sum(-1).unique().tolist()
        [1.0]
    """
    fields = build_fields(config.model)
    require_rows(config, fields)
    prior = ActivityPrior(slab="unit", most=1, constant=True)
    activity = ExactActivity(fields.num_controls, config.model.latent_dim, prior, 0.1, 0.3, learn_rates=False)
    return SparseTransformationFlow(
        networks, fields, activity, FlowSettings.of(config), regularisers(config, fields), JointSettings.of(config)
    )
