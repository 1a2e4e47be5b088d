"""The API's settings; `atmand.settings` composes them under `api`."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

__all__ = ["ApiSettings"]


def _check_host(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise PydanticCustomError("host", "not an IP address", {"remedy": 'write host = "127.0.0.1"'}) from None
    if not address.is_loopback:
        remedy = "keep 127.0.0.1 and reach it from elsewhere through ssh -L PORT:127.0.0.1:PORT YOUR-SERVER"
        raise PydanticCustomError("host", "only loopback addresses are served in this version", {"remedy": remedy})
    return host


class ApiSettings(BaseModel):
    """The HTTP door on this machine: health, metrics, resources and the page. It only reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    enabled: bool = True
    """true or false; false opens no port."""
    host: Annotated[str, AfterValidator(_check_host)] = "127.0.0.1"
    """A loopback address. From elsewhere, use an SSH tunnel."""
    port: int = Field(8464, ge=0, le=65_535)
    """The port; 0 takes a free one, which the `ready` event names."""
