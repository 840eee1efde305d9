"""The entry point: which commands there are, and what an error becomes."""

from __future__ import annotations

import json
import os
import sys
from traceback import walk_tb
from typing import Final, NoReturn

import click

from dicomrelay import __version__
from dicomrelay.cli.lazy_group import LazyGroup
from dicomrelay.errors import ExitCode, RelayError

# Command → module and one line of help. Modules are imported when their command runs, so that --help is instant.
_COMMANDS: Final = {
    "up": ("up", "Everything on this machine, in the foreground."),
    "demo": ("demo", "Real studies through the whole system, and what arrived where."),
    "send": ("send", "Submit files and folders, and follow them to the end."),
    "receive": ("receive", "Receive by C-STORE into a folder."),
    "status": ("status", "What is where: studies, deliveries, what needs attention."),
    "trace": ("trace", "Every step of a study, a series or an instance, and what happens next."),
    "jobs": ("jobs", "What is under way: list, show, retry, hold, release, cancel, replay."),
    "destinations": ("destinations", "How each destination is doing; hold and release one."),
    "edits": ("edits", "Profiles that change copies on their way out: list, try, key."),
    "rules": ("rules", "What decides where instances go: check, explain, replay, activate, history."),
    "report": ("report", "What was sent, when, with which answer: a file that proves itself."),
    "alerts": ("alerting.group", "What the relay tells by itself: list, test."),
    "archive": ("archive", "The archive: query, list, import, export, check, and more."),
    "mpps": ("mpps", "Performed procedure steps: what modalities say, and who was told."),
    "worklist": ("worklist.group", "The worklist of modalities: add, import, list, show, set, remove."),
    "echo": ("echo", "C-ECHO toward destinations: is it there, does it know us."),
    "find": ("find", "C-FIND: what a peer has, or a worklist."),
    "move": ("move", "C-MOVE: let a peer send to a third AE."),
    "get": ("get", "C-GET: fetch from a peer into a folder."),
    "pull": ("pull", "Fetch studies from a node into the relay, as a durable job."),
    "sop-classes": ("sop_classes", "Every storage SOP class that is known, by category."),
    "transfer-syntaxes": ("transfer_syntaxes", "Every transfer syntax that is known, by category."),
    "conformance": ("conformance", "The DICOM Conformance Statement of this installation (PS3.2)."),
    "users": ("users", "Who may use the streamer's HTTP and Flower: add, list, remove, passwd, role, token."),
    "audit": ("audit", "Who did what, and what went where: list, check; ship to the audit repository."),
    "check": ("check", "Hold spool, ledger and archive against each other."),
    "repair": ("repair", "Mend what can be mended without losing anything; rebuild a lost ledger."),
    "backup": ("backup", "Back up ledger, index, settings and audit trail while the relay works."),
    "restore": ("restore", "Restore a backup: looked at first, and nothing is overwritten."),
    "hosts": ("hosts", "The hosts at this ledger: who runs, who leads, what is nowhere else."),
    "scale-signal": ("scale_signal", "How many forward workers the work at hand could use, for autoscalers."),
    "doctor": ("doctor", "What is wrong with this installation, and what to do about it."),
    "gateway": ("gateway", "The listener alone."),
    "worker": ("worker", "A worker alone."),
    "scheduler": ("scheduler", "The sweeper alone."),
    "streamer": ("streamer", "DICOMweb alone."),
    "monitor": ("monitor", "Flower alone."),
    "viewer": ("viewer", "Viewers in the browser: install OHIF beside the one built in."),
}


# Options that every command takes, or every one of a group, and the group does not.
_OF_COMMANDS: Final = frozenset({"--config", "--home", "--json", "--verbose", "-v", "--archive", "-a"})
# Before the reason, such as a full disk.
_NO_OUTPUT: Final = (
    "standard output cannot be written, and what was to be said is cut; what was done before is done"
)


@click.group(
    cls=LazyGroup,
    modules={name: (f"dicomrelay.cli.{module}", text) for name, (module, text) in _COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 all well, 1 some instance failed, 2 wrong usage or settings, 3 peer or service not reachable, "
    "4 integrity fault, 130 interrupted, 141 nobody reads the output any more.",
)
@click.version_option(__version__, prog_name="dicomrelay")
def cli() -> None:
    """A store-and-forward router for medical images that never loses one, and can prove it."""


def main() -> NoReturn:
    """Run a command and leave with the exit code that tells how it went."""
    output = sys.stdout
    try:
        result = cli.main(prog_name="dicomrelay", standalone_mode=False)
        code = int(result) if isinstance(result, int) else ExitCode.OK
    except click.NoSuchOption as error:
        code = _wrong_usage(_place(error))
    except click.ClickException as error:
        code = _wrong_usage(error)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = ExitCode.INTERRUPTED
    except RelayError as error:
        _show(error)
        code = error.exit_code
    except SystemExit:
        # Whoever read our output has seen enough: click puts another one in its place then, and ends with 1.
        if sys.stdout is output:
            raise
        _give_up_output()
        code = ExitCode.OUTPUT_CLOSED
    except OSError as error:
        if not _is_of_output(error):
            raise
        _give_up_output()
        click.echo(f"dicomrelay: {_NO_OUTPUT}: {error.strerror}", err=True)
        code = ExitCode.SOME_FAILED
    sys.exit(int(code))


def _is_of_output(error: OSError) -> bool:
    """Whether it came of writing what is said, and of no file."""
    return any(frame.f_code is click.echo.__code__ for frame, _ in walk_tb(error.__traceback__))


def _give_up_output() -> None:
    """Nothing more goes there; the interpreter would complain once more when it closes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def _place(error: click.NoSuchOption) -> click.UsageError:
    """An option that every command takes, written before the command: where it goes."""
    name = error.option_name
    if error.ctx is None or not isinstance(error.ctx.command, click.Group) or name not in _OF_COMMANDS:
        return error
    path = error.ctx.command_path
    return click.UsageError(f"{name} goes behind the command: {path} COMMAND {name} ...", error.ctx)


def _wrong_usage(error: click.ClickException) -> ExitCode:
    error.show()
    _tell_machines(error.format_message(), type(error).__name__, ExitCode.USAGE)
    return ExitCode.USAGE


def _show(error: RelayError) -> None:
    click.echo(f"dicomrelay: {error}", err=True)
    _tell_machines(str(error), type(error).__name__, error.exit_code)


def _tell_machines(words: str, kind: str, code: ExitCode) -> None:
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": words, "kind": kind, "exit_code": int(code)}))
