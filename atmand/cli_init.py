"""The verb `atmand init`: a new deployment in a folder, with comments that teach.

`cli` registers it. The unit is the one of `deploy/systemd`, fitted to the folder; the strategy is the built-in one.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from atmand.cli_words import Json, print_json, say
from atmand.errors import AtmandError, UsageError
from atmand.start import builtin, deployment_file

__all__ = ["deployment", "fitted", "init"]

_STRATEGY: Final = "strategies/rsi_macd.toml"

_CONFIGURATION: Final = """\
# What this daemon trades, with what, and within which limits. `atmand check` says whether it is good.
# Relative paths start at this folder. docs/configuration.md has every setting.
# Any setting can also come from the environment: [log] level = "debug" is ATMAND_LOG__LEVEL=debug.

[instance]
name = "{name}"
state = "state"                   # journal, snapshots, logs: back this folder up, and nothing else

{feed}
[accounts.paper]
venue = "paper"                   # orders are matched inside the daemon; none leaves it

# A strategy is a file; its name here is that of its book. Send SIGHUP after a change, and the daemon takes it up.
[strategies.rsi_macd]
file = "strategies/rsi_macd.toml"
account = "paper"
capital_rupees = 500_000
# params = {{ rsi_low = 30 }}       # other values for the parameters that the file declares

[limits]                          # for each strategy; live at SIGHUP
entries = true                    # false: nothing new is opened, what is open is still closed
order_value_rupees = 200_000
position_value_rupees = 200_000
daily_loss_rupees = 20_000        # past this loss nothing more is opened that day
open_positions = 5
orders_a_day = 500

[journal]                         # everything that can change a decision is recorded here
keep_sessions = 10                # market frames of so many sessions; decisions are kept for longer
keep_bytes = 5_000_000_000

[log]
level = "info"                    # debug, info, warning, error; live at SIGHUP
file = "auto"                     # JSON lines in state/log; `atmand logs -f` reads them
"""

_SIMULATOR: Final = """\
[feed]
kind = "simulator"                # an embedded exchange: no key, no network. "kite" is the real market

[simulator]
seed = 7                          # the same seed makes the same market, tick for tick
start = 2026-07-06T09:15:00+05:30 # a Monday, at the opening
speed = "auto"                    # as fast as this machine holds; 1 is real time, 60 a minute a second
historical_per_second = 1000      # the broker answers 3 a second; warming up here need not wait
"""

_KITE: Final = """\
[feed]
kind = "kite"                     # prices of the real market, from Zerodha's Kite Connect; orders stay on paper

[feed.kite]
# The app's key is a secret and stays out of this file: put it into secrets/feed__kite__api_key.
access_token_file = "access_token" # the day's token; read anew when it changes. It ends at 06:00 the next morning
"""

_README: Final = """\
# {name}

A deployment of atmand: paper money on {market}.

- `atmand.toml`: what is traded, and within which limits
- `strategies/`: the rules
- `atmand.service`: a unit for systemd that runs it from here
- `state/`: what the daemon writes; back it up
{secrets}
Next:

    {first}
    atmand run --config {config}
    sudo cp {unit} /etc/systemd/system/ && sudo systemctl enable --now atmand
"""


def init(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="A folder that is new or empty.", metavar="DIR")],
    kite: Annotated[bool, typer.Option("--kite", help="Trade on the real market's prices, through Zerodha.")] = False,
    as_json: Json = False,
) -> None:
    """Make a new deployment: configuration, a strategy, a unit for systemd, and a page that says what to do next."""
    directory = directory.expanduser().absolute()
    files = deployment(directory, kite=kite)
    _write(directory, files)
    if as_json:
        print_json({"directory": str(directory), "written": [str(directory / name) for name in files]})
        return
    for name in files:
        print(directory / name)
    say(f"next: see {directory / 'README.md'}")


def deployment(directory: Path, *, kite: bool) -> dict[str, str]:
    """Return the files of a new deployment by their names."""
    name, config = _name(directory), directory / "atmand.toml"
    check = f"atmand check --config {config}"
    key = f"(umask 077; mkdir {directory}/secrets; cat > {directory}/secrets/feed__kite__api_key)"
    return {
        "atmand.toml": _CONFIGURATION.format(name=name, feed=_KITE if kite else _SIMULATOR),
        _STRATEGY: builtin(_STRATEGY).read_text("utf-8"),
        "atmand.service": _unit(directory, kite=kite),
        "README.md": _README.format(
            name=name,
            market="the real market's prices" if kite else "a simulated market",
            secrets="- `secrets/`, `access_token`: yours to write, and nobody else's to read\n" if kite else "",
            first=f"{key}; export ATMAND_SECRETS_DIR={directory}/secrets" if kite else check,
            config=config,
            unit=directory / "atmand.service",
        ),
    }


def fitted(unit: str, values: Mapping[str, str | None]) -> str:
    """Return a unit's text with some keys' values changed; None takes the key out, a new one begins [Service]."""
    lines, left = [], dict(values)
    for line in unit.splitlines():
        key = line.partition("=")[0]
        if key not in values or line.startswith("#"):
            lines.append(line)
        elif (value := left.pop(key)) is not None:
            lines.append(f"{key}={value}")
    added = [f"{key}={value}" for key, value in left.items() if value is not None]
    place = lines.index("[Service]") + 1
    return "\n".join([*lines[:place], *added, *lines[place:]]) + "\n"


def _unit(directory: Path, *, kite: bool) -> str:
    """Return the shipped unit for a folder of the caller's: its user, its paths, and no folders of systemd's own."""
    config, state = directory / "atmand.toml", directory / "state"
    words = [*_program(), "run", "--config", str(config), "--state", str(state)]
    shared_tmp = any(str(path).startswith(("/tmp/", "/var/tmp/")) for path in (directory, _program()[0]))
    return fitted(
        deployment_file("systemd/atmand.service").read_text("utf-8"),
        {
            "User": _user(),
            "WorkingDirectory": str(directory).replace("%", "%%"),
            "ExecStart": " ".join(map(_quoted, words)),
            "ReadWritePaths": _quoted(str(directory)),
            "Environment": _quoted(f"ATMAND_SECRETS_DIR={directory}/secrets") if kite else None,
            "ProtectHome": "no",
            "PrivateTmp": "no" if shared_tmp else "yes",
            "DynamicUser": None,
            "StateDirectory": None,
            "StateDirectoryMode": None,
            "CacheDirectory": None,
        },
    )


def _program() -> list[str]:
    """Return how this very atmand is started."""
    script = Path(sys.executable).with_name("atmand")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "atmand"]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _quoted(word: str) -> str:
    """Write a word so that systemd takes it as it is: specifiers, variables and spaces (systemd.syntax(7))."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[\w@%+=:,./-]+", escaped) else f'"{escaped}"'


def _name(directory: Path) -> str:
    """Make a name of the folder's: lower-case letters, digits and single underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", directory.name.lower()).strip("_")[:32].strip("_")
    return name if re.fullmatch(r"[a-z][a-z0-9_]*", name) else "atmand"


def _write(directory: Path, files: Mapping[str, str]) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        taken = sorted(directory.iterdir())
    except OSError as error:
        what = (error.strerror or "cannot be made").lower()
        raise UsageError(str(directory), what, "name a folder that is new or empty") from None
    if taken:
        raise AtmandError(str(taken[0]), "is there already; nothing was written", "name a folder that is new or empty")
    for name, text in files.items():
        path = directory / name
        try:
            path.parent.mkdir(exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise AtmandError(str(path), (error.strerror or "not written").lower(), "make room for it there") from None
