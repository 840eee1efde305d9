"""Routing: which instance goes where, how urgently, and when to try again (docs/design/routing.md). No I/O."""

from dicomrelay.routing.address import Address, parse_address
from dicomrelay.routing.destinations import Destination, ad_hoc, closed, configured, resolve
from dicomrelay.routing.facts import Facts
from dicomrelay.routing.retry import RetryPolicy, retry_delay_s
from dicomrelay.routing.rules import Decision, decide, glob_matches, matches, rules_version
from dicomrelay.routing.targets import target_of

__all__ = [
    "Address",
    "Decision",
    "Destination",
    "Facts",
    "RetryPolicy",
    "ad_hoc",
    "closed",
    "configured",
    "decide",
    "glob_matches",
    "matches",
    "parse_address",
    "resolve",
    "retry_delay_s",
    "rules_version",
    "target_of",
]
