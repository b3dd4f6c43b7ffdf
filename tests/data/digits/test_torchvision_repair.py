"""The import of torchvision, with and without its C library."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ffrl.core.errors import UserError
from ffrl.data.digits import torchvision_repair
from ffrl.data.digits.torchvision_repair import import_torchvision


def test_import_gives_data_sets_and_is_repeatable() -> None:
    torchvision = import_torchvision()
    assert torchvision.datasets.MNIST.__name__ == "MNIST"
    assert import_torchvision() is torchvision
    assert sys.modules["torchvision"] is torchvision


@pytest.mark.parametrize(("module", "heavy"), [("ffrl.data", "torch"), ("ffrl.data.digits.mnist", "torchvision")])
def test_lazy_imports(module: str, heavy: str) -> None:
    code = f"import sys, {module}; print('{module}' in sys.modules, '{heavy}' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "False"]


def fails_with(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> list[str]:
    """Let the next imports fail with ``errors``, then succeed; return a list that records what is done."""
    calls: list[str] = []
    remaining = iter(errors)

    def import_once():
        calls.append("import")
        error = next(remaining, None)
        if error is not None:
            raise error
        return sys

    monkeypatch.setattr(torchvision_repair, "_import", import_once)
    monkeypatch.setattr(torchvision_repair, "_operator_library", lambda: calls.append("define"))
    return calls


def test_a_working_import_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fails_with(monkeypatch)
    assert import_torchvision() is sys and calls == ["import"]


def test_missing_operators_are_defined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fails_with(monkeypatch, RuntimeError("operator torchvision::nms does not exist"))
    assert import_torchvision() is sys and calls == ["import", "define", "import"]


@pytest.mark.parametrize(
    "errors",
    [
        [ModuleNotFoundError("No module named 'torchvision'")],
        [RuntimeError("built for\nanother version")],
        [RuntimeError("operator torchvision::nms does not exist"), RuntimeError("still\nbroken")],
        [RuntimeError("operator torchvision::nms does not exist"), ImportError("still broken")],
    ],
)
def test_what_cannot_be_repaired_is_one_line(monkeypatch: pytest.MonkeyPatch, errors: list[Exception]) -> None:
    fails_with(monkeypatch, *errors)
    with pytest.raises(UserError, match="^torchvision: found .*, expected ") as caught:
        import_torchvision()
    assert "\n" not in str(caught.value)
