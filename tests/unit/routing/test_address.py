"""AET@host:port, as people write it on a command line."""

from __future__ import annotations

import pytest

from dicomrelay.errors import ConfigurationError
from dicomrelay.routing import Address, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PACS@10.0.0.9:104", Address("PACS", "10.0.0.9", 104)),
        ("  PACS@pacs.hospital.example:11112 ", Address("PACS", "pacs.hospital.example", 11112)),
        ("STORE SCP@localhost:1", Address("STORE SCP", "localhost", 1)),
        ("A@B@host_1:65535", Address("A@B", "host_1", 65535)),
        ("PACS@[::1]:104", Address("PACS", "::1", 104)),
        ("PACS@[2001:DB8:0:0::1]:104", Address("PACS", "2001:db8::1", 104)),
        ("A@pacs.example.:104", Address("A", "pacs.example.", 104)),
        (f"A@{'x' * 63}.y:104", Address("A", f"{'x' * 63}.y", 104)),
        ("A@h:0104", Address("A", "h", 104)),
    ],
)
def test_an_address_is_read(text: str, expected: Address) -> None:
    """The AE title ends at the last @, the port begins after the last colon, IPv6 stands in brackets."""
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write it as AET@host:port"),
        ("pacs", "write it as AET@host:port"),
        ("10.0.0.9:104", "write it as AET@host:port"),
        ("PACS@10.0.0.9", "write it as AET@host:port"),
        ("@10.0.0.9:104", "AE title"),
        ("   @10.0.0.9:104", "AE title"),
        ("SEVENTEEN_LETTERS@h:104", "AE title"),
        ("PA\\CS@h:104", "AE title"),
        ("PÄCS@h:104", "AE title"),
        ("PACS@:104", "neither a host name nor an IP address"),
        ("PACS@ho st:104", "neither a host name nor an IP address"),
        ("PACS@::1:104", "in brackets"),
        ("PACS@[::g]:104", "no IPv6 address"),
        ("PACS@-h:104", "neither a host name nor an IP address"),
        ("PACS@a..b:104", "between dots has 1 to 63 characters"),
        ("PACS@a..:104", "between dots has 1 to 63 characters"),
        (f"PACS@{'x' * 64}:104", "between dots has 1 to 63 characters"),
        (f"PACS@{'x.' * 126}xx:104", "at most 253 characters"),
        ("PACS@h:", "port is a number from 1 to 65535"),
        ("PACS@h:0", "port is a number from 1 to 65535"),
        ("PACS@h:65536", "port is a number from 1 to 65535"),
        ("PACS@h:-1", "port is a number from 1 to 65535"),
        ("PACS@h:10٤", "port is a number from 1 to 65535"),
        ("PACS@h:104/x", "port is a number from 1 to 65535"),
    ],
)
def test_what_is_no_address_is_refused_by_its_part(text: str, words: str) -> None:
    """The message quotes the text and says which part is wrong."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)


def test_an_address_reads_as_it_is_written() -> None:
    """Both ways, with brackets where they belong."""
    for text in ("PACS@10.0.0.9:104", "PACS@[::1]:104"):
        assert str(parse_address(text)) == text
