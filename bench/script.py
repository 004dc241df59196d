"""The order of a run: which operation in which round, and the check at the end."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from uuid import UUID

from bench.book import Book
from bench.operations import accept, reading
from bench.operations.alone import alone, payable
from bench.operations.conventional import accept_by_conventional, conventional
from bench.operations.dogpile import dogpile_of_200, dogpile_of_2000
from bench.operations.lag import lag
from bench.operations.mix import mix
from bench.operations.sale import sale
from bench.operations.signin import prepare_signin, sign_in
from bench.people import People
from bench.pgbench import prepare_pgbench
from bench.progress import Progress
from bench.quiet import watching
from bench.run import Options, Run
from bench.stage import ROOT, BenchError, Stage, answering, stage

from admitone.runtime.programs import free_port

Operation = Callable[[Run], Awaitable[None]]
IN_ROUNDS: dict[str, Operation] = {
    "list": reading.list_of_tickets,
    "chain": accept.chain,
    "keys": accept.chain_with_keys,
    "dogpile": dogpile_of_200,
    "crowd": dogpile_of_2000,
    "alone": alone,
    "payable": payable,
    "pages": reading.pages,
    "refused": reading.refused_orders,
    "lag": lag,
    "signin": sign_in,
    "sale": sale,
    "mix": mix,
    "conventional": accept_by_conventional,
}
"""Operations of `up`, each once in every round, beside the yardsticks."""
SERVICES_APART = ("auth", "tickets", "expiration", "payments", "web", "orders")
"""The load goes to the last one."""
OPERATIONS = ("accept", "apart", *IN_ROUNDS)


async def measure(options: Options) -> Book:
    """Everything that is wanted, and the check at the end. Raises BenchError when a run is not clean.

    1. Start the engines and the yardsticks, and warm `up` up.
    2. Where it is wanted, measure `serve orders` alone: then `up` is started anew, and hears of what was ordered meanwhile.
    3. Where it is wanted, measure the chain of six processes.
    4. Measure everything else in `up`, and check all of it while it runs.
    """
    async with stage() as here, contextlib.AsyncExitStack() as stack:
        run = Run(options=options, stage=here, people=People(here), book=Book(), progress=Progress(_steps(options)))
        await prepare_pgbench(here)
        run.hello_url = await stack.enter_async_context(hello_world(here))
        if options.conventional and options.wants("conventional"):
            run.conventional_url = await stack.enter_async_context(conventional(here, options.conventional))
        run.progress.next("warm-up")
        if options.wants("accept"):
            async with here.admitone("up"), watching(here) as run.watch:
                await accept.warm_up(run)
                prepared = await accept.list_for_serve_orders(run)
            async with here.admitone("serve", "orders"), watching(here) as run.watch:
                await _rounds_of_serve_orders(run, prepared)
            run.progress.next("up: what was ordered meanwhile")
        if options.wants("apart"):
            async with contextlib.AsyncExitStack() as processes:
                for service in SERVICES_APART:
                    await processes.enter_async_context(here.admitone("serve", service))
                run.watch = await processes.enter_async_context(watching(here))
                await _rounds_of_six_processes(run)
        async with here.admitone("up"), watching(here) as run.watch:
            await run.watch.until_quiet()
            if not options.wants("accept"):
                await accept.warm_up(run)
            await _rounds_of_up(run)
            run.progress.next("verify")
            await run.watch.until_quiet()
            await asyncio.to_thread(verify, here)
        run.progress.done()
        return run.book


@contextlib.asynccontextmanager
async def hello_world(here: Stage) -> AsyncIterator[str]:
    """Its address."""
    port = free_port()
    async with here.process("hello", [sys.executable, "-m", "bench.hello", str(port)], {}) as process:
        await answering(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"


async def _rounds_of_serve_orders(run: Run, prepared: list[Sequence[UUID]]) -> None:
    """The first tickets are for getting warm."""
    await run.load(run.people.orders(prepared[0]), 201)
    for number, tickets in enumerate(prepared[1:]):
        run.progress.next(f"serve orders, round {number + 1} of {run.options.rounds}")
        await run.watch.until_published()
        await run.measure_yardsticks()
        await accept.accept_by_serve_orders(run, tickets)


async def _rounds_of_six_processes(run: Run) -> None:
    await accept.warm_up(run)
    for number in range(run.options.rounds):
        run.progress.next(f"six processes, round {number + 1} of {run.options.rounds}")
        await run.watch.until_quiet()
        await run.measure_yardsticks()
        await accept.chain_of_six_processes(run)


async def _rounds_of_up(run: Run) -> None:
    operations = _of_rounds(run.options)
    if not operations:
        return
    await reading.prepare_list(run)
    if run.options.wants("signin", "mix"):
        await prepare_signin(run)
    await run.watch.until_quiet()
    for number in range(run.options.rounds):
        where = f"round {number + 1} of {run.options.rounds}"
        await run.measure_idle()
        run.progress.next(f"pgbench and hello-world, {where}")
        await run.measure_yardsticks()
        for name, operation in operations.items():
            run.progress.next(f"{name}, {where}")
            await operation(run)
            await run.watch.until_quiet()


def _of_rounds(options: Options) -> dict[str, Operation]:
    """What is wanted of `up`. The crowd takes its time, and the conventional implementation needs a Python of its own."""
    left_out = {"crowd"} if options.quick and not options.only else set()
    left_out |= set() if options.conventional else {"conventional"}
    return {name: operation for name, operation in IN_ROUNDS.items() if options.wants(name) and name not in left_out}


def verify(here: Stage) -> None:
    """`admitone verify --wait`. Raises BenchError when it finds anything."""
    done = subprocess.run(
        [sys.executable, "-m", "admitone.cli", "verify", "--wait"],
        env=here.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"admitone verify has found something ({done.returncode}):\n{done.stdout}\n{done.stderr}")


def _steps(options: Options) -> int:
    in_rounds = len(_of_rounds(options))
    of_a_round = options.wants("accept") + options.wants("apart") + (1 + in_rounds if in_rounds else 0)
    return 2 + options.rounds * of_a_round + options.wants("accept")
