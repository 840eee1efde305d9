"""`dicomrelay send --direct`: several associations, trying again, and what the account says."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts

from dicomrelay.cli.direct import Order, send_directly
from dicomrelay.cli.files import DicomFile, read
from dicomrelay.cli.summary import Result
from dicomrelay.delivery import Target
from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.requestor import RemoteAe
from tests.support.house import Storescp, require, storescp
from tests.support.processes import BIN, environment, free_port, open_to_others, until

pytestmark = [pytest.mark.dcmtk, pytest.mark.timeout(120)]

_SAMPLES = Path(pydicom.data.__file__).parent / "test_files"


def copies(folder: Path, studies: int, instances: int) -> list[DicomFile]:
    """Small instances of their own, so many in each of so many studies."""
    ds = pydicom.dcmread(_SAMPLES / "MR_small.dcm")
    found = []
    for study in range(studies):
        for number in range(instances):
            ds.StudyInstanceUID, ds.SOPInstanceUID = f"1.2.3.{study}", f"1.2.3.{study}.{number}"
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            path = folder / f"{study}-{number}"
            ds.save_as(path)
            file = read(path)
            assert isinstance(file, DicomFile)
            found.append(file)
    return found


@contextmanager
def receiver(store: Callable[[Any], int], **options: int) -> Iterator[int]:
    """An independent receiver (pynetdicom) that answers what `store` says."""
    ae = AE(ae_title="PEER")
    for name, value in options.items():
        setattr(ae, name, value)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(str(context.abstract_syntax), list(transfer_syntaxes()))
    port = free_port()
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield port
    finally:
        if server:
            server.shutdown()


def send(
    files: list[DicomFile], port: int, *, threads: int = 1, retries: int = 2
) -> tuple[list[Result], str]:
    order = Order(
        Target(RemotePeer(RemoteAe("PEER", "127.0.0.1", port), "US")),
        "peer",
        threads=threads,
        retries=retries,
    )
    return send_directly(files, order, interrupted=threading.Event(), progress=lambda *_: None)


def test_every_instance_gets_one_result_and_arrives_once(tmp_path: Path) -> None:
    """Five studies over three associations at once."""
    files = copies(tmp_path, 5, 8)
    got: Counter[str] = Counter()
    associations = set()

    def store(event: Any) -> int:
        got[str(event.request.AffectedSOPInstanceUID)] += 1
        associations.add(event.assoc)
        return 0

    with receiver(store) as port:
        results, unreachable = send(files, port, threads=3)

    assert not unreachable
    assert got == Counter(file.sop_instance_uid for file in files)
    assert Counter(result.sop_instance_uid for result in results) == got
    assert {(result.state, result.attempts) for result in results} == {("delivered", 1)}
    assert all(result.bytes and result.seconds and result.transfer_syntax_uid for result in results)
    assert len(associations) >= 5


def test_after_an_abort_only_what_has_no_answer_is_sent_again_over_a_new_association(tmp_path: Path) -> None:
    """The peer aborts at each fourth instance that it sees; all arrive, and none that was answered comes again."""
    files = copies(tmp_path, 1, 10)
    seen: list[str] = []
    answered: list[str] = []

    def store(event: Any) -> int:
        seen.append(str(event.request.AffectedSOPInstanceUID))
        if len(seen) in (4, 8):
            event.assoc.abort()
        else:
            answered.append(seen[-1])
        return 0

    with receiver(store) as port:
        results, unreachable = send(files, port)

    assert not unreachable
    assert sorted(answered) == sorted(file.sop_instance_uid for file in files)
    assert all(result.delivered for result in results)
    assert Counter(result.attempts for result in results)[2] >= 1


def test_one_instance_that_the_peer_cannot_stand_does_not_cost_the_others(tmp_path: Path) -> None:
    """It aborts whenever that one comes: that one fails after its attempts, the others arrive."""
    files = copies(tmp_path, 1, 6)
    bad = files[2].sop_instance_uid

    def store(event: Any) -> int:
        if str(event.request.AffectedSOPInstanceUID) == bad:
            event.assoc.abort()
        return 0

    with receiver(store) as port:
        results, _ = send(files, port, retries=1)

    failed = [result for result in results if not result.delivered]
    assert [(result.sop_instance_uid, result.state, result.attempts) for result in failed] == [
        (bad, "not sent", 2)
    ]
    assert "abort" in failed[0].reason
    assert len(results) == 6


@pytest.mark.parametrize(("status", "times", "state"), [(0xA700, 3, "gave up"), (0xC000, 1, "refused")])
def test_a_status_is_tried_again_only_when_that_is_of_use(
    tmp_path: Path, status: int, times: int, state: str
) -> None:
    """Out of resources may pass, cannot understand will not; the others of the study are not sent again."""
    files = copies(tmp_path, 1, 3)
    seen: Counter[str] = Counter()

    def store(event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        seen[uid] += 1
        return status if uid == files[0].sop_instance_uid else 0

    with receiver(store) as port:
        results, _ = send(files, port)

    by_uid = {result.sop_instance_uid: result for result in results}
    assert seen == {files[0].sop_instance_uid: times, **{file.sop_instance_uid: 1 for file in files[1:]}}
    assert (by_uid[files[0].sop_instance_uid].state, by_uid[files[0].sop_instance_uid].status) == (
        state,
        status,
    )
    assert by_uid[files[1].sop_instance_uid].delivered


def test_a_peer_that_takes_one_association_gets_all_from_the_thread_that_has_it(tmp_path: Path) -> None:
    """The other threads are rejected for now, pause, and nothing is lost."""
    files = copies(tmp_path, 2, 5)
    with receiver(lambda _: 0, maximum_associations=1) as port:
        results, _ = send(files, port, threads=2, retries=6)

    assert len(results) == 10
    assert all(result.delivered for result in results)


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "dicomrelay", "send", "--direct", "--home", home, *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment({}),
        check=False,
    )


def test_the_account_has_session_timing_counts_studies_and_instances(tmp_path: Path) -> None:
    """In the summary file and on standard output, the same."""
    scans = tmp_path / "scans"
    scans.mkdir()
    copies(scans, 2, 3)
    (scans / "broken").write_bytes((scans / "0-0").read_bytes()[:-100])
    with storescp("PACS", tmp_path / "pacs") as peer:
        ended = run(tmp_path / "home", str(scans), f"PACS@127.0.0.1:{peer.port}", "--json", "--window", "4")

    account = json.loads(ended.stdout)
    written = json.loads(next((tmp_path / "home" / "logs").glob("send_summary_*.json")).read_text("utf-8"))
    assert ended.returncode == 1, ended.stderr
    assert account == written
    assert open_to_others(tmp_path / "home") == []
    assert account["session_id"] in ended.stderr
    assert account["exit_code"] == 1
    in_force = {
        "threads": 4,
        "window": 4,
        "direct": True,
        "retries": 2,
        "transfer_syntax_policy": "as_is",
        "tls": False,
    }
    assert account["configuration"] | in_force == account["configuration"]
    assert account["configuration"]["response_timeout_s"] > 0
    assert account["instances"] | {"delivered": 6, "failed": 0} == account["instances"]
    assert account["instances"]["average_seconds"] > 0
    assert account["instances"]["instances_per_second"] > 0
    assert account["timing"]["seconds"] > 0
    assert {study["study_instance_uid"]: study["delivered"] for study in account["studies"]} == {
        "1.2.3.0": 3,
        "1.2.3.1": 3,
    }
    assert len(account["results"]) == 6
    assert (
        account["results"][0]
        | {
            "state": "delivered",
            "status": "0x0000",
            "attempts": 1,
            "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        }
        == account["results"][0]
    )
    unusable = account["files"]["unusable"][0]
    assert "truncated" in unusable["reason"]
    # A file may be named after a patient: the account is the sender's own, the log is not.
    (log,) = (tmp_path / "home" / "logs").glob("send_*.log")
    written = log.read_text("utf-8")
    assert "a file is passed over" in written
    assert not [
        path for path in (unusable["path"], *(row["path"] for row in account["results"])) if path in written
    ]


def test_a_copy_is_sent_only_where_option_and_settings_allow_it(tmp_path: Path) -> None:
    """A peer that takes no compression: refused as it is, delivered with --transcode, and "never" is never."""
    file = str(_SAMPLES / "MR_small_RLE.dcm")
    ae = AE(ae_title="PEER")
    ae.add_supported_context("1.2.840.10008.5.1.4.1.1.4", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
    port = free_port()
    never = tmp_path / "never.toml"
    never.write_text(
        f'[[destinations]]\nname = "evidence"\nae_title = "PEER"\nhost = "127.0.0.1"\nport = {port}\n'
        'transfer_syntax_policy = "never"\n',
        "utf-8",
    )
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)])
    try:
        as_is = run(tmp_path, file, f"PEER@127.0.0.1:{port}", "--json")
        copy = run(tmp_path, file, f"PEER@127.0.0.1:{port}", "--json", "--transcode")
        refused = run(tmp_path, file, "--config", str(never), "--to", "evidence", "--transcode")
    finally:
        if server:
            server.shutdown()

    (row,) = json.loads(copy.stdout)["results"]
    assert json.loads(as_is.stdout)["results"][0]["path"] == file
    assert f"    {file}" in as_is.stderr.splitlines()
    (log,) = (tmp_path / "logs").glob(f"send_{json.loads(as_is.stdout)['session_id']}.log")
    assert file not in log.read_text("utf-8")  # it may name a patient
    assert (as_is.returncode, json.loads(as_is.stdout)["results"][0]["state"]) == (1, "refused")
    assert (copy.returncode, row["state"]) == (0, "delivered")
    assert row["transfer_syntax_uid"] in {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"}
    assert refused.returncode == 2
    assert "which no option changes" in refused.stderr


@pytest.mark.parametrize(
    ("option", "code", "words"),
    [
        ("--refuse", 3, "rejected the association"),
        ("--abort-after", 3, "abort"),
        ("--abort-during", 3, "abort"),
    ],
)
def test_a_peer_that_answers_nothing_is_exit_code_3(
    tmp_path: Path, option: str, code: int, words: str
) -> None:
    """DCMTK's storescp in a bad mood; the reason is in the account of each instance."""
    file = tmp_path / "a"
    shutil.copy(_SAMPLES / "CT_small.dcm", file)
    peer = Storescp("PACS", free_port(), tmp_path / "pacs", (option,))
    peer.start()
    try:
        ended = run(tmp_path / "home", str(file), f"PACS@127.0.0.1:{peer.port}", "--json", "--retries", "1")
    finally:
        peer.stop()

    (result,) = json.loads(ended.stdout)["results"]
    assert ended.returncode == code, ended.stderr
    assert (result["state"], result["status"]) == ("not sent", None)
    assert words in result["reason"]


