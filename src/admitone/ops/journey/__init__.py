"""What happened to an order, a ticket, a request or a user, told from the services' own databases.

identify  which of them an id is
queries   all that the services know of it
status    where its orders are, what is missing, what is expected next
render    the story as lines for a terminal
follow    the same, live
"""

from collections.abc import Callable

import msgspec

from admitone.config import Settings
from admitone.ops.journey.follow import follow
from admitone.ops.journey.identify import NotToBeFound, identify
from admitone.ops.journey.queries import story_of, user_of
from admitone.ops.journey.render import document, format_story, format_user
from admitone.ops.reach import open_databases

__all__ = ["NotToBeFound", "journey"]

Say = Callable[[str], None]


async def journey(settings: Settings, text: str, say: Say, complain: Say, *, width: int, following: bool, as_json: bool) -> bool:
    """Tell what is known of whatever has this id; whether everybody could be asked. Raises NotToBeFound."""
    async with open_databases(settings) as databases:
        about = await identify(databases, text)
        if about.kind == "user":
            if following:
                raise NotToBeFound("A user can't be followed: give one of the orders or tickets that `admitone journey` lists.")
            user = await user_of(databases, about)
            lines = [_json(user)] if as_json else format_user(user, width)
        elif following:
            await follow(databases, about, say, complain, width, as_json)
            return True
        else:
            story = await story_of(databases, about)
            lines = [_json(document(story))] if as_json else format_story(story, width) if story.steps else []
        for line in lines:
            say(line)
        if databases.unreachable:
            complain(databases.unreachable_sentence())
        return not databases.unreachable


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
