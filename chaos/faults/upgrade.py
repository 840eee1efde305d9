"""Another version, and back, with work in flight: R35."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos import releases
from chaos.campaign import Campaign
from chaos.destination_process import DestinationProcess
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from chaos.instances import make_instances
from chaos.oracle import Account
from chaos.relay import Relay
from chaos.senders import EngineSender, Load, Tally
from dicomrelay.errors import ExitCode

_LOAD: Final = Load(per_association=10, pause_s=0.3, per_study=10)
_A_PART: Final = 30
_OF_A_JOB: Final = 5
_WITHIN_S: Final = 180.0
_DRAIN_S: Final = 300.0
_STARTS: Final = 5
# Younger files of the archive are left alone by a repair: somebody may still be writing them.
_SETTLED_S: Final = 61.0
_PROBES: Final = "probe_initial_s = 0.5\nprobe_max_s = 1"


@dataclass
class _Trial:
    """One relay that is of this version and of the release in turn, with a sender that never stops."""

    release: Path
    folder: Path
    seed: int
    kills: bool
    in_flight: list[int] = field(default_factory=list)
    pauses_s: list[float] = field(default_factory=list)
    faults: int = 0
    unreadable: int = 0

    def run(self) -> Account:
        """Up with work in flight, and back, and up: what came of it."""
        self.folder.mkdir()
        self.pacs = DestinationProcess("pacs", self.folder, more=_PROBES)
        self.relay = Relay(self.folder / "relay", self.pacs.toml(), log=self.folder / "up.log")
        stop = threading.Event()
        self.sender = EngineSender(
            self.relay.remote, self.folder / "files", self.seed, stop, window=1, load=_LOAD
        )
        self.all = Campaign(self.relay, [self.pacs], [self.sender], stop)
        self.sender.rest.set()
        self.sender.start()
        try:
            return self._run()
        finally:
            stop.set()
            self.relay.close()
            self.pacs.stop()

    def _run(self) -> Account:
        with releases.in_place(self.release):
            self._start()
            job = self._submit()
            self._more()
        backup = self._backup()  # by this version, beside the release at work
        self._end()

        self._start()
        self._more()
        self.pacs.start()
        self._wait(lambda: self.all.missing(set()) == 0 and len(self.pacs.uids) >= _A_PART, "a part arrives")
        self.pacs.stop()
        self._more()
        self._end()
        self._done("restore", str(backup), "--replace", "ledger", "--replace", "index", "--keep-revision")
        restored_at = time.monotonic()

        with releases.in_place(self.release):
            # What the archive got within the last minute is taken in by the second one: until then its instances are told of.
            self._done("repair", also=ExitCode.INTEGRITY)
            self._start()
            self._more()
            self._end()

        self._start()
        self.pacs.start()
        time.sleep(max(0.0, restored_at + _SETTLED_S - time.monotonic()))
        self._done("repair")
        self._known(job)
        account = self.all.finish(within_s=_DRAIN_S)
        checked = self.relay.command("check", "--json", timeout_s=_WITHIN_S)
        self.faults = int(json.loads(checked.stdout)["faults"])
        return account

    def _start(self) -> None:
        """Until it is ready; a machine that is busy with others gets further tries, each a start after a kill."""
        for left in reversed(range(_STARTS)):
            try:
                self.relay.start()
            except TimeoutError:
                self.relay.kill_everything()
                if not left:
                    raise
            else:
                return

    def _more(self) -> None:
        """Some more are acknowledged; the first of them tells how long the senders had to wait."""
        asked = len(self.sender.tally.acknowledged) + _A_PART
        self.sender.rest.clear()
        began, first = time.monotonic(), len(self.sender.tally.acknowledged)
        self._wait(lambda: len(self.sender.tally.acknowledged) > first, "the gateway acknowledges")
        self.pauses_s.append(time.monotonic() - began)
        self._wait(lambda: len(self.sender.tally.acknowledged) >= asked, "some are acknowledged")

    def _end(self) -> None:
        """Of this version, while the sender sends: in order, or as a power cut does it."""
        self.in_flight.append(self.all.missing(self.all.acknowledged()))
        if self.kills:
            self.relay.kill_everything()
        else:
            self.relay.stop()
        self.sender.rest.set()

    def _submit(self) -> str:
        """A job of a person, in the release; its id."""
        folder = self.folder / "job"
        folder.mkdir()
        source = make_instances(folder, self.seed + 50_000)
        instances = [next(source) for _ in range(_OF_A_JOB)]
        paths = [str(each.item.path) for each in instances]
        job = self._done("send", "--no-wait", *paths).strip().splitlines()[-1]
        uids = {each.item.sop_instance_uid: each.digest for each in instances}
        now = time.monotonic()
        self.all.tallies.append(Tally(dict(uids), dict(uids), dict.fromkeys(uids, now)))
        return job

    def _known(self, job: str) -> None:
        found = self.relay.command("jobs", "show", job, "--json", timeout_s=_WITHIN_S)
        self.unreadable += bool(found.returncode) or job not in found.stdout

    def _backup(self) -> Path:
        folder = self.folder / "backups"
        folder.mkdir()
        return Path(self._done("backup", "--output", str(folder)).strip())

    def _done(self, *words: str, also: int = 0) -> str:
        ended = self.relay.command(*words, timeout_s=_WITHIN_S)
        if ended.returncode not in {0, also}:
            raise RuntimeError(f"{words[0]} ended with {ended.returncode}: {ended.stderr[-600:]}")
        return ended.stdout

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        self.relay.wait_for(condition, within_s=_WITHIN_S, what=what)


def up_and_back(run: Run) -> Outcome:
    """From the last release to this version, back to it with the backup of before, and up: every second trial by SIGKILL."""
    release = releases.built(run.folder)
    account, trials = Account(), []
    for number in range(run.trials):
        trial = _Trial(release, run.folder / f"{number}", run.seed + number, kills=bool(number % 2))
        began = time.monotonic()
        came = trial.run()
        account += came
        trials.append(trial)
        how = "SIGKILL" if trial.kills else "SIGTERM"
        run.say(f"{how}: {came}; in flight {trial.in_flight}; {time.monotonic() - began:.0f} s")
    in_flight = [each for trial in trials for each in trial.in_flight]
    pauses_s = [each for trial in trials for each in trial.pauses_s]
    unreadable = sum(trial.unreadable for trial in trials)
    return Outcome(
        account,
        (
            Figure("in flight when a version ended, the least", min(in_flight), bar=1, at_least=True),
            Figure("jobs of the release that this version cannot read", unreadable, bar=0),
            Figure("faults that check finds in the end", sum(trial.faults for trial in trials), bar=0),
            Figure("needing attention", account.listed, bar=0),
            Figure("sent again for a way back", account.duplicates / run.trials),
            Figure("first acknowledgement after a start, the longest", max(pauses_s), "s"),
        ),
        note=f"from {releases.LAST[:7]} and back by `restore --keep-revision` of a backup taken beside the release at work",
    )


FAULTS: Final = (
    Fault(
        "R35",
        "another version, the one before, and the other again, with work in flight",
        "ways up, back and up",
        10,
        up_and_back,
        releases.missing,
    ),
)
