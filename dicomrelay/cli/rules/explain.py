"""`dicomrelay rules explain`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.cli.rules.subjects import Bytes, facts_of_file
from dicomrelay.cli.rules.telling import decision_line, node_json, outcome_words, rule_lines
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.journey import INSTANCE, Subject
from dicomrelay.ledger.values_decisions import DecisionRow, InstanceDecision, Level
from dicomrelay.routing.book import rule_set
from dicomrelay.routing.facts import Facts, NotRecorded, Scope
from dicomrelay.routing.recording import asks_for_more, decided_at, outcome, stored_facts
from dicomrelay.routing.rules import Rule, RuleSet


@relay_command(
    about="Why an instance goes where it goes: each rule, whether it matches, and every test with what it saw. Of a FILE as if "
    "it came now, from who the options say; of a UID of a study, a series or an instance what was decided, and what the rules in "
    "force, or those of --with, say with the facts and the time of then. Values that may be a patient's are shown with "
    "--verbose only.",
    examples="dicomrelay rules explain slice.dcm --source-ae CT_1\n"
    "dicomrelay rules explain 1.2.840.113619.2.1.7 --with new.toml\ndicomrelay rules explain 1.2.840.113619.2.1 --json",
)
@click.argument("subject", metavar="FILE|UID")
@click.option(
    "--with",
    "file",
    type=GivenPath(path_type=Path, dir_okay=False),
    help="A file of rules.  [default: those in force]",
)
@click.option("--source-ae", default="", help="The AE title that sends the file.")
@click.option("--called-ae", default=None, help="The AE title it is sent to.  [default: gateway.ae_title]")
@click.option("--peer", "address", default="127.0.0.1", show_default=True, help="The address it comes from.")
def command(
    invocation: Invocation,
    subject: str,
    file: Path | None,
    source_ae: str,
    called_ae: str | None,
    address: str,
) -> int:
    settings = invocation.settings
    rules = rule_set(settings, file)
    path = Path(subject)
    if path.is_file():
        called = called_ae or settings.gateway.ae_title
        facts = facts_of_file(path, rules, source=source_ae, called=called, address=address)
        explained = _Explained(rules, [facts], time.time_ns() // 1_000_000, [])
    else:
        with opened_ledger(settings) as ledger:
            explained = _of_ledger(ledger, rules, Bytes(settings), subject)
    if invocation.as_json:
        invocation.emit(explained.as_json(verbose=invocation.verbose))
    else:
        for line in explained.lines(verbose=invocation.verbose, archived=settings.archive.enabled):
            click.echo(line)
    return ExitCode.OK


class _Explained:
    """Rules asked about instances, and what was decided about them before."""

    def __init__(
        self,
        rules: RuleSet,
        members: list[Facts],
        at_ms: int,
        stored: list[DecisionRow],
        shown: int = 0,
        series: list[Facts] | None = None,
    ) -> None:
        self._rules = rules
        self._of = {Level.INSTANCE: [members[shown]], Level.SERIES: series or members, Level.STUDY: members}
        self._at_ms = at_ms
        self._stored = stored
        self._first = members[shown]

    def _scopes(self) -> Iterator[tuple[Rule, Scope, bool]]:
        """Each rule with what it is asked of, and whether it is asked."""
        scopes = {level: Scope.at(members, self._at_ms) for level, members in self._of.items()}
        stopped = False
        for rule in self._rules.rules:
            scope = scopes[Level(rule.settings.trigger)]
            yield rule, scope, not stopped
            try:
                stopped = stopped or (rule.settings.stop and rule.when.holds(scope))
            except NotRecorded:
                continue

    def _outcome(self) -> dict[str, Any] | None:
        try:
            return outcome(self._rules.decide(self._first, self._at_ms))
        except NotRecorded:
            return None

    def lines(self, *, verbose: bool, archived: bool) -> Iterator[str]:
        """For people."""
        for row in self._stored:
            yield decision_line(row, archived=archived)
        yield f"by version {self._rules.version}:"
        for rule, scope, asked in self._scopes():
            yield from rule_lines(rule, scope, verbose=verbose, asked=asked)
        if not self._rules.rules:
            yield "no rules: every destination that is not for moves only"
        came = self._outcome()
        words = "not known" if came is None else outcome_words(came, archived=archived)
        yield f"so by its own rules: {words}"

    def as_json(self, *, verbose: bool) -> dict[str, Any]:
        """For machines."""
        return {
            "version": self._rules.version,
            "decided": [
                {
                    "level": row.level.value,
                    "subject": row.subject,
                    "at": row.at,
                    "version": row.decided.version,
                    "rules": row.decided.rules,
                    "outcome": row.decided.outcome,
                }
                for row in self._stored
            ],
            "rules": [
                {
                    "position": rule.position,
                    "name": rule.settings.name,
                    "trigger": rule.settings.trigger,
                    "asked": asked,
                    "condition": node_json(rule.when.explain(scope), verbose=verbose),
                }
                for rule, scope, asked in self._scopes()
            ],
            "outcome": self._outcome(),
        }


def _of_ledger(ledger: Ledger, rules: RuleSet, read: Bytes, uid: str) -> _Explained:
    subject = ledger.journey.find(uid)
    instances = ledger.rulings.of_instances(subject.study_instance_uids)
    mine = [number for number, each in enumerate(instances) if _is_of(subject, each)]
    if not mine:
        raise ConfigurationError(
            f"{uid}: no rule was asked about it: somebody named its destinations, or what was decided is pruned; "
            f"`dicomrelay trace {uid}` tells where it went"
        )
    first = instances[mine[0]]
    facts = [_facts(each, rules, read) for each in instances]
    rows = ledger.rulings.about(
        [
            *(instances[number].facts.instance_id for number in mine[:1]),
            first.facts.series_instance_uid,
            first.row.study_instance_uid,
        ]
    )
    series = [
        fact
        for fact, each in zip(facts, instances, strict=True)
        if each.facts.series_instance_uid == first.facts.series_instance_uid
    ]
    return _Explained(rules, facts, decided_at(first.row.decided), rows, mine[0], series)


def _is_of(subject: Subject, each: InstanceDecision) -> bool:
    if subject.level == INSTANCE:
        return each.facts.sop_instance_uid == subject.uid
    return subject.uid in (each.facts.series_instance_uid, each.row.study_instance_uid)


def _facts(each: InstanceDecision, rules: RuleSet, read: Bytes) -> Facts:
    stored = stored_facts(each)
    return (read(each, rules, stored) or stored) if asks_for_more(rules, stored) else stored
