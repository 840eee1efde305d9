"""`dicomrelay hosts`."""

from __future__ import annotations

import click

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ExitCode
from dicomrelay.ledger.hosts import HostFound
from dicomrelay.runtime.home import is_shared


@relay_command(
    about="The hosts at this ledger: whose scheduler was heard of, who leads, what lies in the spool of each and nowhere else. "
    "Exit code 1 when a host that was not heard of has instances of which there is no other copy. Where the ledger is a file "
    "of this home there is this host alone, which tells nobody that it runs: `dicomrelay status` says how it is.",
    examples="dicomrelay hosts\ndicomrelay hosts --json",
)
def command(invocation: Invocation) -> int:
    alone = not is_shared(invocation.settings)
    with opened_ledger(invocation.settings) as ledger:
        found = ledger.hosts()
    if invocation.as_json:
        invocation.emit({"alone": alone, "hosts": [_as_json(each) for each in found]})
    elif alone:
        click.echo("this host alone: the ledger is a file of its home; `dicomrelay status` says how it is")
        for each in found:
            if each.only_there:
                click.echo(f"{each.spool}: {_lies(each)}")
    else:
        click.echo(
            "\n".join(map(_line, found)) or "none: nothing has been received, and no scheduler has run"
        )
    away = not alone and any(not each.is_heard and each.only_there for each in found)
    return ExitCode.SOME_FAILED if away else ExitCode.OK


def _as_json(host: HostFound) -> dict[str, object]:
    return {
        "spool": host.spool,
        "heard": host.is_heard,
        "heard_s_ago": None if host.heard_ms_ago is None else round(host.heard_ms_ago / 1000, 1),
        "leads": host.leads,
        "only_there": host.only_there,
    }


def _line(host: HostFound) -> str:
    if host.heard_ms_ago is None:
        heard = "its scheduler has not run with this ledger"
    elif host.is_heard:
        heard = "runs, leads" if host.leads else "runs"
    else:
        heard = f"NOT HEARD OF for {host.heard_ms_ago // 1000} s"
    return f"{host.spool}: {heard}" + (f"; {_lies(host)}" if host.only_there else "")


def _lies(host: HostFound) -> str:
    return f"{host.only_there} instances are in its spool and not in the archive yet"
