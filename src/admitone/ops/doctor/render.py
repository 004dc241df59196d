"""What was found, for a person or for a machine."""

import textwrap

import click
import msgspec

from admitone.ops.doctor.checks import Line, State

WIDTH = 100
ADVICE = f"{'':>18}-> "
"""What to do stands below what was found."""
COLOURS: dict[State, str] = {"ok": "green", "look": "yellow", "bad": "red"}


def format_lines(lines: list[Line]) -> list[str]:
    """A screen. Services of which the same is to be said share a line, and lines of which the same is to be done, the sentence below."""
    together: dict[tuple[object, ...], list[Line]] = {}
    for line in lines:
        together.setdefault((line.check, line.state, line.value, line.advice), []).append(line)
    places = {line.check: number for number, line in reversed(list(enumerate(lines)))}
    shown = []
    advice: str | None = None
    for same in sorted(together.values(), key=lambda same: places[same[0].check]):
        line = same[0]
        if line.advice != advice and advice is not None:
            shown += _wrapped(advice)
        advice = line.advice
        services = " ".join(each.service for each in same if each.service is not None)
        state = click.style(f"{line.state:<4}", fg=COLOURS[line.state], bold=line.state != "ok")
        shown.append(f"{state}  {line.check:<10}  {line.value:<34}  {services}".rstrip())
    if advice is not None:
        shown += _wrapped(advice)
    return [*shown, "", _ending([same[0].state for same in together.values()])]


def _wrapped(advice: str) -> list[str]:
    return textwrap.wrap(
        advice, WIDTH, initial_indent=ADVICE, subsequent_indent=" " * len(ADVICE), break_long_words=False, break_on_hyphens=False
    )


def as_json(lines: list[Line]) -> str:
    """The worst state, and every line."""
    return msgspec.json.format(msgspec.json.encode({"worst": worst(lines), "lines": lines})).decode()


def worst(lines: list[Line]) -> State:
    states = {line.state for line in lines}
    return "bad" if "bad" in states else "look" if "look" in states else "ok"


def _ending(states: list[State]) -> str:
    """Of what stands on the screen."""
    bad, look = states.count("bad"), states.count("look")
    if not bad and not look:
        return "Everything is as it should be."
    return ", ".join(part for part in (f"{bad} bad" if bad else "", f"{look} to look at" if look else "") if part) + "."
