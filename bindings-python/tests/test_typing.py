"""Types: the package, the programs that use it, and the stub of the native module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import octopoid

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "examples" / "python"
INSTALLED = Path(octopoid.__file__).parent


def check(*arguments: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_is_typed(tmp_path: Path) -> None:
    assert (INSTALLED / "py.typed").exists() and (INSTALLED.parent / "octopoid_sdk" / "py.typed").exists()
    check(
        "mypy",
        "--strict",
        "--python-version",
        "3.10",
        "--package",
        "octopoid",
        "--package",
        "octopoid_sdk",
        folder=tmp_path,
    )


def test_programs_are_checked(tmp_path: Path) -> None:
    files = [str(HERE / "typing_examples.py"), *map(str, sorted(EXAMPLES.glob("*.py")))]
    assert len(files) == 9
    check("mypy", "--strict", "--warn-unused-ignores", *files, folder=tmp_path)


def test_the_stub_is_what_the_native_module_is(tmp_path: Path) -> None:
    check("mypy.stubtest", "octopoid._native", folder=tmp_path)
