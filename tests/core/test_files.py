"""Writing files on systems that differ."""

from __future__ import annotations

import os

from ffrl.core.files import write_atomically


def test_folders_that_cannot_be_opened_are_no_failure(tmp_path, monkeypatch):
    """Windows opens no folders."""
    real = os.open

    def no_folders(path, *arguments, **options):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", no_folders)
    write_atomically(tmp_path / "a.json", b"{}")
    assert (tmp_path / "a.json").read_bytes() == b"{}" and len(list(tmp_path.iterdir())) == 1
