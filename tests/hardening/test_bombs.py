"""Data sets that are small on the wire and endless inside: the gateway looks at what it needs and no more."""

from __future__ import annotations

import struct
import time
import zlib
from dataclasses import replace

import pytest

from chaos.gateway_process import GatewayProcess, Usage
from chaos.instances import CT_IMAGE_STORAGE, encode_data_set
from dicomrelay.ul.pdu import ProposedContext, ReleaseRequest
from dicomrelay.ul.writer import encode
from tests.hardening.conftest import MEGABYTE
from tests.support.attacks import converse, new_uid, statuses
from tests.support.data_sets import DEFLATED, ENCODERS, EXPLICIT
from tests.support.wire import REQUEST, data_pdu, store_command

SETTINGS = {"pdu_timeout_s": 20.0, "idle_timeout_s": 20.0}
MOST_MEGABYTES = 64


def _store(gateway: GatewayProcess, syntax: str, uid: str, data: bytes) -> list[int]:
    request = replace(REQUEST, contexts=(ProposedContext(1, CT_IMAGE_STORAGE, (syntax,)),))
    pieces = [data[at : at + 65_536] for at in range(0, len(data), 65_536)]
    pdus = [data_pdu(piece, is_last=piece is pieces[-1]) for piece in pieces]
    return statuses(
        converse(gateway, [encode(request), store_command(uid=uid), *pdus, encode(ReleaseRequest())])
    )


def _bomb(head: bytes, inflated_bytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    zeros = bytes(MEGABYTE)
    parts = [packer.compress(head)]
    parts += [packer.compress(zeros) for _ in range(inflated_bytes // MEGABYTE)]
    packed = b"".join(parts) + packer.flush()
    return packed + b"\0" * (len(packed) & 1)


@pytest.mark.parametrize("identity", ["before", "never"])
def test_a_deflated_data_set_of_a_gigabyte(gateway: GatewayProcess, before: Usage, identity: str) -> None:
    """Stored as it came when its header comes first; given up within the limits when the header never comes."""
    uid = new_uid()
    head = encode_data_set(uid, "1.2.3", b"") if identity == "before" else b""
    # An element of nearly 4 GiB in front, so that the scan has to pass it.
    endless = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 0xFFFFFFF0)
    bomb = _bomb(head or endless, 1024 * MEGABYTE)
    assert len(bomb) < 2 * MEGABYTE
    began = time.monotonic()

    found = _store(gateway, DEFLATED, uid, bomb)

    assert time.monotonic() - began < 5
    assert found == [0] if identity == "before" else found[0] & 0xF000 == 0xC000
    assert gateway.usage().peak_rss_bytes - before.rss_bytes < 32 * MEGABYTE


def test_sequences_a_hundred_thousand_deep(gateway: GatewayProcess, before: Usage) -> None:
    """Refused at the limit of the scan, without a recursion."""
    encoder = ENCODERS[EXPLICIT]
    level = encoder.element(0x00081140, b"SQ", b"", length=0xFFFFFFFF) + encoder.mark(0xFFFEE000, 0xFFFFFFFF)
    uid = new_uid()
    began = time.monotonic()
    (status,) = _store(gateway, EXPLICIT, uid, level * 100_000)
    assert status & 0xF000 == 0xC000
    assert time.monotonic() - began < 2
    assert gateway.usage().peak_rss_bytes - before.rss_bytes < 16 * MEGABYTE


def test_a_million_elements_before_the_identity(gateway: GatewayProcess, before: Usage) -> None:
    """Refused at the limit of the scan: what it may cost is known beforehand."""
    element = ENCODERS[EXPLICIT].element(0x00080005, b"CS", b"")
    began = time.monotonic()
    (status,) = _store(gateway, EXPLICIT, new_uid(), element * 1_000_000)
    assert status & 0xF000 == 0xC000
    assert time.monotonic() - began < 5
    assert gateway.usage().peak_rss_bytes - before.rss_bytes < 16 * MEGABYTE


def test_an_element_that_claims_more_than_there_is(gateway: GatewayProcess, before: Usage) -> None:
    """4 GiB in a header of twelve bytes: memory is not spent for it."""
    uid = new_uid()
    claims = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 0xFFFFFFF0)
    (status,) = _store(gateway, EXPLICIT, uid, claims + encode_data_set(uid, "1.2.3", bytes(100)))
    assert status & 0xF000 == 0xC000
    assert gateway.usage().peak_rss_bytes - before.rss_bytes < 16 * MEGABYTE
