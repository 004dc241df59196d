"""The card processor of test mode: the processor itself, its bank's page, its faults and its webhooks."""

from admitone.payments.processors.test.processor import MIGRATIONS, SIGNED_WITHIN_SECONDS, TestProcessor

__all__ = ["MIGRATIONS", "SIGNED_WITHIN_SECONDS", "TestProcessor"]
