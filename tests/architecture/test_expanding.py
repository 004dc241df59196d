"""A migration may only add: the version before goes on running on the same tables. What is no longer used goes a release later."""

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src/admitone"
EXPLICIT = "-- contract:"
"""A migration that takes something away says so in a line that begins with this, and why no running version misses it."""
BREAKING = {
    r"\bDROP\s+(TABLE|COLUMN|VIEW|FUNCTION|SCHEMA|TYPE)\b": "takes away what the version before still reads",
    r"\bRENAME\b": "renames what the version before knows by its old name",
    r"\bALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE\b": "changes a type under the version before",
    r"\bSET\s+NOT\s+NULL\b": "refuses rows that the version before still writes",
    r"\bDROP\s+DEFAULT\b": "refuses rows that the version before still writes",
    r"\bADD\s+(COLUMN\s+)?(?!CONSTRAINT)\w+\s[^,]*\bNOT\s+NULL\b[^,]*": "needs a value that the version before does not write",
    r"\bADD\s+(CONSTRAINT\s+\w+\s+)?(CHECK|UNIQUE|FOREIGN|EXCLUDE)\b": "refuses rows that the version before may still write",
    r"\bCREATE\s+UNIQUE\s+INDEX\b": "refuses rows that the version before may still write",
    r"\b(TRUNCATE|DELETE\s+FROM)\b": "takes rows away",
}


def breaks(sql: str) -> list[str]:
    """What in a migration the version before would not survive."""
    if EXPLICIT in sql:
        return []
    statements = re.sub(r"--[^\n]*", "", sql)
    found = []
    for statement in statements.split(";"):
        if re.match(r"\s*CREATE\s+TABLE\b", statement, re.IGNORECASE):
            continue  # The version before does not know it.
        for pattern, why in BREAKING.items():
            if match := re.search(pattern, statement, re.IGNORECASE):
                if re.search(r"\b(DEFAULT|GENERATED)\b.*NOT|NOT.*\b(DEFAULT|GENERATED)\b", match[0], re.IGNORECASE | re.DOTALL):
                    continue  # It has a value all the same.
                found.append(f"{' '.join(match[0].split())!r} {why}")
    return found


MIGRATIONS = [file for file in sorted(SOURCE.glob("**/migrations/*.sql")) if not file.name.startswith("0001")]


@pytest.mark.parametrize("file", MIGRATIONS, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_migration_only_adds(file: Path) -> None:
    assert breaks(file.read_text()) == [], (
        f"{file.name} would break the version before, which runs beside this one during an update: expand now and contract a release "
        f"later, or say why nothing misses it in a line that begins with {EXPLICIT!r}"
    )


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE orders DROP COLUMN title;",
        "DROP TABLE refusals;",
        "ALTER TABLE orders RENAME COLUMN lock TO token;",
        "ALTER TABLE orders ALTER COLUMN lock TYPE bigint;",
        "ALTER TABLE orders ALTER lock SET NOT NULL;",
        "ALTER TABLE orders ADD COLUMN place text NOT NULL;",
        "ALTER TABLE orders ADD CONSTRAINT positive CHECK (price_cents > 0);",
        "CREATE UNIQUE INDEX one ON orders (title);",
        "DELETE FROM inbox;",
    ],
)
def test_what_would_break_the_version_before_is_found(sql: str) -> None:
    assert breaks(f"ALTER TABLE orders ADD COLUMN fine text;\n{sql}") != []
    assert breaks(f"{EXPLICIT} nobody has read it since 0.2\n{sql}") == []


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE orders ADD COLUMN place text;",
        "ALTER TABLE orders ADD COLUMN place text NOT NULL DEFAULT '';",
        "ALTER TABLE orders ADD COLUMN is_open boolean GENERATED ALWAYS AS (true) STORED NOT NULL;",
        "CREATE TABLE places (place_id uuid PRIMARY KEY, name text NOT NULL UNIQUE);",
        "CREATE INDEX by_place ON orders (place); -- DROP TABLE orders",
        "DROP INDEX by_place;",
    ],
)
def test_what_only_adds_is_fine(sql: str) -> None:
    assert breaks(sql) == []
