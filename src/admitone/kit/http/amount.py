"""Amounts of money: in cents inside, in major units in JSON and on pages."""

import re
from decimal import Decimal, InvalidOperation
from typing import ClassVar

SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


class Amount(int):
    """In cents; people write it in major units, with at most two decimals."""

    lowest = 0
    description = "must be an amount from 0 to 999999.99 with at most two decimals"
    as_text: ClassVar[str] = r"^(?=[0-9]{1,9}(\.|$))0*[0-9]{1,6}(\.[0-9]{1,2})?$"
    """What `parse` takes of text, as a pattern for others."""

    @classmethod
    def parse(cls, value: object) -> "Amount":
        """Raises ValueError for anything that is no such amount."""
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,2})?", value):
            value = Decimal(value)
        if not isinstance(value, Decimal):
            raise ValueError(value)
        try:
            whole_cents = value.quantize(Decimal("0.01")) if -1 <= value <= 1_000_000 else None
        except InvalidOperation as error:
            raise ValueError(value) from error
        if whole_cents is None or whole_cents != value or not cls.lowest <= whole_cents * 100 <= 99_999_999:
            raise ValueError(value)
        return cls(int(whole_cents * 100))


class Price(Amount):
    """What a ticket may cost."""

    lowest = 50
    description = "must be an amount from 0.50 to 999999.99 with at most two decimals"
    as_text = r"^(?=[0-9]{1,9}(\.|$))0*([1-9][0-9]{0,5}(\.[0-9]{1,2})?|0\.[5-9][0-9]?)$"


def major(cents: int) -> float:
    """An amount in cents as the number that JSON shows: 1250 -> 12.5."""
    return cents / 100


def money(amount: Decimal, currency: str) -> str:
    """12.5, USD -> $12.50; a currency without a sign of its own keeps its letters."""
    text = f"{amount:,.2f}"
    return f"{SIGNS[currency]}{text}" if currency in SIGNS else f"{text}\u00a0{currency}"
