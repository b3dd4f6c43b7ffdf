"""The model class of every baseline, by mode."""

from __future__ import annotations

from ffrl.models.baselines.factor_vae import FactorVAE
from ffrl.models.baselines.msp import MSP
from ffrl.models.baselines.poflow import PoFlow
from ffrl.models.baselines.slow_vae import SlowVAE
from ffrl.models.baselines.tvae import TVAE
from ffrl.models.baselines.vae import BetaVAE, FrameVAE
from ffrl.models.flow_vae import FlowFactorizedVAE

BASELINES: dict[str, type[FlowFactorizedVAE]] = {
    "vae": FrameVAE,
    "beta-vae": BetaVAE,
    "factor-vae": FactorVAE,
    "slow-vae": SlowVAE,
    "tvae": TVAE,
    "poflow": PoFlow,
    "msp": MSP,
}
"""Model class of every baseline; its configuration is in :data:`ffrl.models.baselines.config.BASELINES`."""
