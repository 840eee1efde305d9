"""Addresses of peers, as people write them: AET@host:port."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from dicomrelay.errors import ConfigurationError

# PS3.5 Table 6.2-1, VR AE: at most 16 characters of the default repertoire, without backslash and control characters.
_AE_TITLE: Final = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9_.])?")
# RFC 1035 Section 2.3.4; a name that ends with a dot has an empty label there, the root.
_LONGEST_LABEL: Final = 63
_LONGEST_HOST_NAME: Final = 253
_PORT: Final = re.compile(r"[0-9]{1,5}")
_FORM: Final = "write it as AET@host:port, an IPv6 address in brackets"


@dataclass(frozen=True, slots=True)
class Address:
    """A peer: its AE title and where it listens. `host` is a name or an address, IPv6 without brackets."""

    ae_title: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae_title}@{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read AET@host:port.

    Raises
    ------
    ConfigurationError
        The text has another form; the message names the part.
    """
    ae_title, at, rest = text.strip().rpartition("@")
    host, colon, port = rest.rpartition(":")
    if not (at and colon):
        raise ConfigurationError(f"{text!r} is no address: {_FORM}")
    return Address(_ae_title(text, ae_title), _host(text, host), _port(text, port))


def _ae_title(text: str, value: str) -> str:
    ae_title = value.strip()
    if not _AE_TITLE.fullmatch(ae_title):
        raise ConfigurationError(
            f"{text!r} is no address: an AE title has 1 to 16 characters, no backslash and no control character"
        )
    return ae_title


def _host(text: str, value: str) -> str:
    if value.startswith("[") and value.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(value[1:-1]))
        except ValueError:
            raise ConfigurationError(f"{text!r} is no address: {value} is no IPv6 address") from None
    if not _HOST_NAME.fullmatch(value):
        raise ConfigurationError(
            f"{text!r} is no address: {value!r} is neither a host name nor an IP address; {_FORM}"
        )
    name = value.removesuffix(".")
    if len(name) > _LONGEST_HOST_NAME:
        raise ConfigurationError(
            f"{text!r} is no address: a host name has at most {_LONGEST_HOST_NAME} characters"
        )
    if not all(0 < len(label) <= _LONGEST_LABEL for label in name.split(".")):
        raise ConfigurationError(
            f"{text!r} is no address: each part of a host name between dots has 1 to {_LONGEST_LABEL} characters"
        )
    return value


def _port(text: str, value: str) -> int:
    if not _PORT.fullmatch(value) or not 1 <= int(value) <= 65535:
        raise ConfigurationError(f"{text!r} is no address: a port is a number from 1 to 65535")
    return int(value)
