"""One gateway process for each file of attacks; after the last one it must be what it was before the first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos.gateway_process import GatewayProcess, Usage, half_written
from tests.support.attacks import conversation, converse

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway with short deadlines; a file's SETTINGS and MORE are its own."""
    home = tmp_path_factory.mktemp("hardening") / "home"
    settings = getattr(request.module, "SETTINGS", {})
    process = GatewayProcess(home, settings, more=getattr(request.module, "MORE", ""))
    try:
        process.start()
        converse(process, conversation())  # what is opened with the first instance stays open
        before = process.at_rest()
        yield process
        after = process.settle(before)
        process.echo()
        assert after.holds_no_more_than(before)
        assert (
            after.peak_rss_bytes - before.rss_bytes < getattr(request.module, "MOST_MEGABYTES", 64) * MEGABYTE
        )
        assert not half_written(home)
    finally:
        code = process.stop()
    assert code == 0
    assert "Traceback" not in process.log


@pytest.fixture
def before(gateway: GatewayProcess) -> Usage:
    """What it holds before the test."""
    return gateway.at_rest()