def test_ctrl_c_ends_it_and_says_what_was_not_sent(tmp_path: Path) -> None:
    """130, a summary, and every instance in it."""
    require("storescp")
    scans = tmp_path / "scans"
    scans.mkdir()
    copies(scans, 1, 20)
    with storescp("PACS", tmp_path / "pacs", "--sleep-after", "1") as peer:
        process = subprocess.Popen(
            [
                BIN / "dicomrelay", "send", "--direct", "--home", tmp_path / "home", "--json",
                scans, f"PACS@127.0.0.1:{peer.port}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment({}),
        )  # fmt: skip
        until(lambda: len(peer.files()) >= 2, seconds=20, what="two files have come")
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=30)

    account = json.loads(stdout)
    assert process.returncode == 130
    assert account["ending"] == "interrupted"
    assert len(account["results"]) == 20
    assert 1 <= account["instances"]["delivered"] < 20
    assert {row["reason"] for row in account["results"] if row["state"] == "not sent"} == {"interrupted"}
    assert account["instances"]["delivered"] + account["instances"]["not_sent"] == 20
    assert account["instances"]["failed"] == 0


def test_options_of_direct_sending_are_refused_elsewhere(tmp_path: Path) -> None:
    """The queue has settings for them."""
    ended = subprocess.run(
        [BIN / "dicomrelay", "send", "--home", tmp_path, "--retries", "1", str(_SAMPLES / "CT_small.dcm")],
        capture_output=True,
        text=True,
        env=environment({}),
        check=False,
    )

    assert ended.returncode == 2
    assert "--retries goes with --direct" in ended.stderr
