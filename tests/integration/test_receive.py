"""`dicomrelay receive`: what comes in lies in the folder, byte for byte, and nothing half."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom.data
import pytest
import trustme

from dicomrelay.cli.files import DicomFile, Passed, scan
from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.settings import GatewaySettings
from scp_gateway.limits import descriptors_of
from tests.support.certificates import Authority
from tests.support.data_sets import data_root
from tests.support.house import require, storescp
from tests.support.processes import BIN, environment, free_port, listens, open_to_others, until

pytestmark = [pytest.mark.dcmtk, pytest.mark.timeout(180)]

_SAMPLES = Path(pydicom.data.__file__).parent / "test_files"


@dataclass
class Receiver:
    """A `dicomrelay receive` that runs."""

    home: Path
    port: int
    process: subprocess.Popen[str]

    @property
    def folder(self) -> Path:
        return self.home / "out"

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*.dcm"))

    def parts(self) -> list[Path]:
        return sorted(self.folder.rglob("*.part"))

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, dict[str, Any]]:
        """The exit code and the summary that it prints."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, dict[str, Any]]:
        out, _ = self.process.communicate(timeout=40)
        return self.process.returncode, json.loads(out) if out else {}


@contextmanager
def receive(home: Path, *options: str | Path, ae_title: str = "ME") -> Iterator[Receiver]:
    port = free_port()
    home.mkdir(exist_ok=True)
    with (home / "err").open("ab") as err:
        process = subprocess.Popen(
            [
                BIN / "dicomrelay", "receive", "--home", home / "home", "-o", home / "out", "-p", str(port),
                "-a", ae_title, "--json", *options,
            ],
            stdout=subprocess.PIPE, stderr=err, text=True, env=environment({}),
        )  # fmt: skip
    try:
        until(lambda: listens(port) or process.poll() is not None, seconds=20, what="the receiver listens")
        yield Receiver(home, port, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def send(home: Path, *words: str | Path) -> tuple[int, dict[str, Any]]:
    """`dicomrelay send --direct`: exit code and summary."""
    done = subprocess.run(
        [BIN / "dicomrelay", "send", "--direct", "--home", home / "sender", "--json", *words],
        capture_output=True, text=True, timeout=120, env=environment({}), check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.stdout else {"stderr": done.stderr}


def storescu(port: int, files: Sequence[Path], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require("storescu"), "-aec", "ME", *options, "127.0.0.1", str(port), *files],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def data_set_of(path: Path) -> tuple[str, str, bytes]:
    """SOP Instance UID and transfer syntax of the file meta, and the data set."""
    content = path.read_bytes()
    meta = parse_file_meta(content[:HEAD_BYTES])
    return meta.sop_instance_uid, meta.transfer_syntax_uid, content[meta.data_set_offset :]


def sent_as(file: DicomFile) -> tuple[str, str, bytes]:
    data = file.path.read_bytes()[file.data_set_offset :]
    return file.sop_instance_uid, file.transfer_syntax_uid, data + b"\0" * (len(data) % 2)


def test_it_asks_for_the_descriptors_of_a_full_house(tmp_path: Path) -> None:
    """The soft limit that a shell gives is for a program that opens a few files."""
    wanted = descriptors_of(GatewaySettings(max_associations=150, reserved_associations=0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # the child's too
    try:
        with receive(tmp_path, "--max-connections", "150") as receiver:
            now, _ = resource.prlimit(receiver.process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert now == wanted


def test_the_whole_corpus_arrives_byte_for_byte(tmp_path: Path) -> None:
    """Every transfer syntax and SOP class there is, over four associations; several share one SOP Instance UID."""
    root = data_root()
    found = list(scan([root / "corpus"], recursive=True))
    files = [each for each in found if not isinstance(each, Passed)]
    with receive(tmp_path, "--unknown-sop-classes") as receiver:
        _, sent = send(tmp_path, "-r", root / "corpus", "-t", "4", f"ME@127.0.0.1:{receiver.port}")
        code, summary = receiver.stop()

    refused = {row["sop_instance_uid"] for row in sent["results"] if row["state"] == "refused"}
    expected = {sent_as(file) for file in files if file.sop_instance_uid not in refused}
    assert len(files) > 500
    assert len(refused) <= 1  # a data set that has no UIDs, only a file meta has them
    assert Counter(data_set_of(path) for path in receiver.files()) == Counter(expected)
    assert code == (1 if refused else 0)
    assert summary["instances"]["stored"] == sent["instances"]["delivered"]
    assert summary["instances"]["already_there"] == summary["instances"]["stored"] - len(expected)
    assert not receiver.parts()


def test_what_dcmtk_sends_is_kept_as_its_own_receiver_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dcmsend to storescp, which writes what it reads, and to us: the same data sets, byte for byte."""
    monkeypatch.setenv("TCP_NODELAY", "1")  # of DCMTK's: else it takes 40 ms an instance
    corpus = data_root() / "corpus"
    with (
        storescp("ME", tmp_path / "theirs") as theirs,
        receive(tmp_path, "--unknown-sop-classes") as receiver,
    ):
        for port in (theirs.port, receiver.port):
            subprocess.run(
                [
                    require("dcmsend"), "--decompress-never", "-nh", "+sd", "+r", "-aet", "DCMSEND", "-aec", "ME",
                    "127.0.0.1", str(port), corpus,
                ],
                capture_output=True, timeout=100, check=False,
            )  # fmt: skip
        _, summary = receiver.stop(signal.SIGINT)
        expected = {data_set_of(path) for path in theirs.files()}

    got = {data_set_of(path) for path in receiver.files()}
    assert len(expected) > 100
    # storescp keeps the last of those that share a SOP Instance UID, and takes data sets that are no SOP instances.
    rows = next((tmp_path / "home" / "logs").glob("*.jsonl")).read_text("utf-8").splitlines()
    refused = {row["sop_instance_uid"] for row in map(json.loads, rows) if row["state"] == "refused"}
    assert len(refused) <= 2
    assert {each for each in expected if each[0] not in refused} <= got
    assert [caller["calling_ae_title"] for caller in summary["callers"]] == ["DCMSEND"]
    meta = parse_file_meta(receiver.files()[0].read_bytes()[:HEAD_BYTES])
    assert (meta.sending_ae_title, meta.receiving_ae_title) == ("DCMSEND", "ME")
    assert summary["ending"] == "interrupted"


def test_the_account_is_in_the_logs(tmp_path: Path) -> None:
    """Summary, a line an instance, and the log; UIDs, and no attribute of a patient."""
    with receive(tmp_path, "--layout", "patient") as receiver:
        storescu(receiver.port, [_SAMPLES / "CT_small.dcm"])
        _, summary = receiver.stop()

    logs = tmp_path / "home" / "logs"
    session = summary["session_id"]
    (row,) = map(json.loads, (logs / f"receive_{session}.jsonl").read_text("utf-8").splitlines())
    log = (logs / f"receive_{session}.log").read_text("utf-8")
    assert json.loads((logs / f"receive_summary_{session}.json").read_text("utf-8")) == summary
    assert row | {"state": "new", "status": "0x0000", "calling_ae_title": "STORESCU"} == row
    assert row["study_instance_uid"] == summary["studies"][0]["study_instance_uid"]
    assert "association ends" in log
    assert receiver.files()[0].parent.parent.parent.name == "1CT1"
    assert not any("1CT1" in text for text in (log, json.dumps(row), json.dumps(summary)))
    assert open_to_others(tmp_path / "home") == []


def test_it_ends_by_itself_when_it_was_told_to(tmp_path: Path) -> None:
    """--count and --idle-exit."""
    with receive(tmp_path / "a", "--count", "2") as receiver:
        assert storescu(receiver.port, [_SAMPLES / "CT_small.dcm", _SAMPLES / "MR_small.dcm"]).returncode == 0
        assert receiver.wait()[0] == 0
        assert len(receiver.files()) == 2
    with receive(tmp_path / "b", "--idle-exit", "0.5") as receiver:
        code, summary = receiver.wait()
        assert (code, summary["ending"], summary["instances"]["stored"]) == (0, "idle", 0)


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """In the middle of many: every instance that the sender heard Success of is whole under its name."""
    source = tmp_path / "source"
    source.mkdir()
    dataset = pydicom.dcmread(_SAMPLES / "MR_small.dcm")
    for number in range(400):
        dataset.SOPInstanceUID = f"1.2.3.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(source / str(number))
    with receive(tmp_path) as receiver:
        sender = subprocess.Popen(
            [
                BIN / "dicomrelay", "send", "--direct", "--home", tmp_path / "sender", "--json", "-t", "3",
                "--retries", "0", source, f"ME@127.0.0.1:{receiver.port}",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment({}),
        )  # fmt: skip
        until(lambda: len(receiver.files()) >= 40, seconds=30, what="forty have come")
        receiver.process.kill()
        out, _ = sender.communicate(timeout=60)

    results = json.loads(out)["results"]
    acknowledged = [row["sop_instance_uid"] for row in results if row["state"] == "delivered"]
    assert 40 - 3 <= len(acknowledged) < 400  # three were perhaps on the way
    for uid in acknowledged:
        got = data_set_of(receiver.folder / f"{uid}.dcm")
        assert got == data_set_of(source / uid.rpartition(".")[2]), uid
    with receive(tmp_path) as again:  # the parts of the dead one are gone, and its files are known
        code, sent = send(tmp_path, source, f"ME@127.0.0.1:{again.port}")
        _, summary = again.stop()
    assert code == 0
    assert sent["instances"]["delivered"] == 400
    assert summary["instances"]["already_there"] >= len(acknowledged)
    assert len(again.files()) == 400
    assert not again.parts()


def test_with_too_little_room_it_answers_a700_and_keeps_nothing_half(tmp_path: Path) -> None:
    """The sender tries again and gives up; the account says why."""
    with receive(tmp_path, "--min-free", str(1 << 60)) as receiver:
        code, sent = send(
            tmp_path, _SAMPLES / "CT_small.dcm", "--retries", "1", f"ME@127.0.0.1:{receiver.port}"
        )
        receiver_code, summary = receiver.stop()

    (row,) = sent["results"]
    assert (code, row["state"], row["status"], row["attempts"]) == (1, "gave up", "0xA700", 2)
    assert receiver_code == 1
    assert summary["refusals"] == {"disk space is low, send again later": 2}
    assert not receiver.files()
    assert not receiver.parts()


def test_who_may_call_how_many_and_in_what_is_as_the_options_say(tmp_path: Path) -> None:
    """Called AE title, address, transfer syntax."""
    file = _SAMPLES / "CT_small.dcm"
    with receive(
        tmp_path / "a", "--check-called-ae", "--transfer-syntax", "lossless", "--max-connections", "1"
    ) as receiver:
        stranger = storescu(receiver.port, [file], "-aec", "SOMEBODY")
        _, plain = send(tmp_path, file, f"ME@127.0.0.1:{receiver.port}")
        _, packed = send(tmp_path, _SAMPLES / "MR_small_RLE.dcm", f"ME@127.0.0.1:{receiver.port}")
    assert "Called AE Title Not Recognized" in stranger.stderr + stranger.stdout
    assert plain["results"][0]["state"] == "refused"
    assert packed["results"][0]["state"] == "delivered"

    with receive(tmp_path / "b", "--from", "10.0.0.0/8") as receiver:
        assert storescu(receiver.port, [file]).returncode != 0


def test_mistakes_are_told_before_anything_listens(tmp_path: Path) -> None:
    """2 for an option or a folder that is taken, 3 for a port."""
    with receive(tmp_path) as receiver:
        runs = {
            words: subprocess.run(
                [BIN / "dicomrelay", "receive", "--home", tmp_path / "other", *words],
                capture_output=True, text=True, timeout=30, env=environment({}), check=False,
            )
            for words in (
                ("-o", str(receiver.folder), "-p", str(free_port())),
                ("-o", str(tmp_path / "new"), "-p", str(receiver.port)),
                ("-o", str(tmp_path / "new"), "--from", "somewhere"),
                ("-o", str(tmp_path / "new"), "--transfer-syntax", "jpeg-42"),
            )
        }  # fmt: skip

    assert [done.returncode for done in runs.values()] == [2, 3, 2, 2]
    words = [done.stderr for done in runs.values()]
    assert "another `receive` or `get` is at work there" in words[0]
    assert "is in use" in words[1]
    assert "--from somewhere" in words[2]
    assert "jpeg-42" in words[3]


def test_both_ends_speak_tls(tmp_path: Path) -> None:
    """Certificates of an authority of the test's; the sender's settings name it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "receiver.pem")
    authority.issue_cert("sender").private_key_and_cert_chain_pem.write_to_path(tmp_path / "sender.pem")
    with receive(
        tmp_path, "--tls-certificate", tmp_path / "receiver.pem", "--tls-ca", tmp_path / "ca.pem"
    ) as receiver:
        config = tmp_path / "relay.toml"
        config.write_text(
            f'[[destinations]]\nname = "me"\nae_title = "ME"\nhost = "127.0.0.1"\nport = {receiver.port}\n'
            f'tls = {{ ca = "{tmp_path}/ca.pem", certificate = "{tmp_path}/sender.pem" }}\n',
            "utf-8",
        )
        code, sent = send(tmp_path, "--config", config, "--to", "me", _SAMPLES / "CT_small.dcm")
        plain, _ = send(
            tmp_path, "--retries", "0", f"ME@127.0.0.1:{receiver.port}", _SAMPLES / "CT_small.dcm"
        )

    assert code == 0, sent
    assert plain == 3
    assert len(receiver.files()) == 1


def test_callers_that_are_turned_away_are_counted_by_reason(tmp_path: Path) -> None:
    """A wrong called AE title, and a caller without TLS; the log begins with what is in force."""
    with receive(tmp_path, "--check-called-ae", "--min-free", "0") as receiver:
        wrong = storescu(receiver.port, [_SAMPLES / "CT_small.dcm"], "-aec", "OTHER")
        code, summary = receiver.stop()
    assert wrong.returncode != 0
    assert code == 0
    assert any("rejected (1, 1, 7)" in why for why in summary["turned_away"])
    assert (
        summary["configuration"] | {"check_called_ae_title": True, "min_free_bytes": 0}
        == summary["configuration"]
    )
    assert "callers were turned away" in (tmp_path / "err").read_text("utf-8")
    (log,) = (tmp_path / "home" / "logs").glob("receive_*.log")
    first, *others = log.read_text("utf-8").splitlines()
    assert "event=listening" in first
    assert "check_called_ae_title=true" in first
    assert any('event="turned away"' in line for line in others)


def test_a_certificate_that_is_over_is_told_and_so_are_those_who_speak_no_tls(tmp_path: Path) -> None:
    """It listens all the same: the other side decides."""
    pair = Authority(tmp_path).issue("over", days=-1)
    with receive(tmp_path, "--tls-certificate", pair.certificate, "--tls-key", pair.key) as receiver:
        plain = storescu(receiver.port, [_SAMPLES / "CT_small.dcm"])
        _, summary = receiver.stop()
    assert plain.returncode != 0
    assert any("it speaks plain DICOM" in why for why in summary["turned_away"])
    assert "expired on" in (tmp_path / "err").read_text("utf-8")


def test_waiting_is_not_in_the_rates(tmp_path: Path) -> None:
    """The rate is that of the time in which there was an association."""
    with receive(tmp_path) as receiver:
        time.sleep(1.5)
        assert storescu(receiver.port, [_SAMPLES / "CT_small.dcm"]).returncode == 0
        _, summary = receiver.stop()
    timing, counts = summary["timing"], summary["instances"]
    assert timing["busy_seconds"] < timing["seconds"] - 1
    # Some milliseconds, told to the next one.
    assert 1 / counts["instances_per_second"] == pytest.approx(timing["busy_seconds"], abs=0.001)
