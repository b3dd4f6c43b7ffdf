"""Gradients of potentials."""

from __future__ import annotations

from ffrl.fields.potential import potentials

FIELDS = potentials
