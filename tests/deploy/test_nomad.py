"""The Nomad job: it parses, has only names that Nomad knows, and says to atmand what atmand understands.

Names are those of Nomad's job specification (developer.hashicorp.com/nomad/docs/job-specification) and of its raw_exec
driver (developer.hashicorp.com/nomad/docs/deploy/task-driver/raw_exec). The parser here is more lenient than Nomad's:
what real HCL refuses in the layout of lines is checked in the text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest
import typer

from atmand.api.source import HEALTHS
from atmand.cli import app
from atmand.lang.strategy import parse_strategy
from atmand.settings import load
from atmand.start import builtin, deployment_file

FILE = deployment_file("nomad/atmand.nomad.hcl")
TEXT = FILE.read_text("utf-8")
ROUTES = tuple(f"/health/{name}" for name in HEALTHS)
DRAIN_S = 5

Names = dict[str, tuple[set[str], set[str]]]

KNOWN: Names = {
    "": (set(), {"variable", "job"}),
    "variable": ({"type", "default", "description"}, set()),
    "job": ({"type", "datacenters", "priority", "namespace", "region"}, {"constraint", "update", "group"}),
    "constraint": ({"attribute", "operator", "value"}, set()),
    "update": (
        {
            "max_parallel", "health_check", "min_healthy_time", "healthy_deadline", "progress_deadline", "canary",
            "auto_revert", "auto_promote",
        },
        set(),
    ),
    "group": ({"count", "shutdown_delay"}, {"network", "restart", "reschedule", "service", "task"}),
    "network": ({"mode"}, {"port"}),
    "port": ({"static", "to", "host_network"}, set()),
    "restart": ({"attempts", "interval", "delay", "mode", "render_templates"}, set()),
    "reschedule": ({"attempts", "interval", "delay", "delay_function", "max_delay", "unlimited"}, set()),
    "service": ({"name", "port", "provider", "tags", "canary_tags", "address_mode"}, {"check"}),
    "check": ({"name", "type", "path", "interval", "timeout", "method", "port"}, {"check_restart"}),
    "check_restart": ({"limit", "grace", "ignore_warnings"}, set()),
    "task": (
        {"driver", "user", "kill_signal", "kill_timeout", "shutdown_delay", "leader"},
        {"config", "env", "template", "resources", "logs"},
    ),
    "config": ({"command", "args", "work_dir", "oom_score_adj"}, set()),
    "template": (
        {
            "source", "destination", "data", "change_mode", "change_signal", "splay", "perms", "uid", "gid",
            "left_delimiter", "right_delimiter", "env", "error_on_missing_key", "once",
        },
        {"wait", "change_script"},
    ),
    "resources": ({"cpu", "cores", "memory", "memory_max"}, set()),
    "logs": ({"max_files", "max_file_size", "disabled"}, set()),
}  # fmt: skip
"""Attributes and blocks of each block, as the documentation has them."""

LABELLED = ("variable", "job", "group", "task", "port")


def parsed() -> dict[str, Any]:
    options = hcl2.SerializationOptions(strip_string_quotes=True, explicit_blocks=False, with_comments=False)
    with FILE.open() as file:
        found: dict[str, Any] = hcl2.load(file, serialization_options=options)
    return found


def blocks(body: dict[str, Any], kind: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every block with its kind, the outer ones first."""
    yield kind, body
    for name, value in body.items():
        for inner in value if isinstance(value, list) else ():
            if isinstance(inner, dict):
                yield from blocks(next(iter(inner.values())) if name in LABELLED else inner, name)


def only(kind: str) -> dict[str, Any]:
    (found,) = (body for name, body in blocks(parsed()) if name == kind)
    return found


VARIABLES = {name: body["default"] for block in parsed()["variable"] for name, body in block.items()}


def resolved(value: str, **given: str) -> str:
    """Put variables into a text as Nomad does: `${var.name}` here, `{{ ... }}` with the defaults of the template."""
    return re.sub(r"\$\{var\.(\w+)\}", lambda found: str({**VARIABLES, **given}[found[1]]), value)


def heredoc(template: dict[str, Any]) -> str:
    return str(template["data"]).removeprefix("<<EOT\n").removesuffix("EOT")


def rendered(text: str, *, feed: str, variable: dict[str, str] | None = None) -> str:
    """Render the configuration's template: the few constructs that it uses, with or without a Nomad variable."""
    text = resolved(text, feed=feed)
    values = dict(re.findall(r'\{\{- \$(\w+) := "(\w*)" \}\}', text))
    for key, name in re.findall(r"\{\{- if \.(\w+) \}\}\{\{ \$(\w+) = \.\1 \}\}\{\{ end \}\}", text):
        values[name] = (variable or {}).get(key, values[name])
    text = text[text.index("[instance]") :]
    kept = r"\1" if feed == "kite" else ""
    text = re.sub(rf'\s*\{{\{{- if eq "{feed}" "kite" \}}\}}(.*?)\s*\{{\{{- end \}}\}}', kept, text, flags=re.DOTALL)
    text = re.sub(r"\{\{ \$(\w+) \}\}", lambda found: values[found[1]], text)
    assert "{{" not in text and "${" not in text
    return text


