"""A slice of the fuzzer in every run, and proof that it finds what it is there to find."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from chaos import fuzz
from chaos.fuzz_mutate import Mutator
from chaos.fuzz_samples import default_corpus, make_samples
from chaos.fuzz_targets import CommandTarget, FileTarget, PduTarget
from dicomrelay.dicom.scan import HeaderScanner
from dicomrelay.dimse import commitment, fragments, store_codec
from dicomrelay.errors import ExitCode
from dicomrelay.ul import reader

SEED = 20261121


@pytest.mark.parametrize("name", ["pdu", "command", "store", "report", "file", "gateway"])
def test_a_few_thousand_inputs_find_no_fault(name: str, tmp_path: Path) -> None:
    """The same ones each time; `make fuzz` tries a hundred thousand others."""
    (figures,) = fuzz.run(
        1500,
        seed=SEED,
        keep=tmp_path / "faults",
        home=tmp_path / "home",
        corpus=default_corpus(),
        targets=[name],
    )

    assert not figures.faults, figures
    assert figures.inputs == 1500
    # Neither a mutator that breaks everything nor one that breaks nothing would try the parsers.
    assert 0.05 < figures.accepted / figures.inputs < 0.8


def test_the_same_seed_makes_the_same_inputs() -> None:
    """Input i depends on seed, target and i alone."""
    samples = make_samples()
    for target in (PduTarget(samples), CommandTarget(samples), FileTarget(samples)):
        made = [target.make(random.Random(f"1/{target.name}/{number}")) for number in range(50)]
        again = [target.make(random.Random(f"1/{target.name}/{number}")) for number in range(50)]
        other = [target.make(random.Random(f"2/{target.name}/{number}")) for number in range(50)]
        assert made == again != other


def test_a_decoder_that_trusts_a_length_is_found_saved_and_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control: with one check taken out of a reader, the run ends with code 1, and so does the saved input alone."""

    def trusting(body: memoryview) -> object:
        for position in range(0, len(body), 1 << 20):
            struct.unpack_from(">IBB", body, position)
        return reader.decode_p_data(body)

    with monkeypatch.context() as broken:
        broken.setitem(reader.DECODERS, 4, trusting)
        keep = tmp_path / "faults"
        arguments = ["--inputs", "2000", "--seed", "1", "--target", "pdu", "--keep", str(keep)]
        assert fuzz.main(arguments) == ExitCode.SOME_FAILED
        assert "struct.error" in capsys.readouterr().out
        saved = sorted(keep.iterdir())
        assert fuzz.main(["--replay", str(saved[0])]) == ExitCode.SOME_FAILED
    assert fuzz.main(["--replay", str(saved[0])]) == ExitCode.OK


def test_a_reader_of_reports_that_takes_any_text_for_a_uid_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: its check of UIDs taken out."""
    monkeypatch.setattr(commitment, "is_tolerable_uid", lambda _text: True)
    (figures,) = fuzz.run(2000, seed=SEED, keep=tmp_path, home=tmp_path, targets=["report"])
    assert any("what is no UID was taken for one" in fault for fault in figures.faults)


def test_a_context_that_was_not_accepted_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control, and a fault that it did find: presentation context 0 stood for none, and so was never looked up."""
    monkeypatch.setattr(fragments, "_NONE", 0)
    (figures,) = fuzz.run(4000, seed=SEED, keep=tmp_path, home=tmp_path, targets=["pdu"])
    assert any("presentation context 0 was not accepted" in fault for fault in figures.faults)


def test_a_fast_reader_that_trusts_a_length_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: one that takes all that is left for the value, whatever its length says."""
    read = store_codec.StoreRequestReader.read

    def trusting(self: store_codec.StoreRequestReader, raw: bytes) -> object:
        at = self._instance_at
        return read(self, raw[:at] + struct.pack("<I", len(raw) - at - 4) + raw[at + 4 :])

    monkeypatch.setattr(store_codec.StoreRequestReader, "read", trusting)
    (figures,) = fuzz.run(2000, seed=SEED, keep=tmp_path, home=tmp_path, targets=["store"])
    assert any("the fast reader makes" in fault for fault in figures.faults)


def test_a_scanner_that_depends_on_the_cutting_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: one that forgets what it carried from one piece to the next."""
    feed = HeaderScanner.feed

    def forgetful(self: HeaderScanner, piece: memoryview) -> bool:
        done = feed(self, piece)
        self._carry = self._carry[:1]
        return done

    monkeypatch.setattr(HeaderScanner, "feed", forgetful)
    (figures,) = fuzz.run(1000, seed=1, keep=tmp_path, home=tmp_path, targets=["file"])
    assert figures.faults


def test_an_input_that_does_not_end_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a loop without an end is interrupted, named and saved."""
    monkeypatch.setitem(fuzz._SLOWEST_S, "command", 0.2)

    def endless(_self: object, _data: bytes) -> bool:
        while True:
            pass

    monkeypatch.setattr(CommandTarget, "attempt", endless)
    (figures,) = fuzz.run(1, seed=1, keep=tmp_path, home=tmp_path, targets=["command"])
    assert "TooSlow" in figures.faults[0]
    assert figures.slowest_s < 2


def test_every_kind_of_change_leaves_bytes_within_bounds() -> None:
    """None of them fails on a short sample, and none makes an input of megabytes."""
    chance = random.Random(3)
    mutator = Mutator(chance, [b"", b"a", bytes(100)])
    for size in (0, 1, 2, 7, 100, 5000):
        for _ in range(300):
            assert len(mutator.mutate(chance.randbytes(size))) <= 1 << 17
