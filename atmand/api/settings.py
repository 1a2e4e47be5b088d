"""The API's settings; `atmand.settings` composes them under `api`."""

from __future__ import annotations

import ipaddress
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

__all__ = ["ApiSettings", "Network"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _check_host(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise PydanticCustomError("host", "not an IP address", {"remedy": 'write host = "127.0.0.1"'}) from None
    return host


def _check_network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        remedy = 'write an address, or a network such as "10.0.0.0/8"'
        raise PydanticCustomError("network", str(error).replace("{", "").replace("}", ""), {"remedy": remedy}) from None


_Networks = tuple[Annotated[str, AfterValidator(_check_network)], ...]


class ApiSettings(BaseModel):
    """The HTTP door: health, metrics, resources, the page, signals and the operator's commands."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    enabled: bool = True
    """true or false; false opens no port."""
    host: Annotated[str, AfterValidator(_check_host)] = "127.0.0.1"
    """The address to listen on. On another than loopback everything but health needs a token."""
    port: int = Field(8464, ge=0, le=65_535)
    """The port; 0 takes a free one, which the `ready` event names."""
    open_reads: bool = True
    """true or false; true lets programs on this machine read without a token. What writes always needs one."""
    signal_sources: _Networks = ()
    """Addresses and networks that may send signals; none named is all. Tokens are needed besides."""
    trusted_proxies: _Networks = ()
    """Addresses of reverse proxies whose `X-Forwarded-For` is believed."""

    @property
    def on_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def reads_are_open(self) -> bool:
        """Whether a program on this machine may read without a token."""
        return self.open_reads and self.on_loopback
