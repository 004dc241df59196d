"""The map of events, made from events.py and the handlers: as lines for a terminal, as docs/events.md and
docs/asyncapi.json, and as the upper part of each docs/services/NAME.md.
"""

import inspect
import re
import sys
from pathlib import Path

from admitone.apidocs import asyncapi
from admitone.apidocs.overview import INTENTIONALLY_UNHEARD, fields, overview, sentence
from admitone.apidocs.overview import listeners as listeners_in
from admitone.kit.event import CATALOGUE, LISTENERS, OWNERS, Event, subject
from admitone.kit.service import Service
from admitone.services import SERVICES

NAMES = [service.name for service in SERVICES]


def listeners(event: type[Event]) -> list[str]:
    """The services that hear an event, in the order in which services.py lists them."""
    return listeners_in(event, NAMES)


def lines() -> list[str]:
    """One line per event: owner, event, listeners."""
    width = max(len(name) for name in CATALOGUE)
    return [
        f"{OWNERS[event]:<10}  {name:<{width}}  ->  {', '.join(listeners(event)) or '(nobody yet)'}" for name, event in CATALOGUE.items()
    ]


def documents(folder: Path) -> dict[Path, str]:
    """What is made from the code in the folder docs: each file, as it should be."""
    made = {folder / "events.md": markdown(), folder / "asyncapi.json": asyncapi.text(overview(SERVICES))}
    for service in SERVICES:
        page = folder / "services" / f"{service.name}.md"
        made[page] = service_page(service, page.read_text() if page.exists() else f"# {service.name}\n\n{FROM_HERE}\n{TO_HERE}\n")
    return made


def markdown() -> str:
    """The whole of docs/events.md."""
    parts = [_HEAD, _diagram(), "\n"]
    for owner in NAMES:
        events = [event for event in CATALOGUE.values() if OWNERS[event] == owner]
        if events:
            parts.append(f"\n## {owner}\n")
            parts += [_section(event) for event in events]
    return "".join(parts)


def service_page(service: Service, page: str) -> str:
    """The page of a service, with what it owns, says and hears made anew between the two marks; the rest is left as it is."""
    head, _, rest = page.partition(FROM_HERE)
    _, _, tail = rest.partition(TO_HERE)
    return "".join([head, FROM_HERE, "\n", _summary(service), TO_HERE, tail])


FROM_HERE, TO_HERE = "<!-- made by `make docs`: from here -->", "<!-- to here -->"


def _summary(service: Service) -> str:
    doc = inspect.getdoc(sys.modules[f"admitone.{service.name}"]) or ""
    first, owns = " ".join(doc.partition("\n\n")[0].split()), re.search(r"^owns: (.*)$", doc, re.MULTILINE)
    parts = [f"{first}\n"]
    if owns and service.has_database:
        parts.append(f"\n**Owns** {owns[1]}, in a database of its own that nobody else can open.\n")
    if service.routes:
        parts.append(f"\n**Answers** at `{service.prefix}`.\n")
    said = [event for event in CATALOGUE.values() if OWNERS[event] == service.name]
    if said:
        parts.append("\n| says | when | to |\n|---|---|---|\n")
        parts += [f"| {_link(event)} | {sentence(event)} | {', '.join(listeners(event)) or '(nobody yet)'} |\n" for event in said]
    heard = [event for event in CATALOGUE.values() if service.name in LISTENERS[event]]
    if heard:
        parts.append("\n| hears | from | and then |\n|---|---|---|\n")
        parts += [f"| {_link(event)} | {OWNERS[event]} | {sentence(LISTENERS[event][service.name])} |\n" for event in heard]
    else:
        parts.append("\nIt hears no events.\n")
    return "".join(parts)


def _link(event: type[Event]) -> str:
    return f"[{event.__name__}](../events.md#{event.__name__.lower()})"


_HEAD = """# Events

Every fact that crosses a boundary: who says it, what it carries, who listens and why. This page is made from
`src/admitone/events.py` and the handlers by `make docs`; a test fails when it is stale. `admitone events` prints the short
form, and `admitone journey ID` tells which of them happened to one order or ticket.

Around each event travels an envelope: `event_id` (UUID), `time`, `correlation_id` (of the request that it all goes back
to) and `causation_id` (of the event whose handler said this one).

"""


def _diagram() -> str:
    arrows: dict[tuple[str, str], list[str]] = {}
    for event in CATALOGUE.values():
        for listener in listeners(event):
            arrows.setdefault((OWNERS[event], listener), []).append(event.__name__)
    drawn = [f"    {owner} -- {'<br/>'.join(events)} --> {listener}" for (owner, listener), events in arrows.items()]
    return "\n".join(["```mermaid", "flowchart LR", *drawn, "```"])


def _section(event: type[Event]) -> str:
    text = [f"\n### {event.__name__}\n\n{sentence(event)}\n\n`{subject(event)}`\n"]
    text.append("\n| listener | what it does |\n|---|---|\n")
    text += [f"| {listener} | {sentence(LISTENERS[event][listener])} |\n" for listener in listeners(event)]
    if not LISTENERS[event]:
        text.append(f"| (nobody yet) | {INTENTIONALLY_UNHEARD[event.__name__]} |\n")
    text.append("\n| field | type | what it means |\n|---|---|---|\n")
    text += [f"| `{field.name}` | {field.type} | {field.meaning} |\n" for field in fields(event)]
    return "".join(text)
