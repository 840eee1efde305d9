"""The gateway and the workers under TLS: who may call by certificate, what the log says, what is wrong at start."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import pytest
import structlog

from chaos.instances import make_instances
from dicomrelay.errors import AssociationRejected, ConfigurationError
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.net.tls import door, requestor_context
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import Settings
from dicomrelay.spool import Spool
from scp_gateway.app import run
from tests.support.certificates import Authority, Pair
from tests.support.engine import contexts_for, running_acceptor
from tests.support.rooms import data_set, rooms_at, spooled, transfers_of
from workers.forward import forward_transfer
from workers.group import group_arrivals


def _serve(settings: Settings) -> tuple[threading.Thread, threading.Event]:
    ready, stop = threading.Event(), threading.Event()
    values = {"wake": lambda: None, "ready": ready.set, "stop": stop}
    thread = threading.Thread(target=run, args=(settings,), kwargs=values)
    thread.start()
    assert ready.wait(20)
    return thread, stop


def test_a_peer_is_who_its_certificate_says(tmp_path: Path) -> None:
    """Stored under its own certificate, rejected under another's; the line of the association has the facts."""
    authority = Authority(tmp_path)
    ct, other = authority.issue("ct", common_name="CT 1"), authority.issue("other", common_name="OTHER")
    tls = authority.acceptor(authority.issue("gate"), mutual=True)
    settings = Settings.model_validate(
        {
            "home": tmp_path / "home",
            "gateway": {"port": free_ports(1)[0], "min_free_bytes": 0, "tls": tls},
            "peers": [{"ae_title": "CT_1", "certificate": "CT 1"}],
        }
    )
    (instance,) = islice(make_instances(tmp_path, 1), 1)
    (contexts,) = contexts_for([instance.item])
    remote = RemoteAe("DICOMRELAY", "127.0.0.1", settings.gateway.port)

    def call(pair: Pair) -> Association:
        context = requestor_context(authority.requestor(pair))
        return Association.request(remote, calling_ae_title="CT_1", contexts=contexts, tls=context)

    with structlog.testing.capture_logs() as lines:
        thread, stop = _serve(settings)
        try:
            with call(ct) as association:
                assert association.store(instance.item).status == 0
            with pytest.raises(AssociationRejected) as caught:
                call(other)
        finally:
            stop.set()
            thread.join(30)
    assert caught.value.reason == 3
    assert Spool(settings.path("spool")).usage().new == 1
    (line,) = [each for each in lines if each.get("action") == "association.closed"]
    assert (line["tls"], line["stored"]) == ("TLSv1.3", 1)
    assert line["certificate"].startswith("CN=CT 1,")
    (refused,) = [each for each in lines if each.get("action") == "association.rejected"]
    assert refused["certificate"].startswith("CN=OTHER,")


def test_files_that_do_not_fit_stop_the_start(tmp_path: Path) -> None:
    """With file and setting, before a port is taken."""
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    tls = {"certificate": one.certificate, "key": other.key}
    settings = Settings.model_validate({"home": tmp_path / "home", "gateway": {"tls": tls}})
    with pytest.raises(ConfigurationError, match=r"other\.key: the key does not belong"):
        run(settings, wake=lambda: None, ready=lambda: None, stop=threading.Event())


def test_a_worker_forwards_under_the_destination_s_tls(tmp_path: Path) -> None:
    """What arrived is what is sent; mutual authentication."""
    authority = Authority(tmp_path)
    ours = authority.issue("relay", common_name="RELAY")
    with running_acceptor(tls=door(authority.acceptor(authority.issue("pacs"), mutual=True))) as peer:
        toml = (
            "[[destinations]]\nname = 'pacs'\nae_title = 'PACS'\nhost = '127.0.0.1'\n"
            f"port = {peer.port}\n"
            f"tls = {{ ca = '{authority.path}', certificate = '{ours.certificate}', key = '{ours.key}' }}\n"
        )
        with rooms_at(tmp_path / "home", toml) as (rooms, _):
            spooled(rooms, "1.2.3.4")
            group_arrivals(rooms)
            (transfer,) = transfers_of(rooms)
            forward_transfer(rooms, transfer)
        peer.service.wait_ending()
    assert [stored.data_set for stored in peer.service.stored] == [data_set("1.2.3.4")]
    tls = peer.service.infos[0].tls
    assert tls is not None
    assert "RELAY" in tls.certificate_names
