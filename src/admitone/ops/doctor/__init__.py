"""`admitone doctor`: one screen about the running system.

gathering  what the databases, the stream and the services say of themselves
judging    ok, look or bad, and what to do
telling    a screen of it, or JSON
"""

from admitone.config import Settings
from admitone.ops.doctor.checks import Line, judge
from admitone.ops.doctor.collect import gather
from admitone.runtime.data_folder import settings_of_run


async def examine(settings: Settings) -> list[Line]:
    """Every line about the system that runs in the data folder, or where the settings say. Raises EngineError where none does."""
    embedded = settings.database_url is None and not settings.own_database_urls
    if embedded:
        settings = settings_of_run(settings)
    return judge(await gather(settings, local=embedded))
