"""`dicomrelay archive init, import`: the real commands on real files, every option, well used and not."""

from __future__ import annotations

from pathlib import Path

from tests.support.archive_command import ArchiveCommand, changed, header_values, sample_files, sample_folder

INSTANCES = header_values(sample_folder())


# init


def test_init_makes_an_archive_for_our_user_only(relay: ArchiveCommand, tmp_path: Path) -> None:
    """With an index, and nothing in it; --path and -p, here or in the home."""
    told = relay.good("init", "--path", tmp_path / "a" / "b", "--json")
    home = relay.good("init")

    assert told.json == {
        "archive": str(tmp_path / "a" / "b"),
        "policy": "keep-first",
        "moved_to": None,
        "left": [],
    }
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert str(relay.home / "archive") in home.err
    assert relay.good("stats", "--json").json["instances"] == 0
    assert relay.good("query", "-a", tmp_path / "a" / "b", "--json").json == []


def test_init_says_the_policy_that_applies(relay: ArchiveCommand, tmp_path: Path) -> None:
    """The settings' goes before that of the option, for the home's archive; another one has its own."""
    relay.home.mkdir()
    (relay.home / "relay.toml").write_text('[archive]\npolicy = "replace"\n')
    plain = relay.good("init")
    asked = relay.good("init", "--force", "--policy", "refuse")
    other = relay.good("init", "-p", tmp_path / "a")

    assert "policy replace" in plain.err
    assert "policy replace" in asked.err
    assert "archive.policy of the settings says replace, and goes before --policy refuse" in asked.err
    assert "policy keep-first" in other.err


def test_init_leaves_an_archive_alone(relay: ArchiveCommand, tmp_path: Path) -> None:
    """Exit code 2, and it says what to do; with --force it is moved aside, and nothing of it is lost."""
    relay.good("init", "-p", tmp_path / "a")
    relay.good("import", *sample_files("CT_small.dcm"), "-a", tmp_path / "a")

    refused = relay("init", "-p", tmp_path / "a")
    forced = relay.good("init", "-p", tmp_path / "a", "--force", "--json")

    assert refused.code == 2
    assert "holds an archive already" in refused.err
    assert "--force" in refused.err
    assert relay.good("stats", "-a", tmp_path / "a", "--json").json["instances"] == 0
    moved = Path(forced.json["moved_to"])
    assert moved.parent == tmp_path / "a"
    assert moved.name.startswith("before-")
    assert relay.good("stats", "-a", moved, "--json").json["instances"] == 1
    assert relay.good("check", "-a", moved, "--verify-files").code == 0


