"""The card processor in place of a real one: it answers late or never, declines and refuses, and is idempotent by the key it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from admitone.payments.model import Charge
from admitone.payments.processors.protocol import Notice, OutcomeUnknown, ProcessorState, Refused, State
from admitone.payments.settlement import DEADLINE_SECONDS

if TYPE_CHECKING:
    from prove.simulator.world import World

DECLINED, CONFIRMED = "tok_chargeDeclined", "tok_threeDSecure2Required"
Call = Literal["authorize", "look", "capture", "void", "refund"]


@dataclass
class Intent:
    id: str
    key: str
    charge_id: UUID
    order_id: UUID
    amount_cents: int
    currency: str
    state: State
    code: str | None = None
    captured_cents: int = 0
    refunded_cents: int = 0

    @property
    def alive(self) -> bool:
        return self.state in ("needs_confirmation", "authorized", "captured")


class Processor:
    """Its memory outlives every crash of ours."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.intents: dict[str, Intent] = {}
        self.notices: list[Notice] = []
        self.unwell = world.dice.choice((0.15, 0.6))
        """How many of its calls time out before their effect, and how many after it, in a history where some do; of captures, half."""
        self.timed_out: set[tuple[str, UUID]] = set()

    async def token(self, text: str) -> str:
        return text

    async def authorize(self, charge: Charge) -> ProcessorState:
        def act() -> Intent:
            intent = self.intents.get(charge.idempotency_key)
            if intent is None:
                state: State = {DECLINED: "declined", CONFIRMED: "needs_confirmation"}.get(charge.payment_token, "authorized")  # type: ignore[assignment]
                code = "card_declined" if state == "declined" else None
                intent = Intent(
                    f"pi_{len(self.intents)}_{charge.charge_id.hex[:8]}",
                    charge.idempotency_key,
                    charge.charge_id,
                    charge.order_id,
                    charge.amount_cents,
                    charge.currency,
                    state,
                    code,
                )
                self.world.book.at_authorization(intent, list(self.intents.values()))
                self.intents[intent.key] = intent
            return intent

        return await self._call("authorize", charge, act)

    async def look(self, charge: Charge) -> ProcessorState:
        return await self._call("look", charge, lambda: self._known(charge))

    async def capture(self, charge: Charge) -> ProcessorState:
        def act() -> Intent:
            intent = self._known(charge)
            if intent.state == "authorized" and self.world.chance("refuse", 0.5):
                intent.state = "voided"
            elif intent.state == "authorized":
                self.world.book.at_capture(intent, list(self.intents.values()))
                intent.state, intent.captured_cents = "captured", charge.amount_cents
            if intent.state != "captured":
                raise Refused("not_capturable")
            return intent

        return await self._call("capture", charge, act)

    async def void(self, charge: Charge) -> ProcessorState:
        def act() -> Intent:
            intent = self._known(charge)
            if intent.state in ("authorized", "needs_confirmation"):
                self.world.book.at_void(intent, charge)
                intent.state = "voided"
            if intent.state not in ("voided", "declined"):
                raise Refused("not_voidable")
            return intent

        return await self._call("void", charge, act)

    async def refund(self, charge: Charge) -> ProcessorState:
        def act() -> Intent:
            intent = self._known(charge)
            if intent.state == "captured":
                self.world.book.at_refund(intent)
                intent.state, intent.refunded_cents = "refunded", intent.captured_cents
            if intent.state != "refunded":
                raise Refused("not_refundable")
            return intent

        return await self._call("refund", charge, act)

    def notice_of(self, body: bytes, signature: str) -> Notice | None:
        return self.notices.pop(0)

    def confirm(self, intent: Intent, approve: bool) -> None:
        """What the buyer answered on the bank's page. We may be told of it, more than once or never."""
        intent.state, intent.code = ("authorized", None) if approve else ("declined", "authentication_failed")
        for _ in range(self.world.dice.choice((0, 1, 1, 2))):
            self.notices.append(Notice(stripe_id=intent.id, charge_id=intent.charge_id))

    def _known(self, charge: Charge) -> Intent:
        intent = self.intents.get(charge.idempotency_key)
        if intent is None:
            raise Refused("unknown_payment")
        return intent

    async def _call(self, call: Call, charge: Charge, act: Callable[[], Intent]) -> ProcessorState:
        world = self.world
        world.begun.setdefault(charge.charge_id, charge.begun_at)
        order = world.name(charge.order_id)
        slow = timedelta(seconds=world.dice.choice((0.05, 0.3, 1.0, 4.0)))
        await world.pause(charge.order_id, world.now + slow)
        if world.chance("gateway", 0.5 if call == "capture" else self.unwell):
            await self._time_out(call, charge, "before its effect")
        try:
            intent = act()
        except Refused as refused:
            world.tell("the processor", f"refuses to {call} for {order}: {refused.code}", charge.order_id)
            raise
        world.tell("the processor", f"{call} for {order}: {intent.state}", charge.order_id)
        if call == "capture" and (call, charge.charge_id) in self.timed_out:
            world.saw("a capture after a time-out")
        if call == "authorize" and (call, charge.charge_id) in self.timed_out:
            world.saw("an authorization asked for again after a time-out")
        if world.chance("gateway", 0.5 if call == "capture" else self.unwell):
            await self._time_out(call, charge, "after its effect")
        if world.dice.random() < 0.3:
            await world.pause(charge.order_id, world.now + slow)
        return ProcessorState(
            id=intent.id,
            state=intent.state,
            amount_cents=intent.captured_cents or intent.amount_cents,
            currency=intent.currency,
            code=intent.code,
            redirect_url="/bank" if intent.state == "needs_confirmation" else None,
            refund_id=f"re_{intent.id}" if intent.state == "refunded" else None,
        )

    async def _time_out(self, call: Call, charge: Charge, when: str) -> None:
        world = self.world
        self.timed_out.add((call, charge.charge_id))
        world.saw(f"{'an' if call == 'authorize' else 'a'} {call} timed out {when}")
        world.tell("the processor", f"{call} for {world.name(charge.order_id)} times out {when}", charge.order_id)
        world.disturb()
        await world.pause(charge.order_id, world.now + timedelta(seconds=DEADLINE_SECONDS))
        if world.dice.random() < 0.5:
            raise OutcomeUnknown("connection reset")
        raise TimeoutError