def test_every_block_and_attribute_is_one_that_nomad_knows() -> None:
    for kind, body in blocks(parsed()):
        if kind == "env":
            continue
        attributes, inner = KNOWN[kind]
        for name, value in body.items():
            is_block = isinstance(value, list) and all(isinstance(each, dict) for each in value)
            assert name in (inner if is_block else attributes), f"{kind}: {name}"


def test_every_line_has_one_attribute_as_real_hcl_wants_it() -> None:
    plain = re.sub(r"<<EOT\n.*?\nEOT\n", '""\n', TEXT, flags=re.DOTALL)
    for line in plain.splitlines():
        code = re.sub(r'"[^"]*"', '""', line.partition("#")[0]).strip()
        assert len(re.findall(r"(?<![=!<>])=(?!=)", code)) <= 1, line
        assert "{" not in code or code.endswith("{"), line
        assert "}" not in code or code == "}", line


def test_durations_are_whole_and_the_task_outlives_its_drain() -> None:
    for _, body in blocks(parsed()):
        for name, value in body.items():
            if name in ("interval", "timeout", "delay", "grace", "kill_timeout", "splay") or name.endswith("_time"):
                assert re.fullmatch(r"\d+[sm]", value), f"{name} = {value}"
    task = only("task")
    assert task["kill_signal"] == "SIGTERM"
    assert DRAIN_S < int(task["kill_timeout"].removesuffix("s")) <= 30, "a client allows 30 s unless it is told more"
    update = only("update")
    assert update["auto_revert"] is True and update["health_check"] == "checks" and "canary" not in update
    assert only("group")["count"] == 1


def test_checks_ask_the_health_resources_on_the_port_that_the_daemon_is_given() -> None:
    service = only("service")
    checks = {check["name"]: check for check in service["check"]}
    assert all(check["path"] in ROUTES and check["type"] == "http" for check in checks.values())
    assert {name: check["path"] for name, check in checks.items()} == {
        "live": "/health/live",
        "ready": "/health/ready",
    }
    assert "check_restart" in checks["live"] and "check_restart" not in checks["ready"]
    (port,) = only("network")["port"]
    assert list(port) == [service["port"]]
    assert only("config")["args"][-1] == f"${{NOMAD_PORT_{service['port']}}}"


def test_the_command_is_one_that_the_program_takes() -> None:
    config = only("config")
    verb, *words = config["args"]
    command: Any = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    flags = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= flags
    values = [re.sub(r"\$\{NOMAD_PORT_\w+\}", "8464", resolved(word)) for word in words]
    given = command.make_context(verb, values).params
    assert given["state"] == Path(VARIABLES["state"])
    assert VARIABLES["state"].startswith("/") and VARIABLES["atmand"].startswith("/")
    assert resolved(config["command"]).endswith("/atmand")
    templates = only("task")["template"]
    assert str(given["config"]).replace("${NOMAD_TASK_DIR}", "local") == templates[0]["destination"]


def test_a_change_of_the_template_reloads_and_never_restarts() -> None:
    for template in only("task")["template"]:
        assert (template["change_mode"], template["change_signal"]) == ("signal", "SIGHUP")
        assert "env" not in template


@pytest.mark.parametrize("feed", ["simulator", "kite"])
def test_the_rendered_configuration_loads(feed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if feed == "kite":
        monkeypatch.setenv("ATMAND_FEED__KITE__API_KEY", "none")
    configuration, strategy = only("task")["template"]
    (tmp_path / "strategies").mkdir()
    place = Path(strategy["destination"]).relative_to("local")
    (tmp_path / place).write_text(heredoc(strategy))
    (tmp_path / "atmand.toml").write_text(rendered(heredoc(configuration), feed=feed))
    settings = load(tmp_path / "atmand.toml")
    assert settings.feed.kind == feed and settings.limits.entries and settings.log.level == "info"
    assert settings.strategies["rsi_macd"].file == tmp_path / place
    if feed == "kite":
        assert settings.feed.kite is not None
        assert settings.feed.kite.access_token_file == Path(VARIABLES["secrets"]) / "access_token"


def test_a_nomad_variable_changes_what_a_reload_takes_up(tmp_path: Path) -> None:
    variable = {"entries": "false", "daily_loss_rupees": "5000", "log_level": "debug"}
    text = rendered(heredoc(only("task")["template"][0]), feed="simulator", variable=variable)
    table = tomllib.loads(text)
    assert table["limits"]["entries"] is False and table["limits"]["daily_loss_rupees"] == 5000
    assert table["log"]["level"] == "debug"


def test_the_strategy_in_the_job_is_the_one_that_ships() -> None:
    shipped = builtin("strategies/rsi_macd.toml")
    inline = heredoc(only("task")["template"][1])
    assert inline == shipped.read_text("utf-8")
    assert "${" not in inline and "%{" not in inline and "{{" not in inline
    assert parse_strategy(inline, "rsi_macd.toml").strategy.name == "rsi_macd"
