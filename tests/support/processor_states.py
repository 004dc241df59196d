"""How a payment may stand at the processor, for scenes without one.

await it.does(commands.record, charge, processor_state(charge, "authorized"), it.now)
"""

from typing import Any

from admitone.payments.model import Charge
from admitone.payments.processors.protocol import ProcessorState, State


def processor_state(charge: Charge, state: State, **changes: Any) -> ProcessorState:
    """Over the charge's own amount, unless the scene says otherwise."""
    known: dict[str, Any] = {"id": f"pi_{charge.charge_id.hex}", "amount_cents": charge.amount_cents, "currency": charge.currency}
    return ProcessorState(**known | {"state": state} | changes)
