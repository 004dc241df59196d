"""Which card processor this marketplace has: Stripe where there is a key, test mode where there is none."""

import contextlib
from collections.abc import AsyncIterator

from admitone.config import TEST_PROCESSOR, Settings, WrongSettings
from admitone.kit.data.db import Database, connected
from admitone.kit.data.migrations import migrate_at
from admitone.payments.processors.protocol import CardProcessor
from admitone.payments.processors.test import MIGRATIONS, TestProcessor
from admitone.payments.processors.test.webhooks import sending_webhooks


@contextlib.asynccontextmanager
async def card_processor(settings: Settings, _db: Database | None) -> AsyncIterator[CardProcessor]:
    """The processor that the settings name, for as long as the block runs."""
    if settings.stripe_secret_key is not None:
        from admitone.payments.processors.stripe import StripeProcessor  # noqa: PLC0415  (0.7 s and 30 MB: only where it is used)

        processor = StripeProcessor(settings)
        try:
            yield processor
        finally:
            await processor.close()
        return
    try:
        url = settings.database_url_of(TEST_PROCESSOR)
    except WrongSettings as missing:
        raise WrongSettings(f"{missing} It is the card processor of test mode; with STRIPE_SECRET_KEY there is none.") from missing
    await migrate_at(url, TEST_PROCESSOR, MIGRATIONS)
    async with connected(TEST_PROCESSOR, url) as books:
        test_processor = await TestProcessor.open(books)
        async with sending_webhooks(test_processor, f"{settings.url_of('payments')}/api/payments/webhook"):
            yield test_processor
