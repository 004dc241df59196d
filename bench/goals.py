"""What is measured, and what it must be."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A figure: its name in the results, what it is, and what it must reach. Without `must` it is shown for comparison."""

    key: str
    title: str
    unit: str = ""
    digits: int = 2
    must: float | None = None
    better: Literal["more", "less"] = "less"

    def met(self, value: float) -> bool | None:
        """None where there is no goal."""
        if self.must is None:
            return None
        return value >= self.must if self.better == "more" else value <= self.must


GOALS = (
    Goal(key="accept_serve", title="orders accepted / pgbench, `serve orders`", digits=3, must=0.20, better="more"),
    Goal(key="accept_up", title="orders accepted / pgbench, `up`", digits=3, must=0.08, better="more"),
    Goal(key="chain", title="whole chain / pgbench, `up`", digits=3, must=0.07, better="more"),
    Goal(key="order_cpu", title="CPU of an order, whole chain", unit="ms", must=1.5),
    Goal(key="order_cpu_keys", title="CPU of an order with an Idempotency-Key", unit="ms", must=1.7),
    Goal(key="list", title="list of 100 tickets / hello-world", digits=3, must=0.20, better="more"),
    Goal(key="home_cpu", title="CPU of the home page", unit="ms", must=3.0),
    Goal(key="ticket_cpu", title="CPU of a ticket's page", unit="ms"),
    Goal(key="refused_cpu", title="CPU of a refused order", unit="ms"),
    Goal(key="dogpile_200", title="200 buyers of one ticket, until all answered", unit="ms", digits=0, must=80),
    Goal(key="dogpile_2000", title="2,000 buyers of one ticket", unit="ms", digits=0),
    Goal(key="alone_p50", title="one order alone, p50", unit="ms", must=2.5),
    Goal(key="alone_p99", title="one order alone, p99", unit="ms", must=10),
    Goal(key="payable_p50", title="from the click to payable, p50", unit="ms", must=15),
    Goal(key="lag_p50", title="at 200 orders/s, until all have heard, p50", unit="ms", digits=1, must=40),
    Goal(key="lag_p99", title="at 200 orders/s, until all have heard, p99", unit="ms", digits=1, must=120),
    Goal(key="signin", title="sign-ins / password hashes alone", must=0.8, better="more"),
    Goal(key="conventional", title="orders accepted, `serve orders` / conventional", must=5, better="more"),
    Goal(key="conventional_up", title="orders accepted, `up` with the whole chain / conventional", better="more"),
    Goal(key="apart", title="whole chain / pgbench, six processes", digits=3, better="more"),
    Goal(key="apart_cpu", title="CPU of an order, whole chain, six processes", unit="ms"),
    Goal(key="signin_cpu", title="CPU of a sign-in", unit="ms", digits=1),
    Goal(key="hash_cpu", title="CPU of a password hash alone", unit="ms", digits=1),
    Goal(key="sale_cpu", title="CPU of a whole sale, to `complete`", unit="ms"),
    Goal(key="sale_rate", title="sales", unit="/s", digits=0, better="more"),
    Goal(key="mix_rate", title="market mix, closed loop", unit="/s", digits=0, better="more"),
    Goal(key="mix_cpu", title="CPU of a request of the market mix", unit="ms"),
    Goal(key="mix_p99", title="market mix at half of that, beside 1,000 open pages, p99", unit="ms", digits=1),
    Goal(key="accept_serve_rate", title="orders accepted, `serve orders`", unit="/s", digits=0, better="more"),
    Goal(key="accept_up_rate", title="orders accepted, `up`", unit="/s", digits=0, better="more"),
    Goal(key="accept_serve_cpu", title="CPU of an order accepted, `serve orders`", unit="ms"),
    Goal(key="chain_rate", title="whole chain", unit="/s", digits=0, better="more"),
    Goal(key="accept_keys_rate", title="orders accepted with keys, `up`", unit="/s", digits=0, better="more"),
    Goal(key="list_rate", title="lists of 100 tickets", unit="/s", digits=0, better="more"),
    Goal(key="conventional_rate", title="orders accepted, conventional", unit="/s", digits=0, better="more"),
    Goal(key="pgbench", title="pgbench", unit="/s", digits=0, better="more"),
    Goal(key="pgbench_cpu", title="CPU of a pgbench transaction, in PostgreSQL", unit="ms", digits=3),
    Goal(key="hello", title="hello-world", unit="/s", digits=0, better="more"),
)
BY_KEY = {goal.key: goal for goal in GOALS}
