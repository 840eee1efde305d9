"""The text that Prometheus reads, held against the parser of its own client."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from dicomrelay.metrics import catalogue
from dicomrelay.metrics.exposition import render
from dicomrelay.metrics.families import Kind
from dicomrelay.metrics.gathering import Gathered


def test_every_family_is_read_as_what_it_is() -> None:
    """Name, type, labels and figures come back; a histogram's buckets rise, and its count is that of the last."""
    gathered = Gathered()
    for family in catalogue.FAMILIES.values():
        labels = [f"{name} of it" for name in family.labels]
        gathered.take((family.name, *labels), [float(number + 1) for number in range(family.width)])

    read = {family.name: family for family in text_string_to_metric_families(render(gathered))}

    for family in catalogue.FAMILIES.values():
        # The parser leaves the ending of a counter out.
        mine = read[family.name.removesuffix("_total") if family.kind is Kind.COUNTER else family.name]
        assert (mine.type, mine.documentation) == (family.kind.value, family.help)
        assert {sample.name for sample in mine.samples} == set(family.sample_names)
        for sample in mine.samples:
            assert {name: f"{name} of it" for name in family.labels}.items() <= sample.labels.items()
        if family.kind is Kind.HISTOGRAM:
            counts = [sample.value for sample in mine.samples if sample.name.endswith("_bucket")]
            bounds = [float(sample.labels["le"]) for sample in mine.samples if "le" in sample.labels]
            assert counts == sorted(counts)
            assert bounds == [*family.buckets, math.inf]
            (count,) = (sample.value for sample in mine.samples if sample.name.endswith("_count"))
            (total,) = (sample.value for sample in mine.samples if sample.name.endswith("_sum"))
            assert count == counts[-1] == sum(range(1, family.width))
            assert total == family.width


@settings(max_examples=40)
@given(st.text(max_size=70), st.floats(allow_nan=False))
def test_any_label_and_any_figure_come_back(source: str, figure: float) -> None:
    """Quotes, backslashes and ends of lines too; what holds nothing is not shown."""
    gathered = Gathered()
    gathered.take((catalogue.RECEIVED.name, source, "dimse"), [figure])

    ((sample,),) = (family.samples for family in text_string_to_metric_families(render(gathered)))

    assert sample.labels == {"source": source, "protocol": "dimse"}
    assert sample.value == figure


def test_nothing_is_shown_of_nothing() -> None:
    """No families without series."""
    assert render(Gathered()) == ""