def test_init_refuses_what_is_no_empty_folder(relay: ArchiveCommand, tmp_path: Path) -> None:
    """Somebody's files, and a file; --force leaves the files where they are."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")

    full, file = relay("init", "-p", tmp_path / "full"), relay("init", "-p", tmp_path / "file")
    forced = relay.good("init", "-p", tmp_path / "full", "--force")

    assert (full.code, file.code) == (2, 2)
    assert "letter.txt" in full.err
    assert "is a file" in file.err
    assert "letter.txt" in forced.err
    assert (tmp_path / "full" / "letter.txt").read_text() == "mine"


def test_init_with_a_policy(relay: ArchiveCommand, tmp_path: Path) -> None:
    """What the archive does from then on; an unknown one is refused by name."""
    relay.good("init", "-p", tmp_path / "a", "--policy", "refuse")
    relay.good("import", "-a", tmp_path / "a", *sample_files("CT_small.dcm"))
    conflict = relay("import", "-a", tmp_path / "a", changed(tmp_path), "--json")
    (listed,) = relay.good("conflicts", "list", "-a", tmp_path / "a", "--json").json

    assert (conflict.code, conflict.json["conflict"]) == (1, 1)
    assert listed["relative_path"] == ""
    assert relay("init", "-p", tmp_path / "b", "--policy", "newest").code == 2


# import


def test_import_takes_folders_as_deep_as_it_is_told(relay: ArchiveCommand, tmp_path: Path) -> None:
    """Without --recursive the files of the folder itself; DICOMDIRs and texts are passed over, and counted."""
    relay.good("init", "-p", tmp_path / "a")
    flat = relay.good("import", "-a", tmp_path / "a", sample_folder() / "77654033", "--json")
    deep = relay.good("import", "-a", tmp_path / "a", sample_folder(), "--recursive", "--json")

    assert (flat.json["files"], flat.json["stored"]) == (0, 0)
    assert "folders in folders are looked at with --recursive" in flat.err
    assert deep.json["stored"] == len({each["SOPInstanceUID"] for each in INSTANCES})
    assert deep.json["skipped"] > 0
    assert deep.json["refused"] == deep.json["conflict"] == 0


def test_import_again_changes_nothing(relay: ArchiveCommand, tmp_path: Path) -> None:
    """The same bytes are one copy, with --skip-duplicates and without: exit code 0."""
    relay.good("init", "-p", tmp_path / "a")
    files = sample_files("CT_small.dcm", "MR_small.dcm", "rtplan.dcm")
    first = relay.good("import", "-a", tmp_path / "a", *files, "--json")
    again = relay.good("import", "-a", tmp_path / "a", *files, "--json")
    skipping = relay.good("import", "-a", tmp_path / "a", *files, "--skip-duplicates", "--json")

    assert (first.json["stored"], first.json["already_there"]) == (3, 0)
    assert (again.json["stored"], again.json["already_there"]) == (0, 3)
    assert (skipping.json["stored"], skipping.json["already_there"]) == (0, 3)
    assert relay.good("stats", "-a", tmp_path / "a", "--json").json["instances"] == 3


def test_other_bytes_are_a_conflict_unless_duplicates_are_skipped(
    relay: ArchiveCommand, tmp_path: Path
) -> None:
    """Exit code 1, set aside and listed; --skip-duplicates: listed all the same, exit code 0."""
    relay.good("init", "-p", tmp_path / "a")
    relay.good("import", "-a", tmp_path / "a", *sample_files("CT_small.dcm", "MR_small.dcm"))
    told = relay("import", "-a", tmp_path / "a", changed(tmp_path))
    skipped = relay.good(
        "import", "-a", tmp_path / "a", changed(tmp_path, "MR_small.dcm"), "--skip-duplicates"
    )

    assert told.code == 1
    assert "1 conflict" in told.err
    assert "conflicts list" in told.err
    assert "1 conflict" in skipped.err
    assert len(relay.good("conflicts", "list", "-a", tmp_path / "a", "--json").json) == 2


def test_what_is_named_and_cannot_be_imported_is_told(relay: ArchiveCommand, tmp_path: Path) -> None:
    """A text, an empty file, a truncated one, a name that is not there: exit code 1 and why, and the good ones are in."""
    relay.good("init", "-p", tmp_path / "a")
    (tmp_path / "letter.txt").write_text("no image")
    (tmp_path / "empty.dcm").touch()
    files = (
        *sample_files("CT_small.dcm", "MR_truncated.dcm"),
        tmp_path / "letter.txt",
        tmp_path / "empty.dcm",
        tmp_path / "nowhere.dcm",
    )
    told = relay("import", "-a", tmp_path / "a", *files, "--json")
    problems = {Path(each["path"]).name: each["reason"] for each in told.json["problems"]}

    assert told.code == 1
    assert told.json["files"] == 5
    assert told.json["stored"] >= 1
    assert {"letter.txt", "empty.dcm", "nowhere.dcm"} <= set(problems)
    assert all(problems.values())
    assert "nowhere.dcm" in told.err


def test_verbose_import_names_every_file(relay: ArchiveCommand, tmp_path: Path) -> None:
    """With what became of it, on standard error."""
    relay.good("init", "-p", tmp_path / "a")
    told = relay.good(
        "import", "-a", tmp_path / "a", *sample_files("CT_small.dcm", "rtplan.dcm"), "--verbose"
    )

    assert told.out == ""
    assert sum(line.startswith("stored: ") for line in told.err.splitlines()) == 2
    assert "CT_small.dcm" in told.err


def test_import_by_several_processes(relay: ArchiveCommand, tmp_path: Path) -> None:
    """As many as are asked for; the archive is the same as by one."""
    for workers in ("1", "3"):
        relay.good("init", "-p", tmp_path / workers)
        told = relay.alone(
            "import", "-a", tmp_path / workers, sample_folder(), "-r", "--workers", workers, "--json"
        )
        assert told.code == 0, told.err
    same = relay.good("diff", tmp_path / "1", "-a", tmp_path / "3")

    assert "no difference" in same.err
    assert relay("import", "-a", tmp_path / "1", tmp_path, "--workers", "0").code == 2
    assert relay("import", "-a", tmp_path / "1").code == 2


def test_the_archive_of_the_home_is_the_one_without_archive(relay: ArchiveCommand, tmp_path: Path) -> None:
    """And `archive.path` of the settings, when it says so."""
    relay.good("init")
    relay.good("import", *sample_files("CT_small.dcm"))
    (relay.home / "relay.toml").write_text(f'[archive]\npath = "{tmp_path / "else"}"\n')
    none = relay("stats")
    relay.good("init")

    assert none.code == 2
    assert relay.good("stats", "--json").json["instances"] == 0
    assert relay.good("stats", "-a", relay.home / "archive", "--json").json["instances"] == 1
