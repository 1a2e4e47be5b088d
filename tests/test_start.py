"""The first lines of the program: signals held for the loop, where files lie, and the name of the compiler's cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from atmand import start
from atmand.start import cache_directory, default_state, kernel_digest, prepare_compiler, requested_state

HELD = """
import os, signal
from atmand.start import held_signals, signals_held
with signals_held():
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    print([number.name for number in held_signals()], held_signals())
    os.kill(os.getpid(), signal.SIGINT)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        print("went on")
    except KeyboardInterrupt:
        print("forced")
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


@pytest.mark.process
def test_signals_before_the_loop_are_kept_and_a_second_stop_forces() -> None:
    told = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["['SIGHUP', 'SIGTERM', 'SIGHUP'] []", "forced", "True"]


@pytest.mark.process
def test_the_handlers_come_before_anything_heavy() -> None:
    code = "import sys, atmand.__main__; print(sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not [name for name in ("numpy", "numba", "pydantic", "typer", "asyncio") if f"'{name}'" in modules]


def configuration(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "c.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ('[instance]\nstate = "there"', {}, "{here}/there"),
        ('[instance]\nstate = "/abs"', {}, "/abs"),
        ('[instance]\nname = "mine"', {"XDG_STATE_HOME": "/xdg"}, "/xdg/atmand/mine"),
        ("", {"XDG_STATE_HOME": "/xdg", "ATMAND_INSTANCE__NAME": "env"}, "/xdg/atmand/env"),
        ('[instance]\nstate = "there"', {"ATMAND_INSTANCE__STATE": "/env"}, "/env"),
        ("not toml", {"XDG_STATE_HOME": "/xdg"}, "/xdg/atmand/demo"),
        ("instance = 1", {"XDG_STATE_HOME": "/xdg"}, "/xdg/atmand/demo"),
    ],
)
def test_the_state_directory_is_known_before_validation(
    tmp_path: Path, text: str, environ: dict[str, str], expected: str
) -> None:
    file = configuration(tmp_path, text)
    wanted = Path(expected.format(here=tmp_path))
    assert requested_state(["run", "--speed", "auto", str(file), "--for", "5s"], environ) == wanted
    assert requested_state(["run", f"--config={file}"], environ) == wanted
    assert requested_state(["--config", str(file), "run"], environ) == wanted
    assert requested_state(["run"], {**environ, "ATMAND_CONFIG": str(file)}) == wanted
    assert requested_state(["run", str(file), "--state", "/given"], environ) == Path("/given")


def test_the_default_state_ignores_a_relative_xdg_folder() -> None:
    assert default_state("a", {"XDG_STATE_HOME": "rel"}) == Path.home() / ".local/state/atmand/a"


def test_the_cache_lies_in_the_state_directory_and_is_named_by_the_code(tmp_path: Path) -> None:
    environ: dict[str, str] = {"OMP_NUM_THREADS": "3"}
    directory = prepare_compiler(tmp_path / "state", environ)
    assert directory.is_dir() and directory.parent == tmp_path / "state/numba"
    assert environ == {
        "NUMBA_CACHE_DIR": str(directory),
        "NUMBA_DISABLE_INTEL_SVML": "1",
        "OMP_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    assert prepare_compiler(None, environ) == directory, "a child finds its parent's cache"


def test_a_named_cache_holds_the_hashed_one(tmp_path: Path) -> None:
    environ = {"NUMBA_CACHE_DIR": str(tmp_path / "here")}
    assert prepare_compiler(tmp_path / "state", environ).parent == tmp_path / "here"
    assert not (tmp_path / "state").exists()


def test_a_state_directory_that_cannot_be_made_falls_back_to_the_users_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    directory = prepare_compiler(tmp_path / "file" / "state", environ)
    assert directory.parent == tmp_path / "cache/atmand/numba"


def test_without_any_cache_a_private_temporary_directory_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(start.tempfile, "tempdir", str(tmp_path))
    environ = {"XDG_CACHE_HOME": str(tmp_path / "file")}
    directory = cache_directory(environ)
    assert directory.parent == tmp_path and directory.stat().st_mode & 0o077 == 0
    assert cache_directory(environ) == directory
    directory.chmod(0o777)
    other = cache_directory(environ)
    assert other != directory and other.stat().st_mode & 0o077 == 0


def test_an_edited_kernel_source_changes_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "core").mkdir()
    source = tmp_path / "core" / "a.py"
    source.write_text("x = 1\n")
    monkeypatch.setattr(start, "_PACKAGE", tmp_path)
    before = kernel_digest(["core"])
    assert len(before) == 32 and kernel_digest(["core"]) == before
    source.write_text("x = 2\n")
    assert kernel_digest(["core"]) != before
    source.rename(tmp_path / "core" / "b.py")
    renamed = kernel_digest(["core"])
    source.write_text("")
    assert len({before, renamed, kernel_digest(["core"])}) == 3
    emptied = kernel_digest(["core"])
    (tmp_path / "core" / "rates.toml").write_text("rate = 1\n")
    assert kernel_digest(["core"]) != emptied == kernel_digest(["core"], [".py"])


def test_this_process_has_its_compiler_prepared() -> None:
    assert Path(os.environ["NUMBA_CACHE_DIR"]).is_dir()
