"""The package: what the wheel carries, what its metadata promise, and that the recipes and pins agree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from atmand import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower() for requirement in requirements}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    (built,) = directory.glob("atmand-*.whl")
    return built


@pytest.mark.process
def test_the_wheel_carries_configurations_market_tables_and_units(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for kept in ("configs/**/*.toml", "deploy/**/*", "atmand/market/data/*", "atmand/*/page/*", "atmand/**/*.py"):
        for file in ROOT.glob(kept):
            if file.is_file() and "__pycache__" not in file.parts:
                path = file.relative_to(ROOT).as_posix()
                assert (path if path.startswith("atmand/") else f"atmand/{path}") in inside
    assert not [name for name in inside if "__pycache__" in name or name.startswith("tests/")]


@pytest.mark.process
def test_an_installed_wheel_finds_its_demo_in_an_empty_directory(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    shutil.unpack_archive(wheel, site, "zip")
    code = "import atmand, sys; from atmand.__main__ import main; print(atmand.__file__); sys.exit(main(['check']))"
    checked = subprocess.run(
        [sys.executable, "-c", code],
        cwd=empty,
        env={"PYTHONPATH": str(site), "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith(str(site))
    assert str(site / "atmand/configs/demo.toml") in checked.stderr


def test_the_base_installs_no_training_library_and_no_oracle() -> None:
    base = names(PROJECT["dependencies"])
    assert not base & {"torch", "pandas", "scipy", "optuna", "kiteconnect", "ta-lib", "pytest"}
    assert "torch==2.13.0" in PROJECT["optional-dependencies"]["train"]


def test_everything_that_is_asked_for_is_pinned() -> None:
    asked = names(PROJECT["dependencies"]) | names(PROJECT["optional-dependencies"]["test"])
    assert asked <= pins().keys()
    assert "torch" not in pins()


def test_the_console_script_is_the_light_entry_point() -> None:
    assert PROJECT["scripts"] == {"atmand": "atmand.__main__:main"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_no_recipe_installs_the_training_extra() -> None:
    recipes = (ROOT / "Makefile").read_text() + (ROOT / ".ci/run").read_text()
    assert "[train]" not in recipes and "torch" not in recipes


@pytest.mark.process
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_second_make_run_installs_nothing(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / ".venv/.atmand-run").touch()
    # What an outer make hands down: its flags, and the level at which a make announces its directory.
    handed_down = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS")
    bare = {name: value for name, value in os.environ.items() if name not in handed_down}
    planned = subprocess.run(
        ["make", "-n", "run"], cwd=tmp_path, env=bare, capture_output=True, text=True, check=True
    ).stdout
    assert planned.split() == ["exec", ".venv/bin/atmand", "run"]


@pytest.mark.process
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_machine_without_python_is_told_what_to_install(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    refused = subprocess.run(["make", "run", "PYTHON="], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "Python 3.11 or newer is needed: apt install python3 python3-venv" in refused.stderr
    refused = subprocess.run(["make", "run", "PYTHON=false"], cwd=tmp_path, capture_output=True, text=True)
    assert "false has no venv module: apt install python3-venv" in refused.stderr
    assert not (tmp_path / ".venv").exists()
