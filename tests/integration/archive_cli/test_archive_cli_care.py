"""`dicomrelay archive check, scrub, conflicts, remove, retention, rebuild-index`: the real commands on real files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.support.archive_command import ArchiveCommand, changed, header_values, sample_files, sample_folder
from tests.support.archives import write_study

INSTANCES = header_values(sample_folder())
STUDY = INSTANCES[0]["StudyInstanceUID"]


@pytest.fixture
def archive(filled: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(filled, tmp_path / "archive")
    return tmp_path / "archive"


def files(archive: Path) -> list[Path]:
    return sorted((archive / "data").rglob("*.dcm"))


def flip(path: Path) -> None:
    """One bit of it."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def uid_of(name: str) -> str:
    (path,) = sample_files(name)
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


# check


def test_check_finds_nothing_where_nothing_is(relay: ArchiveCommand, archive: Path) -> None:
    """At every level: exit code 0."""
    for options in ((), ("--verify-files",), ("--digests",), ("--damaged",), ("--verify-files", "--verbose")):
        told = relay.good("check", "-a", archive, *options)
        assert "0 faults" in told.err
        assert told.out == ""
    assert relay.good("check", "-a", archive, "--json").json["instances"] == len(INSTANCES)
    assert relay("check", "-a", archive, "--damaged", "--digests").code == 2


