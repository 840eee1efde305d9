"""QIDO-RS against real files: matching, fields, order, pages, at all six addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread

from archive import Archive
from tests.support.archive import pydicom_file, pydicom_files, request_for
from tests.support.streamer import running_streamer

LEVELS = {"studies": "0020000D", "series": "0020000E", "instances": "00080018"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = tmp_path_factory.mktemp("home")
    umlaut = tmp_path_factory.mktemp("files") / "umlaut.dcm"
    data_set = dcmread(pydicom_file("CT_small.dcm"))
    data_set.SpecificCharacterSet = "ISO_IR 100"
    data_set.PatientName, data_set.PatientID = "Müller^Jörg", "77"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(data_set, keyword, f"{data_set[keyword].value[:40]}.77")
    request = Dataset()
    request.ScheduledProcedureStepID, request.RequestedProcedureID = "STEP 7", "REQ 77"
    data_set.RequestAttributesSequence = [request]
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    data_set.save_as(umlaut)
    with closing(Archive.open(home / "archive")) as archive:
        archive.store([request_for(path) for path in (*pydicom_files(), umlaut)])
    with running_streamer(home) as client:
        yield client


def found(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def values(rows: list[dict[str, Any]], tag: str) -> list[Any]:
    return [row.get(tag, {}).get("Value", [None])[0] for row in rows]


def test_all_six_addresses_agree(client: httpx.Client) -> None:
    """What is below a study or a series is what the whole has of it."""
    everything = {level: found(client, f"/{level}?limit=1000") for level in LEVELS}
    study = found(client, "/studies?PatientID=1CT1")[0]["0020000D"]["Value"][0]
    for level in ("series", "instances"):
        below = found(client, f"/studies/{study}/{level}")
        expected = [row for row in everything[level] if row["0020000D"]["Value"] == [study]]
        assert values(below, LEVELS[level]) == values(expected, LEVELS[level]) != []
        assert values(found(client, f"/{level}?StudyInstanceUID={study}"), LEVELS[level]) == values(
            below, LEVELS[level]
        )
    series = below[0]["0020000E"]["Value"][0]
    assert values(found(client, f"/studies/{study}/series/{series}/instances"), "00080018") == values(
        below, "00080018"
    )
    assert found(client, f"/studies/{study}/series?StudyInstanceUID=1.2.3") == []
    assert found(client, "/studies?limit=0") == []


def test_pages_neither_repeat_nor_skip(client: httpx.Client) -> None:
    """In the usual order and in one that is full of ties."""
    for order in ("", "&orderby=Modality", "&orderby=-PatientSex,Modality"):
        whole = values(found(client, f"/instances?limit=1000{order}"), "00080018")
        paged = []
        while page := values(found(client, f"/instances?limit=17&offset={len(paged)}{order}"), "00080018"):
            paged += page
        assert paged == whole
        assert len(set(whole)) == len(whole) > 50


def test_the_order_asked_for(client: httpx.Client) -> None:
    """Ascending, descending, and a word about what cannot be sorted by."""
    dates = values(found(client, "/studies?limit=1000&orderby=StudyDate"), "00080020")
    assert dates == sorted(dates, key=lambda date: date or "")
    down = values(found(client, "/studies?limit=1000&orderby=-StudyDate"), "00080020")
    assert down == sorted(dates, key=lambda date: date or "", reverse=True)
    assert client.get("/studies?orderby=Rows").status_code == 400


def test_names_match_by_how_they_sound(client: httpx.Client) -> None:
    """fuzzymatching, without a warning; without it they do not match."""
    for name in ("Muller", "Mueler Jorg", "joerg muller", "Miller"):
        fuzzy = client.get(f"/studies?fuzzymatching=true&PatientName={name}")
        assert "Müller^Jörg" in [row["00100010"]["Value"][0]["Alphabetic"] for row in fuzzy.json()], name
        assert "warning" not in fuzzy.headers
        assert found(client, f"/studies?PatientName={name}") == []


def test_text_is_utf_8(client: httpx.Client) -> None:
    """Whatever character set it came in; matched without regard to case."""
    answer = client.get("/studies?PatientName=M%C3%9CLL*")
    [row] = answer.json()
    assert "Müller".encode() in answer.content
    assert row["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert Dataset.from_json(row).PatientName == "Müller^Jörg"


def test_fields_are_added_and_what_is_not_there_is_said(client: httpx.Client) -> None:
    """By keyword, tag and all; an attribute that is matched comes too."""
    plain = found(client, "/instances?limit=1")[0]
    more = client.get("/instances?limit=1&includefield=00081010,BodyPartExamined&includefield=PixelData")
    everything = found(client, "/instances?limit=1&includefield=all")[0]
    matched = found(client, "/studies?IssuerOfPatientID=&limit=1")[0]

    assert {"00081010", "00180015"} <= set(more.json()[0]) - set(plain)
    assert "PixelData" in more.headers["warning"]
    assert set(more.json()[0]) < set(everything)
    assert "00100021" in matched


def test_what_the_index_has_not_is_looked_up_in_the_file(client: httpx.Client) -> None:
    """Of an instance anything but bulk data; of a series what is the same in all of it."""
    [ct] = found(
        client, "/instances?PatientID=1CT1&includefield=PixelSpacing,00080008,OtherPatientIDsSequence"
    )
    stored = dcmread(pydicom_file("CT_small.dcm"))

    assert ct["00280030"]["Value"] == [float(each) for each in stored.PixelSpacing]
    assert ct["00080008"]["Value"] == list(stored.ImageType)
    assert len(ct["00101002"]["Value"]) == len(stored.OtherPatientIDsSequence)
    [series] = found(client, "/series?PatientID=1CT1&includefield=ManufacturerModelName,PixelSpacing")
    assert (series["00081090"]["Value"], "00280030" in series) == ([stored.ManufacturerModelName], False)


def test_a_series_is_found_by_its_request(client: httpx.Client) -> None:
    """Inside of the Request Attributes Sequence, by keywords and by tags, with what else was asked (PS3.18 Table 10.6.1-5)."""
    by_step = found(client, "/series?RequestAttributesSequence.ScheduledProcedureStepID=STEP*&limit=5")
    by_tags = found(client, "/series?00400275.00401001=REQ%2077&PatientID=77")
    instances = found(client, "/instances?00400275.00401001=REQ%2077&PatientID=77")

    assert values(by_step, "00100020") == values(by_tags, "00100020") == ["77"]
    [item] = by_step[0]["00400275"]["Value"]
    assert (item["00400009"]["Value"], item["00401001"]["Value"]) == (["STEP 7"], ["REQ 77"])
    assert len(instances) == 1
    assert found(client, "/series?00400275.00401001=other&PatientID=77") == []
    assert client.get("/studies?00400275.00401001=1").status_code == 400
    assert client.get("/series?00400275.00100020=1").status_code == 400


def test_a_study_without_a_modality_has_no_element_for_it(client: httpx.Client) -> None:
    """Viewers of others read its first value, and show no study at all when there is none."""
    rows = found(client, "/studies?limit=1000")
    without = [row for row in rows if "00080061" not in row]

    assert without
    assert all(row["00080061"]["Value"] for row in rows if row not in without)


def test_values_have_the_representation_of_the_standard(client: httpx.Client) -> None:
    """pydicom reads every row, and its dictionary agrees with every VR."""
    for level in LEVELS:
        for row in found(client, f"/{level}?limit=1000&includefield=all"):
            data_set = Dataset.from_json(row)
            for element in data_set:
                fresh = Dataset()
                setattr(fresh, element.keyword, element.value)
                assert fresh[element.tag].VR == element.VR


def test_dicomweb_client_searches(client: httpx.Client) -> None:
    """A client of others, with its own ways to ask."""
    web = DICOMwebClient(str(client.base_url))
    [study] = web.search_for_studies(
        search_filters={"PatientID": "1CT1"}, fields=["StudyDescription", "00100040"]
    )
    [series] = web.search_for_series(study["0020000D"]["Value"][0])
    instances = web.search_for_instances(
        study["0020000D"]["Value"][0], series["0020000E"]["Value"][0], limit=5
    )
    fuzzy = web.search_for_studies(
        fuzzymatching=True, search_filters={"PatientName": "muller"}, limit=10, offset=0
    )

    assert [each["00080018"]["Value"] for each in instances] == [
        [dcmread(pydicom_file("CT_small.dcm")).SOPInstanceUID]
    ]
    assert len(fuzzy) == 1
