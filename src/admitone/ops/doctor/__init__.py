"""`admitone doctor`: one screen about the running system.

collect  what the databases, the stream and the services say of themselves
checks   ok, look or bad, and what to do
render   a screen of it, or JSON
"""

from admitone.config import Settings
from admitone.ops.doctor.checks import Line, judge
from admitone.ops.doctor.collect import gather
from admitone.ops.reach import has_own_engines
from admitone.runtime.data_folder import settings_of_run


async def examine(settings: Settings) -> list[Line]:
    """Every line about the system that runs in the data folder, or where the settings say. Raises EngineError where none does."""
    embedded = has_own_engines(settings)
    if embedded:
        settings = settings_of_run(settings)
    return judge(await gather(settings, local=embedded))
