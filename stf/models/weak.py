"""The weakly supervised model: one transformation per sequence, and which one is inferred exactly."""

from __future__ import annotations

from stf.config import WeakConfig
from stf.inference.activity import ExactActivity
from stf.inference.prior import ActivityPrior
from stf.models.exact_flow import ExactFlow


class WeakFlow(ExactFlow):
    r"""One field acts at unit speed throughout a sequence (FFRL, weakly supervised).

    The posterior multiplies the evidence of all transitions under a uniform prior over the fields that are alive,

    .. math:: q(k | \bar x) \propto \prod_t N(\Delta_t; V_t^k, \tau_k I).

    Args:
        config: a :class:`~stf.config.WeakConfig`.
        image_shape: (C, H, W).

    Example:
        >>> import torch
        >>> model = WeakFlow(WeakConfig(), (3, 28, 28))
        >>> model.infer(torch.rand(2, 9, 3, 28, 28)).sum(-1).unique().tolist()
        [1.0]
    """

    def build_activity(self, config: WeakConfig) -> ExactActivity:
        """One field throughout, at unit speed."""
        prior = ActivityPrior(slab="unit", most=1, constant=True)
        return ExactActivity(config.model.num_fields, config.model.latent_dim, prior, 0.1, 0.3, learn_rates=False)
