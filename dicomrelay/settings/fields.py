"""Kinds of values that several sections have, and what all sections are."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# PS3.5 Table 6.2-1, VR AE: 1 to 16 characters of the default repertoire, no backslash, no control characters.
AeTitle = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]+$"),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Pattern = Annotated[str, StringConstraints(max_length=64)]
UidPattern = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[0-9.*?]+$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


# The name of a destination, or AET@host:port, an IPv6 address in brackets; `routing.address` reads it.
PeerText = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        pattern=r"^([a-z0-9][a-z0-9_-]{0,62}|[\x20-\x5b\x5d-\x7e]{1,16}@\S{1,255}:[0-9]{1,5})$",
    ),
]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
