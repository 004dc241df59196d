"""What is said of one piece of a run, and of all pieces together."""

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from prove.chaos.stage import PARTS

CLEAR_SHARE = 0.6
"""Of the writes that are asked while at most one part fails, so many have to be answered with yes or no. Measured: 78 to 85 %."""
MARK = "<!-- made by `make chaos REPORT=docs/chaos.md`: to here -->"


@dataclass(kw_only=True)
class Piece:
    """What one piece came to; a line of JSON in the file of results."""

    seed: int
    commit: str
    ended_at: str
    """The day, in UTC."""
    cycles: int
    seconds: float
    """While something failed."""
    resting_seconds: float
    """From then until everything was heard and settled."""
    requests: int
    writes: int
    """Answered with yes."""
    answers: dict[str, int]
    faults: dict[str, int]
    back_after: dict[str, list[float]]
    """Fault -> seconds until the part answered again."""
    unclear: int
    unclear_done: int
    handled: int
    repeated: int
    repeated_after_crash: int
    in_hand: int
    data_repaired: int
    """Times that a service found the stream without what it had said, and said it again."""
    events_said_again: int
    restarts: list[str]
    """What ended by itself, and was started again."""
    verified: list[str]
    calm_writes: int = 0
    """Asked while at most one part failed."""
    calm_clear: int = 0
    """Those of them that were answered, and not with 503."""
    columns_added: int = 0
    unclear_done_by: dict[str, int] = field(default_factory=dict)
    """Why they were unclear."""
    violations: list[str] = field(default_factory=list)


def keep(piece: Piece, file: Path) -> None:
    with file.open("a") as results:
        results.write(json.dumps(asdict(piece)) + "\n")


