"""`dicomrelay trace`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import click

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.operating.stopping import outside_now
from dicomrelay.cli.operating.words import counted
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.tracing.performed import performed_lines, performed_steps
from dicomrelay.cli.tracing.places import places
from dicomrelay.errors import ExitCode
from dicomrelay.ledger.journey import INSTANCE, Subject, TracedInstance
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.telling.coming import comes_next, inside
from dicomrelay.telling.journey import inside_the_house, line, merged, standing, time_of
from dicomrelay.text import size

# More than one screen of places helps nobody; --json has all.
_FEW: Final = 5


@relay_command(
    about="Every step of a study, a series or an instance, oldest first: from where it came, by which rule it goes where, each "
    "attempt with its answer; then where the bytes lie now, what is open, and what happens next. "
    "It names no patient: the patient's folder in a path is a *.",
    examples="dicomrelay trace 1.2.840.113619.2.1\ndicomrelay trace 1.2.840.113619.2.1.7 --json",
)
@click.argument("uid")
def command(invocation: Invocation, uid: str) -> int:
    with opened_ledger(invocation.settings) as ledger:
        journey = ledger.journey
        subject = journey.find(uid)
        instances = journey.instances(subject)
        outside = outside_now(invocation.settings)
        deliveries = [
            dataclasses.replace(each, outside_of_windows=each.destination in outside)
            for each in journey.deliveries(subject)
        ]
        steps = journey.steps(
            subject,
            [instance.instance_id for instance in instances],
            sorted({delivery.transfer_id for delivery in deliveries if delivery.transfer_id}),
        )
    performed = performed_steps(invocation.settings, subject.study_instance_uids)
    where = {each.instance_id: _places(invocation.settings, each) for each in instances}
    if invocation.as_json:
        invocation.emit(
            {
                "level": subject.level,
                "uid": subject.uid,
                "studies": subject.study_instance_uids,
                "performed_steps": [dataclasses.asdict(each) for each in performed],
                "steps": [dataclasses.asdict(step) for step in steps],
                "instances": [
                    {**dataclasses.asdict(each), "places": where[each.instance_id], "open": inside(each)}
                    for each in instances
                ],
                "deliveries": [{**dataclasses.asdict(each), "next": comes_next(each)} for each in deliveries],
            }
        )
        return ExitCode.OK
    for text in (
        *_head(subject, instances),
        *performed_lines(performed),
        *(line(told) for told in merged(steps)),
        "",
        *_where(instances, where),
        *inside_the_house(instances),
        *standing(deliveries),
    ):
        click.echo(text)
    if not any(map(comes_next, deliveries)) and not any(map(inside, instances)):
        click.echo("nothing is open")
    return ExitCode.OK


def _head(subject: Subject, instances: Sequence[TracedInstance]) -> Iterator[str]:
    total = size(sum(each.data_set_bytes for each in instances))
    series = len({each.series_instance_uid for each in instances})
    yield f"{subject.level} {subject.uid}: {counted(len(instances), 'instance')} of {series} series, {total}"
    if subject.level != INSTANCE:
        return
    for each in instances:
        yield (
            f"{each.state} as {each.instance_id}: study {each.study_instance_uid}, series {each.series_instance_uid}, "
            f"{each.sop_class_uid} in {each.transfer_syntax_uid}, SHA-256 {each.digest}, received {time_of(each.received_at)}"
        )


def _places(settings: Settings, instance: TracedInstance) -> list[str]:
    identity = settings.path("spool", "identity")
    host = home.spool_name(settings) if identity.exists() else ""
    return places(instance, home=settings.home, host=host)


def _where(instances: Sequence[TracedInstance], where: dict[str, list[str]]) -> Iterator[str]:
    """The places of few instances by name, of many by kind."""
    if len(instances) <= _FEW:
        for each in instances:
            for place in where[each.instance_id]:
                yield f"lies in {place}"
        return
    kinds = Counter(place.partition(":")[0] for each in instances for place in where[each.instance_id])
    for kind, count in sorted(kinds.items()):
        yield f"{count} lie in: {kind}"