def test_check_finds_what_is_missing_short_and_unknown(
    relay: ArchiveCommand, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default: files, sizes, files without a row. Exit code 4, and what to do about each."""
    gone, short = files(archive)[:2]
    gone.unlink()
    short.write_bytes(short.read_bytes()[:-2])
    stray = short.with_name("1.2.3.dcm")
    stray.write_bytes(b"x")
    # What is younger than an hour is about to get its row.
    monkeypatch.setattr("archive.checking._YOUNG_S", -60.0)
    told = relay("check", "-a", archive, "--json")
    words = relay("check", "-a", archive, "--verbose")

    assert told.code == words.code == 4
    assert {(each["fault"], each["about"]) for each in told.json["findings"]} == {
        ("missing", gone.stem),
        ("size", short.stem),
        ("orphan", "1.2.3.dcm"),
    }
    assert (told.json["faults"], told.json["notes"]) == (2, 1)
    assert f"fault missing: {gone.stem}" in words.out
    assert "→" in words.out
    assert (
        f"in study {next(each for each in INSTANCES if each['SOPInstanceUID'] == gone.stem)['StudyInstanceUID']}"
        in words.out
    )


@pytest.mark.parametrize("option", ["--digests", "--verify-files"])
def test_check_finds_a_flipped_bit_when_it_reads(relay: ArchiveCommand, archive: Path, option: str) -> None:
    """And only then."""
    flip(files(archive)[3])
    told = relay("check", "-a", archive, option, "--json")

    assert relay("check", "-a", archive).code == 0
    assert told.code == 4
    assert [(each["fault"], each["about"]) for each in told.json["findings"]] == [
        ("digest", files(archive)[3].stem)
    ]


# scrub


def test_scrub_goes_round_and_finds_the_flipped_bit(relay: ArchiveCommand, archive: Path) -> None:
    """Exit code 4, listed by check --damaged; mended, the next round is quiet."""
    damaged = files(archive)[5]
    quiet = relay.good("scrub", "-a", archive, "--json")
    flip(damaged)
    loud = relay("scrub", "-a", archive)
    listed = relay("check", "-a", archive, "--damaged", "--json")
    status = relay("scrub", "-a", archive, "--status", "--json")
    flip(damaged)
    mended = relay.good("scrub", "-a", archive, "--rate", "100", "--json")

    assert (quiet.json["is_over"], quiet.json["files"], quiet.json["damaged_now"]) == (
        True,
        len(INSTANCES),
        0,
    )
    assert loud.code == listed.code == status.code == 4
    assert f"fault digest: {damaged.stem}" in loud.out
    assert [each["about"] for each in listed.json["findings"]] == [damaged.stem]
    assert (status.json["round"], status.json["damaged_now"]) == (2, 1)
    assert (mended.json["round"], mended.json["damaged_now"]) == (3, 0)


def test_scrub_says_how_far_it_is(relay: ArchiveCommand, archive: Path) -> None:
    """Before the first round and after; its options exclude each other."""
    before = relay.good("scrub", "-a", archive, "--status")
    relay.good("scrub", "-a", archive)
    after = relay.good("scrub", "-a", archive, "--status")

    assert "no file has been looked at yet" in before.out
    assert "round 1, begun" in after.out
    assert f"{len(INSTANCES)} files" in after.out
    assert relay("scrub", "-a", archive, "--status", "--rate", "5").code == 2
    assert relay("scrub", "-a", archive, "--rate", "0").code == 2


def test_damage_is_told_once_and_mended_as_it_is_said(relay: ArchiveCommand, tmp_path: Path) -> None:
    """Seen by the scrub and by the check; gone: imported again; other bytes: removed, and imported again."""
    relay.good("init", "-p", tmp_path / "m")
    names = ("CT_small.dcm", "MR_small.dcm")
    relay.good("import", "-a", tmp_path / "m", *sample_files(*names))
    gone, flipped = files(tmp_path / "m")
    gone.unlink()
    flip(flipped)
    assert relay("scrub", "-a", tmp_path / "m").code == 4
    told = relay("check", "-a", tmp_path / "m", "--digests", "--json")
    relay.good("remove", "-a", tmp_path / "m", "--sop-uid", flipped.stem, "--reason", "damaged", "--yes")
    relay.good("import", "-a", tmp_path / "m", *sample_files(*names))

    assert {(each["fault"], each["about"]) for each in told.json["findings"]} == {
        ("missing", gone.stem),
        ("digest", flipped.stem),
    }
    assert told.json["faults"] == 2
    assert relay.good("scrub", "-a", tmp_path / "m", "--json").json["damaged_now"] == 0
    assert relay.good("check", "-a", tmp_path / "m", "--verify-files").code == 0


# conflicts


@pytest.fixture
def conflicting(relay: ArchiveCommand, tmp_path: Path) -> Path:
    relay.good("init", "-p", tmp_path / "c")
    relay.good("import", "-a", tmp_path / "c", *sample_files("CT_small.dcm"))
    assert relay("import", "-a", tmp_path / "c", changed(tmp_path)).code == 1
    return tmp_path / "c"


def test_conflicts_are_listed_and_shown(relay: ArchiveCommand, conflicting: Path, tmp_path: Path) -> None:
    """With both digests and the file where the other bytes are."""
    uid = uid_of("CT_small.dcm")
    (listed,) = relay.good("conflicts", "list", "-a", conflicting, "--json").json
    table = relay.good("conflicts", "list", "-a", conflicting)
    shown = relay.good("conflicts", "show", uid, "-a", conflicting, "--json").json
    words = relay.good("conflicts", "show", uid, "-a", conflicting)
    (aside,) = shown["conflicts"]

    assert listed["sop_instance_uid"] == uid
    assert uid in table.out
    assert "1 conflict" in table.err
    assert dcmread(aside["file"]).ImageComments == "other bytes"
    assert aside["kept_digest"] == shown["digest"] != aside["digest"]
    assert aside["file"] in words.out
    assert aside["digest"] in words.out


def test_conflicts_that_are_not_there(relay: ArchiveCommand, conflicting: Path) -> None:
    """An unknown UID is exit code 1, no UID exit code 2."""
    unknown = relay("conflicts", "show", "1.2.3", "-a", conflicting, "--json")

    assert (unknown.code, unknown.json["kind"]) == (1, "InstanceNotFound")
    assert relay("conflicts", "show", "abc", "-a", conflicting).code == 2
    assert relay("conflicts", "show", "-a", conflicting).code == 2


def test_what_instances_of_one_study_say_differently(relay: ArchiveCommand, tmp_path: Path) -> None:
    """The first value is kept, the other listed."""
    relay.good("init", "-p", tmp_path / "d")
    first, second = write_study(tmp_path / "study", instances=2)
    data_set = dcmread(second)
    data_set.StudyDescription = "KNEE"
    data_set.save_as(second)
    relay.good("import", "-a", tmp_path / "d", first)
    relay.good("import", "-a", tmp_path / "d", second)
    (told,) = relay.good("conflicts", "list", "--disagreements", "-a", tmp_path / "d", "--json").json
    table = relay.good("conflicts", "list", "--disagreements", "-a", tmp_path / "d")

    assert (told["column"], told["kept"], told["other"]) == ("study_description", "HEAD", "KNEE")
    assert "KNEE" in table.out
    assert "1 disagreement" in table.err


# remove


def test_remove_leaves_a_tombstone(relay: ArchiveCommand, archive: Path) -> None:
    """Rows and files are gone, the tombstones say who and why; the rest is whole."""
    count = sum(each["StudyInstanceUID"] == STUDY for each in INSTANCES)
    rehearsed = relay.good("remove", "-a", archive, "--study-uid", STUDY, "--dry-run", "--json")
    told = relay.good(
        "remove", "-a", archive, "--study-uid", STUDY, "--reason", "by mistake", "--yes", "--json"
    )
    tombs = relay.good("remove", "-a", archive, "--list", "--json").json
    table = relay.good("remove", "-a", archive, "--list")

    assert (rehearsed.json["selected"], rehearsed.json["removed"]) == (count, 0)
    assert told.json["removed"] == told.json["selected"] == count
    assert relay.good("stats", "-a", archive, "--json").json["instances"] == len(INSTANCES) - count
    assert len(files(archive)) == len(INSTANCES) - count
    assert {each["reason"] for each in tombs} == {"by mistake"}
    assert all("@" in each["removed_by"] for each in tombs)
    assert f"{count} instance" in table.err
    assert relay.good("check", "-a", archive, "--verify-files").code == 0
    assert relay("remove", "-a", archive, "--study-uid", STUDY, "--reason", "again", "--yes").code == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "say what to remove"),
        (("--reason", "all of it", "--yes"), "say what to remove"),
        (("--study-uid", STUDY), "say why: --reason"),
        (("--study-uid", STUDY, "--reason", "  "), "say why: --reason"),
        (("--study-uid", STUDY, "--reason", "x"), "say --yes"),
        (("--study-uid", STUDY, "--reason", "x" * 1001, "--yes"), "reason"),
        (("--list", "--study-uid", STUDY), "--list"),
        (("--sop-uid", "a", "--reason", "x"), "--sop-uid"),
    ],
)
def test_remove_refuses_what_was_not_said(
    relay: ArchiveCommand, archive: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], why: str
) -> None:
    """Exit code 2, and everything is there still."""
    told = relay("remove", "-a", archive, *options)

    assert told.code == 2
    assert why in told.err
    assert len(files(archive)) == len(INSTANCES)


def test_remove_asks_in_a_terminal(relay: ArchiveCommand, archive: Path) -> None:
    """No is exit code 130 and nothing is removed; yes removes."""
    words = ("remove", "-a", archive, "--study-uid", STUDY, "--reason", "by mistake")
    no = relay.in_terminal(80, *words, types="n\n")
    left = len(files(archive))
    yes = relay.in_terminal(80, *words, types="y\n")

    assert no.code == 130
    assert "for good? [y/N]" in no.out
    assert left == len(INSTANCES)
    assert yes.code == 0, yes.out
    assert len(files(archive)) < left


# retention


def test_retention_of_an_archive_that_no_ledger_knows(relay: ArchiveCommand, archive: Path) -> None:
    """Everything stays, unless --undocumented; then the oldest go, with tombstones."""
    bounds = ("retention", "-a", archive, "--max-bytes", "1")
    stay = relay.good(*bounds, "--yes", "--json")
    settings = relay.home / "relay.toml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text("[archive.retention]\nmin_days = 0\n")
    stay_now = relay.good(*bounds, "--yes", "--json")
    rehearsed = relay.good(*bounds, "--undocumented", "--dry-run", "--json")
    there = len(files(archive))
    refused = relay(*bounds, "--undocumented")
    gone = relay.good(*bounds, "--undocumented", "--yes", "--json")

    assert stay.json["studies"] == 0  # all of it came today
    assert (stay_now.json["studies"], stay_now.json["stay"]["undocumented"] > 0) == (0, True)
    assert rehearsed.json["instances"] == len(INSTANCES)
    assert there == len(INSTANCES)
    assert refused.code == 2
    assert "say --yes" in refused.err
    assert gone.json["instances"] == len(INSTANCES)
    assert files(archive) == []
    assert len(relay.good("remove", "--list", "-a", archive, "--json").json) == len(INSTANCES)


def test_retention_by_age_and_modality(relay: ArchiveCommand, archive: Path) -> None:
    """Nothing is that old; what makes no sense is refused."""
    (relay.home).mkdir()
    (relay.home / "relay.toml").write_text("[archive.retention]\nmin_days = 0\nundocumented = true\n")
    young = relay.good("retention", "-a", archive, "--older-than", "1", "--dry-run")
    old = relay.good(
        "retention", "-a", archive, "--older-than", "0.0000001", "--modality", "CR", "--dry-run", "--verbose"
    )

    assert "would go: 0 studies" in young.err
    assert "would go: 1 study" in old.err
    assert old.out.startswith("goes ")
    assert relay("retention", "-a", archive).code == 2
    assert relay("retention", "-a", archive, "--modality", "CR").code == 2
    assert relay("retention", "-a", archive, "--older-than", "0").code == 2
    assert relay("retention", "-a", archive, "--max-bytes", "0").code == 2


def test_retention_of_the_home_asks_its_ledger(relay: ArchiveCommand) -> None:
    """Where nothing has run there is none: exit code 2, and nothing goes."""
    relay.good("init")
    relay.good("import", *sample_files("CT_small.dcm"))
    told = relay("retention", "--max-bytes", "1", "--yes")

    assert told.code == 2
    assert "nothing has run here yet" in told.err
    assert relay.good("stats", "--json").json["instances"] == 1


# rebuild-index


def test_rebuild_index_makes_the_same_archive_from_the_files(
    relay: ArchiveCommand, filled: Path, archive: Path
) -> None:
    """The index gone altogether; the answers are those of before."""
    for path in archive.glob("index.sqlite*"):
        path.unlink()
    none = relay("query", "-a", archive)
    told = relay.good("rebuild-index", "-a", archive, "--json")

    assert none.code == 2
    assert "rebuild-index" in none.err
    assert told.json["instances"] == len(INSTANCES)
    assert "no difference" in relay.good("diff", filled, "-a", archive).err
    assert relay.good("list", "-a", archive).out == relay.good("list", "-a", filled).out
    assert relay.good("rebuild-index", "-a", archive, "--workers", "1").code == 0


def test_rebuild_index_names_what_is_no_instance(relay: ArchiveCommand, archive: Path) -> None:
    """Exit code 1; it stays where it is."""
    stray = files(archive)[0].with_name("letter.dcm")
    stray.write_text("no image")
    told = relay("rebuild-index", "-a", archive, "--json")

    assert told.code == 1
    assert told.json["instances"] == len(INSTANCES)
    assert [Path(each["path"]).name for each in told.json["problems"]] == ["letter.dcm"]
    assert stray.exists()


def test_rebuild_index_refuses_what_has_no_files(relay: ArchiveCommand, tmp_path: Path) -> None:
    """No folder, a folder of something else."""
    (tmp_path / "else").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "else"):
        told = relay("rebuild-index", "-a", folder)
        assert told.code == 2, told.err
    assert list((tmp_path / "else").iterdir()) == []
