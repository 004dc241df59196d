"""A failure, told: the seed, the shortest prefix that still fails, and what happened to the order concerned."""

from uuid import UUID

from prove.simulator.ground import Ground
from prove.simulator.history import Outcome
from prove.simulator.running import played

from admitone.kit.testing import NOON


async def shortest(ground: Ground, seed: int) -> Outcome | None:
    """The history cut off as early as it still fails; None when it does not fail at all.

    After the cut everything comes to rest, so a prefix may be shorter than the way to the moment at which the whole history failed. It
    is found by halving; what fails need not fail in every longer prefix, so a few more below the result are tried one by one.
    """
    failing = await played(ground, seed)
    if not failing.violations:
        return None
    good, bad = 0, failing.steps
    while bad - good > 1:
        middle = (good + bad) // 2
        outcome = await played(ground, seed, middle)
        if outcome.violations:
            bad, failing = middle, outcome
        else:
            good = middle
    for steps in range(max(bad - 5, 1), bad):
        outcome = await played(ground, seed, steps)
        if outcome.violations:
            return outcome
    return failing


def story(outcome: Outcome) -> str:
    """What happened to the orders and tickets that the violation is about; all of it, where it is about none."""
    violation = outcome.violations[0]
    concerned = set(violation.about)
    tickets: set[UUID] = set()
    for line in outcome.lines:
        if concerned & line.about:
            tickets |= {one for one in line.about if outcome.names.get(one, "").startswith("T")}
    everyone = not concerned
    told = []
    end = max((number for number, line in enumerate(outcome.lines) if line.who == "!"), default=len(outcome.lines))
    for line in outcome.lines[: end + 1]:
        about_it = everyone or line.about & (concerned | tickets) or any(outcome.names.get(one, "?") in line.text for one in concerned)
        at_large = not line.about and any(
            word in line.text for word in ("is killed", "starts again", "loses", "is lost", "made anew", "is down for")
        )
        if about_it or at_large or line.who == "!":
            told.append(f"  {_at(line.at - NOON)}  {line.who:<13} {line.text}")
    head = f"seed {outcome.seed}, cut off after {outcome.steps} steps: {violation.rule}: {violation.sentence}"
    return "\n".join([head, "", *told])


def _at(since: object) -> str:
    return str(since)[:11].ljust(11, "0") if "." in str(since) else f"{since}.000"[:11]
