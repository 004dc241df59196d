"""What happened to an order, a ticket, a request or a user, told from the services' own logs.

finding    which of them an id is, and all that the services know of it
standing   how its orders stand: what is missing, what is expected next
telling    the story as lines for a terminal
following  the same, live
"""

from collections.abc import Callable

import msgspec

from admitone.config import Settings
from admitone.ops.journey.follow import follow
from admitone.ops.journey.queries import NotToBeFound, away_sentence, identify, opened, story_of, user_of
from admitone.ops.journey.render import document, tell, tell_user

__all__ = ["NotToBeFound", "journey"]

Say = Callable[[str], None]


async def journey(settings: Settings, text: str, say: Say, complain: Say, *, width: int, following: bool, as_json: bool) -> bool:
    """Tell what is known of whatever has this id; whether everybody could be asked. Raises NotToBeFound."""
    async with opened(settings) as logs:
        about = await identify(logs, text)
        if about.kind == "user":
            if following:
                raise NotToBeFound("A user can't be followed: give one of the orders or tickets that `admitone journey` lists.")
            user = await user_of(logs, about)
            lines = [_json(user)] if as_json else tell_user(user, width)
        elif following:
            await follow(logs, about, say, complain, width, as_json)
            return True
        else:
            story = await story_of(logs, about)
            lines = [_json(document(story))] if as_json else tell(story, width) if story.steps else []
        for line in lines:
            say(line)
        if logs.away:
            complain(away_sentence(logs))
        return not logs.away


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
