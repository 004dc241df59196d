"""The events as a diagram: a vertical lane per service, and a line per event from its owner to its consumers."""

from collections.abc import Sequence
from typing import NamedTuple

from admitone.apidocs.overview import EventFacts, Overview

HEAD = 44
"""The height of the boxes on top, and what is left below them."""


class Lane(NamedTuple):
    service: str
    x: float
    hue: int


class Stop(NamedTuple):
    service: str
    x: float
    does: str


class Line(NamedTuple):
    event: EventFacts
    y: float
    hue: int
    label_x: float
    label_y: float
    start: float
    """Where its owner's lane is."""
    stops: Sequence[Stop]
    """The listeners' lanes, the farthest first: so that what is drawn later lies above the line that goes on."""


class Lanes(NamedTuple):
    """All lengths are in units of the picture, which are pixels at its full width."""

    name: str
    width: int
    height: float
    box: float
    """The width of a box."""
    lanes: Sequence[Lane]
    lines: Sequence[Line]


def wide(about: Overview) -> Lanes:
    """The diagram with the events' names beside the lanes."""
    return _drawn(about, "wide", width=1000, gutter=190, row=30, label_above=0)


def narrow(about: Overview) -> Lanes:
    """The diagram for a phone, with each event's name above its line."""
    return _drawn(about, "narrow", width=360, gutter=0, row=40, label_above=13)


def _drawn(about: Overview, name: str, width: int, gutter: int, row: int, label_above: int) -> Lanes:
    services = [service for service in about.services if service.publishes or service.hears]
    step = (width - gutter) / len(services)
    lanes = {service.name: Lane(service.name, gutter + step * (number + 0.5), hue(about, service.name))
             for number, service in enumerate(services)}  # fmt: skip
    lines = []
    y: float = HEAD
    owner = None
    for event in about.events:
        y += row * (1 if event.owner == owner else 1.4)
        owner = event.owner
        start = lanes[owner].x
        stops = [Stop(listener.service, lanes[listener.service].x, listener.does) for listener in event.listeners]
        label_x = _kept_inside(start, event.name, width) if label_above else 0
        farthest_first = sorted(stops, key=lambda stop, start=start: -abs(stop.x - start))  # type: ignore[misc]
        lines.append(Line(event, y, lanes[owner].hue, label_x, y - label_above, start, farthest_first))
    return Lanes(name, width, y + row * 0.7, step - (14 if gutter else 4), list(lanes.values()), lines)


def _kept_inside(x: float, label: str, width: int) -> float:
    """The middle of a label that would like to stand at x."""
    half = len(label) * 3.4 + 2
    return min(max(x, half), width - half)


def hue(about: Overview, service: str) -> int:
    """Each service has a colour of its own, for as long as there are six."""
    return [one.name for one in about.services].index(service) % 6
