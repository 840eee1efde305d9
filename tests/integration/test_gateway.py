"""The gateway with real sockets, real peers and a real disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chaos.instances import Instance, make_instances
from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.dicom.scan import HeaderScanner
from dicomrelay.dicom.sop_classes import is_storage_sop_class
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.errors import AssociationRejected, ExitCode
from dicomrelay.net.requestor import Association, RemoteAe, StoreItem
from dicomrelay.runtime.ports import free_ports
from dicomrelay.spool import Spool
from tests.support.data_sets import real_files
from tests.support.engine import contexts_for
from tests.support.gateway import running


def associate(remote: RemoteAe, instance: Instance) -> Association:
    contexts = [(instance.item.sop_class_uid, (instance.item.transfer_syntax_uid,))]
    return Association.request(remote, calling_ae_title="TEST", contexts=contexts)


def test_what_is_sent_is_in_the_spool_and_workers_are_woken(tmp_path: Path) -> None:
    """By our own requestor."""
    instances = make_instances(tmp_path, 1)
    with running(tmp_path / "home") as gateway:
        first = next(instances)
        with associate(gateway.remote, first) as association:
            sent = [first, next(instances), next(instances)]
            assert [association.store(each.item).status for each in sent] == [0, 0, 0]
        assert gateway.wakes.acquire(timeout=10)
        records = gateway.spool.arrivals(10)
        assert [record.digest for record in records] == [each.digest for each in sent]
        assert records[0].provenance.calling_ae_title == "TEST"


def test_a_broker_that_hangs_costs_the_sender_nothing(tmp_path: Path) -> None:
    """Invariant 2: the wake-up blocks in its own thread, and instances go on being acknowledged."""
    held = threading.Event()
    instances = make_instances(tmp_path, 2)
    with running(tmp_path / "home", wake=lambda: held.wait(30) and None) as gateway:
        first = next(instances)
        with associate(gateway.remote, first) as association:
            began = time.monotonic()
            for each in [first, *(next(instances) for _ in range(50))]:
                assert association.store(each.item).status == 0
            assert time.monotonic() - began < 10
        held.set()
        assert len(gateway.spool.arrivals(100)) == 51


def test_a_stranger_is_told_that_it_is_one(tmp_path: Path) -> None:
    """With the called AE title checked: 1, 1, 7."""
    with running(tmp_path / "home", check_called_ae_title=True) as gateway:
        wrong = RemoteAe("OTHER", "127.0.0.1", gateway.settings.gateway.port)
        with pytest.raises(AssociationRejected) as caught:
            associate(wrong, next(make_instances(tmp_path, 3)))
        assert (caught.value.result, caught.value.source, caught.value.reason) == (1, 1, 7)


def test_an_address_that_no_peer_has_is_rejected_for_good(tmp_path: Path) -> None:
    """1, 1, 1: permanent, before a thread exists."""
    peers = [{"ae_title": "*", "host": "192.0.2.1"}]
    with running(tmp_path / "home", peers=peers) as gateway:
        with pytest.raises(AssociationRejected, match="permanently") as caught:
            associate(gateway.remote, next(make_instances(tmp_path, 3)))
        assert (caught.value.result, caught.value.source, caught.value.reason) == (1, 1, 1)


def test_low_disk_is_a700_on_the_wire(tmp_path: Path) -> None:
    """And the association goes on."""
    instance = next(make_instances(tmp_path, 4))
    with (
        running(tmp_path / "home", min_free_bytes=1 << 60) as gateway,
        associate(gateway.remote, instance) as association,
    ):
        for _ in range(2):
            reply = association.store(instance.item)
            assert (reply.status, reply.comment) == (0xA700, "disk space is low, send again later")
        assert gateway.spool.arrivals(1) == []


def needs_dcmtk(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


# dcmsend sends other UIDs in the command than stand in these data sets: one cut to 64 characters, two mangled.
MISNAMED = {"jpeg2000-multiframe-multifragments.dcm", "rtdose_rle.dcm", "rtdose_rle_1frame.dcm"}


@pytest.mark.dcmtk
def test_every_real_file_that_dcmtk_stored_is_stored_here(tmp_path: Path) -> None:
    """DCMTK's dcmsend, which proposes what the files are in, and writes them anew as it sends."""
    dcmsend = needs_dcmtk("dcmsend")
    stored = [path for path, row in real_files("corpus") if row["dcmtk_cstore"] == "stored"]
    files = [path for path in stored if path.name not in MISNAMED]
    assert len(files) > 300
    with running(tmp_path / "home") as gateway:
        port = str(gateway.settings.gateway.port)
        for at in range(0, len(files), 60):
            command = [dcmsend, "-nh", "-nuc", "127.0.0.1", port, *map(str, files[at : at + 60])]
            done = subprocess.run(
                command, env={**os.environ, "TCP_NODELAY": "1"}, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        spool = gateway.spool
        assert len([spool.verify(record.id) for record in spool.records()]) == len(files)


def test_every_real_instance_arrives_byte_for_byte(tmp_path: Path) -> None:
    """In 18 transfer syntaxes and more than 33 SOP classes, each data set as it stands in its file."""
    items = [item for path, _ in real_files("corpus", "studies") if (item := _as_item(path)) is not None]
    assert len(items) > 1300
    assert len({item.transfer_syntax_uid for item in items}) >= 18
    with running(tmp_path / "home") as gateway:
        for contexts in contexts_for(items):
            with Association.request(
                gateway.remote, calling_ae_title="TEST", contexts=contexts
            ) as association:
                for item in items:
                    if (item.sop_class_uid, item.transfer_syntax_uid) in association.accepted:
                        reply = association.store(item)
                        assert reply.status == 0, f"{item.path}: {reply}"
        spool = gateway.spool
        arrived = [spool.verify(record.id).digest for record in spool.records()]
        assert sorted(arrived) == sorted(_data_set_digest(item) for item in items)


def _as_item(path: Path) -> StoreItem | None:
    """The file as something to send, by the UIDs of its data set; None where it cannot be sent as it is."""
    data = path.read_bytes()
    meta = parse_file_meta(data[:HEAD_BYTES])
    scanner = HeaderScanner(meta.transfer_syntax_uid)
    scanner.feed(memoryview(data)[meta.data_set_offset :])
    header = scanner.finish()
    if not is_tolerable_uid(header.sop_instance_uid) or not is_storage_sop_class(header.sop_class_uid):
        return None
    size = len(data) - meta.data_set_offset
    if size % 2 and not transfer_syntax(meta.transfer_syntax_uid).is_deflated:
        return None  # no peer may be sent an odd fragment
    names = header.sop_class_uid, header.sop_instance_uid, meta.transfer_syntax_uid
    return StoreItem(*names, path, meta.data_set_offset, size)


def _data_set_digest(item: StoreItem) -> str:
    """As on the wire, where a deflated stream of odd length has a NUL behind it (PS3.5 Annex A.5)."""
    data_set = item.path.read_bytes()[item.data_set_offset :]
    return hashlib.sha256(data_set + b"\0" * (len(data_set) % 2)).hexdigest()


@pytest.mark.dcmtk
def test_a_command_that_names_another_instance_is_refused(tmp_path: Path) -> None:
    """A900, or 0122 where the SOP class is mangled too; nothing is kept."""
    dcmsend = needs_dcmtk("dcmsend")
    files = [path for path, _ in real_files("corpus") if path.name in MISNAMED]
    with running(tmp_path / "home") as gateway:
        command = [dcmsend, "-nh", "-nuc", "127.0.0.1", str(gateway.settings.gateway.port), *map(str, files)]
        subprocess.run(command, env={**os.environ, "TCP_NODELAY": "1"}, capture_output=True, check=False)
        assert gateway.spool.usage().new == 0


@pytest.mark.dcmtk
def test_dcmtk_reads_what_the_spool_holds(tmp_path: Path) -> None:
    """An item is a file that any toolkit takes, private information and all."""
    dcmdump = needs_dcmtk("dcmdump")
    path = next(
        path for path, row in real_files("corpus") if row["expect"] == "clean" and row["modality"] == "CT"
    )
    item = _as_item(path)
    assert item is not None
    with running(tmp_path / "home") as gateway:
        with associate(gateway.remote, Instance(item, "")) as association:
            assert association.store(item).status == 0
        spool = gateway.spool
        stored = spool.locate(spool.arrivals(1)[0].id)
        assert stored.read_bytes()[4096:] == path.read_bytes()[item.data_set_offset :]
        done = subprocess.run([dcmdump, str(stored)], capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert not done.stderr.strip()
        assert item.sop_instance_uid in done.stdout


class Process:
    """`python -m scp_gateway` with settings of its own."""

    def __init__(self, home: Path, **gateway: int) -> None:
        self.port = int(gateway.setdefault("port", free_ports(1)[0]))
        home.mkdir(exist_ok=True)
        lines = [f"{key} = {value}" for key, value in {"min_free_bytes": 0, **gateway}.items()]
        (home / "relay.toml").write_text("\n".join(["[gateway]", *lines, ""]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scp_gateway", "--home", str(home)], stderr=subprocess.PIPE, text=True
        )
        self.said: list[str] = []

    def wait_for(self, words: str) -> str:
        """The line of its log that holds these words."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if words in line:
                return line
        raise AssertionError(f"{words!r} was never said: {self.said}")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait."""
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode


def children(pid: int) -> list[int]:
    """Processes that `pid` started."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    if not found.exists():
        pytest.skip("no /proc here")
    return [int(each) for each in found.read_text().split()]


def test_several_processes_share_the_port_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    """The parent binds, the children accept; killing one loses nothing that waits in the queue."""
    gateway = Process(tmp_path / "home", processes=2)
    gateway.wait_for("ready")
    remote = RemoteAe("DICOMRELAY", "127.0.0.1", gateway.port)
    instances = make_instances(tmp_path, 6)
    before = children(gateway.process.pid)
    assert len(before) == 2
    for _ in range(6):
        instance = next(instances)
        with associate(remote, instance) as association:
            assert association.store(instance.item).status == 0
    os.kill(before[0], signal.SIGKILL)
    gateway.wait_for("gateway.process-died")
    instance = next(instances)
    with associate(remote, instance) as association:
        assert association.store(instance.item).status == 0
    assert gateway.end() == ExitCode.OK
    assert len(list(Spool(tmp_path / "home" / "spool").records())) == 7


def test_children_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    """They would hold the port against the next start."""
    gateway = Process(tmp_path / "home", processes=2)
    gateway.wait_for("ready")
    orphans = children(gateway.process.pid)
    assert gateway.end(signal.SIGKILL) == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in orphans):
        assert time.monotonic() < deadline, "a child is left"
        time.sleep(0.02)
    again = Process(tmp_path / "home", port=gateway.port)
    again.wait_for("ready")
    assert again.end(signal.SIGINT) == ExitCode.OK


def test_a_port_in_use_and_wrong_settings_are_said_in_words(tmp_path: Path) -> None:
    """With the exit codes of the table."""
    first = Process(tmp_path / "one")
    first.wait_for("ready")
    second = Process(tmp_path / "two", port=first.port)
    assert f"port {first.port}" in second.wait_for("in use")
    assert second.process.wait(20) == ExitCode.UNREACHABLE
    third = Process(tmp_path / "three", no_such_key=1)
    assert "no_such_key" in third.wait_for("there is no such setting")
    assert third.process.wait(20) == ExitCode.USAGE
    assert first.end() == ExitCode.OK
    for each in (second, third):
        each.process.communicate()


def test_stopping_lets_an_open_association_finish(tmp_path: Path) -> None:
    """SIGTERM in the middle: what is being sent is still answered."""
    gateway = Process(tmp_path / "home")
    gateway.wait_for("ready")
    instances = make_instances(tmp_path, 7)
    first = next(instances)
    with associate(RemoteAe("DICOMRELAY", "127.0.0.1", gateway.port), first) as association:
        assert association.store(first.item).status == 0
        gateway.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert association.store(next(instances).item).status == 0
    gateway.process.communicate(timeout=30)
    assert gateway.process.returncode == ExitCode.OK
    assert len(Spool(tmp_path / "home" / "spool").arrivals(10)) == 2
