"""The layout of the repository, as far as something breaks, or rots, when it is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 450  # lines


@pytest.mark.parametrize("name", ["__init__.py", "operator.py"])
def test_operator_is_a_source_root_and_no_package(name: str) -> None:
    """With either file the interpreter itself finds our folder instead of its own module `operator`."""
    assert not (ROOT / "operator" / name).exists()


def test_no_module_is_too_long_to_be_read_at_once() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / "operator" / "resurgo").rglob("*.py")
    }
    assert {} == {name: length for name, length in lengths.items() if length > LONGEST}


def test_imports_go_one_way() -> None:
    """The contracts of import-linter in pyproject.toml."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
