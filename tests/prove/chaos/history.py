"""What the crowd asked and what it was answered: two lines of JSON each, written as it happens.

{"n": 7, "at": 1.5, "who": "<user>", "do": "buy", "method": "POST", "path": "/api/orders", "body": {...}, "key": "k-7", "ticket": "<id>"}
{"n": 7, "at": 1.9, "status": 201, "answer": {...}}

An answer that leaves open whether it was done has `unclear`, which says why. So has a request without any answer: whoever reads the
history of a run that was broken off takes those for unclear, too.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(kw_only=True)
class Asked:
    """A request and its answer. Times are seconds since 1970."""

    n: int
    who: str | None = None
    """The user's id."""
    do: str
    path: str = ""
    body: Json = field(default_factory=dict)
    key: str | None = None
    ticket: str | None = None
    order: str | None = None
    began: float
    ended: float = inf
    """When it was over for sure: never, if that is unclear."""
    status: int | None = None
    answer: Json = field(default_factory=dict)
    unclear: str | None = "broken off"

    @property
    def title(self) -> str:
        """Of a refusal."""
        return str(self.answer.get("title", "")) if (self.status or 0) >= 400 else ""

    def line(self) -> str:
        """For somebody who wants to know what happened."""
        said = "unclear: " + self.unclear if self.unclear else f"{self.status} {self.answer}"
        return f"{self.began:.3f} to {self.ended:.3f}  {self.n} {self.do} by {self.who} {self.body} -> {said}"

    @property
    def done(self) -> bool:
        """Whether it was answered with yes."""
        return self.unclear is None and self.status is not None and self.status < 300


class History:
    """The file, open for writing."""

    def __init__(self, file: Path) -> None:
        self.file = file.open("w", buffering=1)
        self.last = 0

    def asks(self, at: float, **what: Any) -> int:
        """Its number."""
        self.last += 1
        self._write({"n": self.last, "at": at} | {name: value for name, value in what.items() if value is not None})
        return self.last

    def is_told(self, n: int, at: float, status: int, answer: Any, unclear: str | None) -> None:
        self._write({"n": n, "at": at, "status": status, "answer": answer} | ({"unclear": unclear} if unclear else {}))

    def is_left_alone(self, n: int, at: float, why: str) -> None:
        """There was no answer."""
        self._write({"n": n, "at": at, "unclear": why})

    def _write(self, line: Json) -> None:
        self.file.write(json.dumps(line, separators=(",", ":")) + "\n")


def read(lines: Iterable[str]) -> list[Asked]:
    """In the order in which it was asked."""
    found: dict[int, Asked] = {}
    for text in lines:
        line = json.loads(text)
        n, at = line.pop("n"), line.pop("at")
        if "do" in line:
            line.pop("method", None)
            found[n] = Asked(n=n, began=at, **line)
            continue
        asked = found[n]
        asked.status, asked.unclear = line.get("status"), line.get("unclear")
        asked.answer = line["answer"] if isinstance(line.get("answer"), dict) else {}
        if asked.unclear is None:
            asked.ended = at
    return list(found.values())
