"""State diagrams of docs/design/ledger.md as data, and a database that notes every change of a state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine, create_engine, text

from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.schema import METADATA

PAGE: Final = Path(__file__).parents[2] / "docs" / "design" / "ledger.md"
_BLOCK: Final = re.compile(r"```mermaid\nstateDiagram-v2\n {4}%% (\w+)\n(.*?)```", re.DOTALL)
_ARROW: Final = re.compile(r" {4}(\S+) --> (\S+): \S.*")
# machine → table, column, and what else a change of shows a step that ends where it began
_WATCHED: Final = {
    "transfer": ("transfers", "state", "fence"),
    "delivery": ("deliveries", "state", "attempts"),
    "breaker": ("destinations", "breaker", "probe_at"),
    "verification": ("verifications", "state", "fence"),
}


class Step(NamedTuple):
    """One arrow; `before` is [*] where something comes to be."""

    machine: str
    before: str
    after: str


def drawn() -> set[Step]:
    """Every arrow of the page."""
    steps = set()
    for machine, body in _BLOCK.findall(PAGE.read_text("utf-8")):
        for line in body.splitlines():
            found = _ARROW.fullmatch(line)
            assert found is not None, f"{PAGE.name}, {machine}: no arrow with its words: {line!r}"
            step = Step(machine, *found.groups())
            assert step not in steps, f"drawn twice: {step}"
            steps.add(step)
    return steps


class Noted:
    """The steps that a database took, and a hand on its rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sql(self, statement: str) -> None:
        """Change something behind the ledger's back, a clock: that is no step."""
        before = self.steps()
        with self._engine.begin() as connection:
            connection.execute(text(statement))
            connection.execute(text("DELETE FROM step_log"))
            for step in before:
                connection.execute(
                    text("INSERT INTO step_log VALUES (:machine, :before, :after)"), step._asdict()
                )

    def steps(self) -> set[Step]:
        """What was noted since it was empty."""
        with self._engine.begin() as connection:
            return {
                Step(*row) for row in connection.execute(text("SELECT machine, was, is_now FROM step_log"))
            }

    def empty(self) -> None:
        """No row in any table, and nothing noted."""
        with self._engine.begin() as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(table.delete())
            connection.execute(text("DELETE FROM step_log"))


@contextmanager
def noting(url: str) -> Iterator[Noted]:
    """Triggers on every table with a state; taken away afterwards."""
    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE step_log (machine TEXT, was TEXT, is_now TEXT)"))
        for machine, watched in _WATCHED.items():
            _watch(connection, machine, *watched)
    try:
        yield Noted(engine)
    finally:
        with engine.begin() as connection:
            for machine, (table, *_) in _WATCHED.items():
                on = f" ON {table}" if engine.dialect.name == "postgresql" else ""
                connection.execute(text(f"DROP TRIGGER note_{machine}{on}"))
                connection.execute(text(f"DROP TRIGGER note_new_{machine}{on}"))
            connection.execute(text("DROP TABLE step_log"))
        engine.dispose()


def _watch(connection: Connection, machine: str, table: str, column: str, other: str) -> None:
    update = f"INSERT INTO step_log VALUES ('{machine}', OLD.{column}, NEW.{column});"
    create = f"INSERT INTO step_log VALUES ('{machine}', '[*]', NEW.{column});"
    if connection.dialect.name == "postgresql":
        differs = f"OLD.{column} <> NEW.{column} OR OLD.{other} IS DISTINCT FROM NEW.{other}"
        for name, event, when, body in (
            (f"note_{machine}", "UPDATE", f"WHEN ({differs})", update),
            (f"note_new_{machine}", "INSERT", "", create),
        ):
            connection.execute(
                text(
                    f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql "
                    f"AS $$ BEGIN {body} RETURN NULL; END $$"
                )
            )
            connection.execute(
                text(
                    f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW {when} EXECUTE FUNCTION {name}()"
                )
            )
        return
    differs = f"OLD.{column} <> NEW.{column} OR OLD.{other} IS NOT NEW.{other}"
    connection.exec_driver_sql(
        f"CREATE TRIGGER note_{machine} AFTER UPDATE ON {table} WHEN {differs} BEGIN {update} END"
    )
    connection.exec_driver_sql(
        f"CREATE TRIGGER note_new_{machine} AFTER INSERT ON {table} BEGIN {create} END"
    )
