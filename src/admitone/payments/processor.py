"""Which card processor this marketplace has: Stripe where there is a key, test mode where there is none."""

import contextlib
from collections.abc import AsyncIterator

from admitone.kit.config import TEST_PROCESSOR, Settings
from admitone.kit.db import Database, connected
from admitone.kit.migrations import migrate_at
from admitone.payments.gateway import Gateway
from admitone.payments.testgateway import MIGRATIONS, TestGateway
from admitone.payments.testgateway.webhooks import sending_webhooks


@contextlib.asynccontextmanager
async def gateway_of(settings: Settings, _db: Database | None) -> AsyncIterator[Gateway]:
    """The processor that the settings name, for as long as the block runs."""
    if settings.stripe_secret_key is not None:
        from admitone.payments.stripe import StripeGateway  # noqa: PLC0415  (0.7 s and 30 MB: only where it is used)

        yield StripeGateway(settings)
        return
    url = settings.database_url_of(TEST_PROCESSOR)
    await migrate_at(url, TEST_PROCESSOR, MIGRATIONS)
    async with connected(TEST_PROCESSOR, url) as books:
        gateway = await TestGateway.open(books, settings.public_url)
        async with sending_webhooks(gateway, f"{settings.services_url}/api/payments/webhook"):
            yield gateway
