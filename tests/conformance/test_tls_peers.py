"""TLS against implementations that are not ours, in both roles: DCMTK on OpenSSL, and pynetdicom on Python's ssl."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import monotonic, sleep

import pytest
import trustme
from pynetdicom import AE, evt

from chaos.instances import make_instances
from dicomrelay.errors import TlsFailed, TlsFault
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.net.tls import door, requestor_context
from dicomrelay.runtime.ports import free_ports
from tests.support.certificates import Authority, Pair
from tests.support.engine import contexts_for, running_acceptor
from tests.support.processes import listens

VERIFICATION = ("1.2.840.10008.1.1", ("1.2.840.10008.1.2",))
PROFILES = ["--profile-bcp195-nd", "--profile-bcp195", "--profile-bcp195-ex"]


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} of DCMTK is needed here")
        pytest.skip(f"{name} of DCMTK is not installed")
    return found


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _tls_options(pair: Pair, authority: Authority) -> list[str]:
    return ["--enable-tls", str(pair.key), str(pair.certificate), "--add-cert-file", str(authority.path)]


def _send(options: Sequence[str], port: int, *paths: Path) -> subprocess.CompletedProcess[str]:
    command = [_tool("storescu"), "-v", *options, "127.0.0.1", str(port), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.dcmtk
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("key_type", list(trustme.KeyType), ids=lambda kind: kind.name)
def test_storescu_sends_to_us_under_tls(
    authority: Authority, tmp_path: Path, profile: str, key_type: trustme.KeyType
) -> None:
    """Each profile that DCMTK still has, ECDSA and RSA keys, both ends authenticated."""
    ours, theirs = (
        authority.issue("gate", key_type=key_type),
        authority.issue("modality", common_name="MODALITY"),
    )
    (instance,) = islice(make_instances(tmp_path, 1), 1)
    with running_acceptor(tls=door(authority.acceptor(ours, mutual=True))) as running:
        done = _send([*_tls_options(theirs, authority), profile], running.port, instance.item.path)
        assert done.returncode == 0, done.stdout + done.stderr
        running.service.wait_ending()
        assert len(running.service.stored) == 1
        tls = running.service.infos[0].tls
        assert tls is not None
        assert tls.certificate_subject.startswith("CN=MODALITY,")
        assert tls.version in {"TLSv1.2", "TLSv1.3"}
        assert "GCM" in tls.cipher


@pytest.mark.dcmtk
def test_a_profile_that_is_retired_is_refused(authority: Authority, tmp_path: Path) -> None:
    """AES TLS Secure Transport Connection Profile: TLS 1.0 and CBC suites. RFC 8996 forbids the one, BCP 195 the other."""
    (instance,) = islice(make_instances(tmp_path, 1), 1)
    with running_acceptor(tls=door(authority.acceptor(authority.issue("gate")))) as running:
        options = [*_tls_options(authority.issue("old"), authority), "--profile-aes"]
        done = _send([*options, "--cipher", "TLS_RSA_WITH_AES_128_CBC_SHA"], running.port, instance.item.path)
        assert done.returncode != 0
        assert not running.service.requests


@pytest.mark.dcmtk
def test_storescu_is_refused_without_our_trust(authority: Authority, tmp_path: Path) -> None:
    """Anonymous, and with a certificate of a stranger: no association, nothing stored."""
    stranger = Authority(tmp_path, "stranger")
    (instance,) = islice(make_instances(tmp_path, 1), 1)
    with running_acceptor(tls=door(authority.acceptor(authority.issue("gate"), mutual=True))) as running:
        foreign = [*_tls_options(stranger.issue("foreign"), authority)]
        anonymous = ["--anonymous-tls", "--add-cert-file", str(authority.path)]
        for options in (foreign, anonymous, []):
            assert _send(options, running.port, instance.item.path).returncode != 0
        assert not running.service.requests


@pytest.mark.dcmtk
@pytest.mark.parametrize("profile", PROFILES)
def test_we_send_to_storescp_under_tls(authority: Authority, tmp_path: Path, profile: str) -> None:
    """Both ends authenticated; the data sets arrive bit for bit."""
    theirs, ours = authority.issue("pacs"), authority.issue("relay")
    instances = list(islice(make_instances(tmp_path, 1), 3))
    kept = tmp_path / "kept"
    kept.mkdir()
    items = [instance.item for instance in instances]
    (contexts,) = contexts_for(items)
    with (
        _storescp([*_tls_options(theirs, authority), profile, "+B", "-od", str(kept)]) as port,
        Association.request(
            RemoteAe("ANY", "127.0.0.1", port),
            calling_ae_title="RELAY",
            contexts=[VERIFICATION, *contexts],
            tls=requestor_context(authority.requestor(ours)),
        ) as association,
    ):
        assert association.echo() == 0
        assert [association.store(item).status for item in items] == [0, 0, 0]
    written = [path.read_bytes() for path in kept.iterdir()]
    assert len(written) == 3
    for item in items:
        data = item.path.read_bytes()[item.data_set_offset :]
        assert sum(raw.endswith(data) for raw in written) == 1


@pytest.mark.dcmtk
def test_what_storescp_says_no_to(authority: Authority, tmp_path: Path) -> None:
    """It wants a certificate of ours; it is plain and we are not; it is not and we are."""
    stranger = Authority(tmp_path, "stranger")
    with _storescp(_tls_options(authority.issue("pacs"), authority)) as port:
        remote = RemoteAe("ANY", "127.0.0.1", port)
        for settings, faults in (
            (authority.requestor(), {TlsFault.NO_CERTIFICATE, TlsFault.NOTHING_IN_COMMON}),
            (authority.requestor(stranger.issue("foreign")), {TlsFault.REFUSED}),
            (stranger.requestor(authority.issue("relay")), {TlsFault.UNTRUSTED}),
        ):
            with pytest.raises(TlsFailed) as caught:
                Association.request(remote, calling_ae_title="RELAY", tls=requestor_context(settings))
            assert caught.value.fault in faults, str(caught.value)


# ---- pynetdicom


def test_we_and_pynetdicom_under_tls(authority: Authority, tmp_path: Path) -> None:
    """Both ways, TLS 1.3, mutual."""
    theirs, ours = authority.issue("peer"), authority.issue("relay")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.path))
    context.load_cert_chain(theirs.certificate, theirs.key)
    context.verify_mode = ssl.CERT_REQUIRED
    (instance,) = islice(make_instances(tmp_path, 1), 1)
    item = instance.item
    received: list[bytes] = []

    def keep(event: evt.Event) -> int:
        received.append(event.request.DataSet.getvalue())
        return 0

    ae = AE("PEER")
    ae.add_supported_context(item.sop_class_uid, item.transfer_syntax_uid)
    (port,) = free_ports(1)
    server = ae.start_server(
        ("127.0.0.1", port), block=False, ssl_context=context, evt_handlers=[(evt.EVT_C_STORE, keep)]
    )
    (contexts,) = contexts_for([item])
    try:
        with Association.request(
            RemoteAe("PEER", "127.0.0.1", port),
            calling_ae_title="RELAY",
            contexts=contexts,
            tls=requestor_context(authority.requestor(ours)),
        ) as association:
            assert association.store(item).status == 0
            assert association.tls is not None
            assert association.tls.version == "TLSv1.3"
    finally:
        server.shutdown()
    data = item.path.read_bytes()[item.data_set_offset :]
    assert received == [data]
    client = ssl.create_default_context(cafile=str(authority.path))
    client.load_cert_chain(theirs.certificate, theirs.key)
    with running_acceptor(tls=door(authority.acceptor(ours, mutual=True))) as running:
        ae = AE("PEER")
        ae.add_requested_context(item.sop_class_uid, item.transfer_syntax_uid)
        outgoing = ae.associate("127.0.0.1", running.port, tls_args=(client, "localhost"))
        assert outgoing.is_established
        assert outgoing.send_c_store(item.path).Status == 0
        outgoing.release()
        running.service.wait_ending()
    assert len(running.service.stored) == 1


@contextmanager
def _storescp(options: Sequence[str]) -> Iterator[int]:
    """A storescp on a free port."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [_tool("storescp"), *options, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = monotonic() + 10
        while not listens(port):
            assert monotonic() < deadline
            assert process.poll() is None
            sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)
