"""The types of fields that can be asked for by name."""

from __future__ import annotations

from ffrl.core.registry import Registry, modules_in

GROUP, KIND = "stf.fields", "type of fields"
"""Entry points that add a type of fields, and what it is called in messages."""

FIELDS = Registry(GROUP, KIND, modules_in("ffrl.fields.types", "FIELDS"))
"""By name, that of a file in ``ffrl/fields/types``, what makes fields of a :class:`~ffrl.config.ModelConfig`: a
:class:`ffrl.fields.protocol.FieldModule`, or any module of a form that :class:`ffrl.fields.autograd.AutogradFields`
takes."""