def kept(file: Path) -> list[Piece]:
    return [Piece(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def vacuous(pieces: Iterable[Piece]) -> list[str]:
    """What has to happen for a run to mean anything, and did not."""
    pieces = list(pieces)
    wanted = {
        "no answer was unclear whose request turned out done: no commit was ambiguous": sum(piece.unclear_done for piece in pieces),
        "no event was delivered again after it had been handled": sum(piece.repeated for piece in pieces),
        "no event came again because of a crash": sum(piece.repeated_after_crash + piece.in_hand for piece in pieces),
        "no table got another column": sum(piece.columns_added for piece in pieces),
        "NATS lost no data that had to be sent again": sum(piece.data_repaired for piece in pieces),
    }
    return [f"{sentence} (24 cycles are enough for that)" for sentence, times in wanted.items() if not times]


def unanswered(pieces: Iterable[Piece]) -> list[str]:
    """Where too few were told yes or no although at most one part failed: whoever says 503 to everybody breaks no other rule."""
    asked, clear = 0, 0
    for piece in pieces:
        asked, clear = asked + piece.calm_writes, clear + piece.calm_clear
    if not asked or clear >= CLEAR_SHARE * asked:
        return []
    return [f"only {clear / asked:.0%} of the writes asked while at most one part failed were answered clearly, not {CLEAR_SHARE:.0%}"]


def lines(pieces: list[Piece]) -> list[str]:
    """For a terminal."""
    return [f"{name:<58} {value}" for name, value in _figures(pieces)] + ["", *_table(pieces, _plain_row)]


def write(pieces: list[Piece], file: Path, command: str) -> None:
    """What stands below the mark was written by hand, and stays."""
    by_hand = file.read_text().partition(MARK)[2] if file.exists() else "\n"
    file.write_text(f"{markdown(pieces, command)}\n{MARK}{by_hand}")


def markdown(pieces: list[Piece], command: str) -> str:
    """For docs/."""
    days = sorted({piece.ended_at for piece in pieces})
    commits = sorted({piece.commit for piece in pieces})
    told = [
        "# What the chaos run found",
        "",
        "Six services, the gateway, PostgreSQL and NATS as processes of their own; a crowd that buys, sells, pays, cancels, clicks",
        "twice and asks again; every second or two one of the nine is killed with `kill -9`, or frozen for half a second to nine. NATS",
        "loses its data folder now and then, PostgreSQL is slow for some seconds, and all tables get another column. In the end",
        "`admitone verify` has to hold, and everything the crowd was told is held against the databases: nothing answered",
        "with yes is missing, no ticket is held by two, one wish has one effect, and nothing read is older than what was read before.",
        "",
        "```sh",
        "make chaos CYCLES=24     # about two minutes",
        "make chaos CARELESS=1    # PostgreSQL answers before it has written: what kill -9 takes with it by that has to be found",
        command,
        "```",
        "",
        f"{len(pieces)} pieces, {' to '.join(dict.fromkeys((days[0], days[-1])))}, of commit {', '.join(commits)}.",
        f"Seeds: {', '.join(str(piece.seed) for piece in pieces)}.",
        "The seed draws the faults and what the crowd wants; when exactly what meets what, no seed decides.",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {name} | {value} |" for name, value in _figures(pieces)),
        "",
        "How long each part needs until it answers again, in seconds after it was started again or thawed. A service that starts reads",
        "Python first, and is ready only once PostgreSQL answers: where two things fail at once, the second waits for the first.",
        "",
        *_table(pieces, _markdown_row, markdown=True),
        "",
        "PostgreSQL writes as durably as `admitone up` has it (`fsync` on). A `kill -9` leaves the operating system's memory alone, so",
        "this says nothing about a power cut.",
    ]
    violations = [violation for piece in pieces for violation in piece.violations]
    if violations:
        told += ["", "## Violations", "", *(f"- {violation}" for violation in violations)]
    return "\n".join(told) + "\n"


def _figures(pieces: list[Piece]) -> list[tuple[str, str]]:
    seconds = sum(piece.seconds for piece in pieces)
    requests = sum(piece.requests for piece in pieces)
    answers = sum((Counter(piece.answers) for piece in pieces), Counter[str]())
    faults = sum((Counter(piece.faults) for piece in pieces), Counter[str]())
    why_unclear = sum((Counter(piece.unclear_done_by) for piece in pieces), Counter[str]())
    if why_unclear.total() != sum(piece.unclear_done for piece in pieces):
        why_unclear.clear()  # Some of the pieces are too old to say.
    by_how = Counter[str]()
    for fault, times in faults.items():
        by_how[fault.partition(" ")[2]] += times
    calm, clear = sum(piece.calm_writes for piece in pieces), sum(piece.calm_clear for piece in pieces)
    restarts = [restart for piece in pieces for restart in piece.restarts]
    return [
        ("cycles", f"{sum(piece.cycles for piece in pieces):,}"),
        ("faults", ", ".join(f"{how} {times}" for how, times in sorted(by_how.items()))),
        ("requests", f"{requests:,} in {seconds:,.0f} s ({requests / seconds:.0f} a second)"),
        ("writes that were answered with yes", f"{sum(piece.writes for piece in pieces):,}"),
        ("answers", ", ".join(f"{answer} {times:,}" for answer, times in sorted(answers.items()))),
        ("writes without a clear answer", f"{sum(piece.unclear for piece in pieces):,}"),
        ("- of these done all the same", f"{sum(piece.unclear_done for piece in pieces):,}"),
        *((f"  - unclear because: {why}", f"{times:,}") for why, times in sorted(why_unclear.items())),
        *([("writes asked while at most one part failed", f"{calm:,}, {clear / calm:.0%} answered clearly")] if calm else []),
        ("events handled", f"{sum(piece.handled for piece in pieces):,}"),
        ("- delivered again after that, and known", f"{sum(piece.repeated for piece in pieces):,}"),
        ("- of these because of a kill -9 in between", f"{sum(piece.repeated_after_crash for piece in pieces):,}"),
        ("events in the hands of a process that was killed", f"{sum(piece.in_hand for piece in pieces):,}"),
        ("times a service filled the stream again that NATS had lost", f"{sum(piece.data_repaired for piece in pieces):,}"),
        ("- events sent again by that", f"{sum(piece.events_said_again for piece in pieces):,}"),
        ("columns added while all was running", f"{sum(piece.columns_added for piece in pieces):,}"),
        ("ended by itself when an engine was away, started again", f"{len(restarts)}"),
        ("seconds to rest afterwards, the longest", f"{max(piece.resting_seconds for piece in pieces):.0f}"),
        ("violations", f"{sum(len(piece.violations) for piece in pieces)}"),
    ]


def _table(pieces: list[Piece], row: Callable[..., str], markdown: bool = False) -> list[str]:
    table = [row("", "killed", "median", "worst", "frozen", "median", "worst")]
    if markdown:
        table.append("|---|" + "---:|" * 6)
    for part in PARTS:
        cells = []
        for how in ("killed", "frozen"):
            found = [seconds for piece in pieces for seconds in piece.back_after.get(f"{part} {how}", [])]
            cells += [str(len(found)), f"{statistics.median(found):.2f}", f"{max(found):.2f}"] if found else ["0", "", ""]
        table.append(row(part, *cells))
    others = {
        "nats without its data": "nats data lost",
        "postgres slow": "postgres slow",
        "postgres schema changed": "postgres schema changed",
    }
    for name, fault in others.items():
        found = [seconds for piece in pieces for seconds in piece.back_after.get(fault, [])]
        if found:
            table.append(row(name, str(len(found)), f"{statistics.median(found):.2f}", f"{max(found):.2f}", "", "", ""))
    return table


def _plain_row(name: str, *cells: str) -> str:
    return f"{name:<24}" + "".join(f"{cell:>8}" for cell in cells)


def _markdown_row(name: str, *cells: str) -> str:
    return f"| {name} | {' | '.join(cells)} |"
