"""Presets: configuration files that ``stf train --config NAME`` finds by name."""
