"""The unit: keys that systemd knows, a command that the program takes, hardening that a compiler survives."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from atmand.cli import app
from atmand.cli_init import deployment, fitted
from atmand.start import deployment_file

UNIT = deployment_file("systemd/atmand.service").read_text("utf-8")
RELOAD = deployment_file("systemd/reload.conf").read_text("utf-8")

KNOWN = {
    "Unit": "Description Documentation Wants After StartLimitIntervalSec StartLimitBurst",
    "Service": """
        Type NotifyAccess ExecStart ExecReload ReloadSignal Restart RestartSec TimeoutStartSec TimeoutStopSec
        WatchdogSec KillMode KillSignal OOMPolicy User DynamicUser StateDirectory StateDirectoryMode CacheDirectory
        WorkingDirectory ReadWritePaths Environment UMask LimitNOFILE LoadCredential NoNewPrivileges
        CapabilityBoundingSet ProtectSystem ProtectHome PrivateTmp PrivateDevices ProtectClock ProtectControlGroups
        ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc
        RestrictAddressFamilies RestrictNamespaces RestrictRealtime RestrictSUIDSGID LockPersonality
        SystemCallArchitectures SystemCallFilter
    """,
    "Install": "WantedBy",
}
"""Keys of systemd.unit(5), systemd.service(5), systemd.kill(5), systemd.exec(5) and systemd.resource-control(5)."""

DRAIN_S = 5


def sections(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            title = line.strip("[]")
            found[title] = {}
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals and key not in found[title], line
            found[title][key] = value
    return found


def run_command(words: list[str]) -> dict[str, Any]:
    """Let the program itself read the words of an ExecStart; return what it understood."""
    assert words[0] == "run"
    command: Any = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    params: dict[str, Any] = command.make_context("run", words[1:]).params
    return params


def with_key(text: str) -> str:
    return text.replace("#LoadCredential", "LoadCredential")


@pytest.mark.parametrize("text", [UNIT, with_key(UNIT), RELOAD], ids=["unit", "with a key", "reload"])
def test_every_key_is_one_that_systemd_knows(text: str) -> None:
    for title, keys in sections(text).items():
        assert keys.keys() <= set(KNOWN[title].split()), title


def test_the_unit_starts_what_the_program_takes() -> None:
    service = sections(UNIT)["Service"]
    words = shlex.split(service["ExecStart"])
    assert words[0].startswith("/") and words[0].endswith("/atmand")
    given = run_command(words[1:])
    assert str(given["state"]) == f"%S/{service['StateDirectory']}"
    assert given["config"] == Path("/etc/atmand/atmand.toml")
    assert service["Environment"] == f"NUMBA_CACHE_DIR=%C/{service['CacheDirectory']}/numba"


def test_the_unit_reloads_stops_and_watches_as_the_daemon_does() -> None:
    service = sections(UNIT)["Service"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert (service["KillMode"], service["KillSignal"]) == ("mixed", "SIGTERM")
    assert int(service["TimeoutStopSec"]) > DRAIN_S
    assert int(service["TimeoutStartSec"]) >= 120 and int(service["WatchdogSec"]) >= 10
    assert service["OOMPolicy"] == "continue" and service["Restart"] == "on-failure"
    reload = sections(RELOAD)["Service"]
    assert reload == {"Type": "notify-reload", "ReloadSignal": "SIGHUP", "ExecReload": ""}


def test_the_hardening_lets_the_compiler_live() -> None:
    service = sections(UNIT)["Service"]
    assert "MemoryDenyWriteExecute" not in service, "numba cannot run under it"
    assert service["DynamicUser"] == "yes" and service["StateDirectoryMode"] == "0700"
    assert {"AF_INET", "AF_INET6", "AF_UNIX"} == set(service["RestrictAddressFamilies"].split())


def test_fitting_changes_only_what_is_named() -> None:
    changed = fitted(UNIT, {"User": "me", "ProtectHome": "no", "DynamicUser": None})
    before, after = sections(UNIT), sections(changed)
    assert after["Service"].pop("User") == "me"
    assert after["Service"].pop("ProtectHome") == "no"
    before["Service"].pop("DynamicUser"), before["Service"].pop("ProtectHome")
    assert after == before


AWKWARD = 'my trading 100%$1 "x"'


@pytest.mark.parametrize("name", ["trading", AWKWARD])
@pytest.mark.parametrize("kite", [False, True])
def test_the_unit_of_a_new_deployment_fits_its_folder(tmp_path: Path, name: str, kite: bool) -> None:
    directory = tmp_path / name
    unit = deployment(directory, kite=kite)["atmand.service"]
    service = sections(unit)["Service"]
    assert service.keys() <= set(KNOWN["Service"].split())
    assert not service.keys() & {"DynamicUser", "StateDirectory", "CacheDirectory", "StateDirectoryMode"}
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(service["ExecStart"])]
    assert Path(words[0]).is_file()
    given = run_command(words[words.index("run") :])
    assert given["config"] == directory / "atmand.toml" and given["state"] == directory / "state"
    assert shlex.split(service["ReadWritePaths"])[0].replace("%%", "%").replace("$$", "$") == str(directory)
    assert ("Environment" in service) == kite
    assert service["Type"] == "notify" and service["ExecReload"] == "/bin/kill -HUP $MAINPID"


def verified(unit: Path) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if unit.name in line or "atmand" in line]
    assert done.returncode == 0, done.stderr
    return "\n".join(ours)


def test_systemd_itself_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    file = tmp_path / "atmand.service"
    file.write_text(with_key(UNIT).replace("/opt/atmand/bin/atmand", sys.executable))
    assert verified(file) == ""


@pytest.mark.parametrize("name", ["trading", AWKWARD])
def test_systemd_itself_finds_nothing_wrong_with_a_fitted_unit(tmp_path: Path, name: str) -> None:
    file = tmp_path / "atmand.service"
    file.write_text(deployment(tmp_path / name, kite=True)["atmand.service"])
    assert verified(file) == ""


def test_systemd_would_find_a_wrong_key(tmp_path: Path) -> None:
    file = tmp_path / "atmand.service"
    wrong = UNIT.replace("/opt/atmand/bin/atmand", sys.executable).replace("WatchdogSec=30", "WatchdogSek=30")
    file.write_text(wrong)
    assert "WatchdogSek" in verified(file)


def test_the_pages_name_the_files_that_stand_beside_them() -> None:
    page = deployment_file("systemd/README.md").read_text("utf-8")
    for name in re.findall(r"\b(atmand\.service|reload\.conf)\b", page):
        assert deployment_file(f"systemd/{name}").is_file()
    for line in re.findall(r"atmand (?:run|init|logs|check)\b[^`|\n]*", page):
        verb = shlex.split(line)[1]
        assert verb in typer.main.get_command(app).commands  # type: ignore[attr-defined]
