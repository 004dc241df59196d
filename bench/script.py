"""The order of a run: which operation in which round, and the check at the end."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Awaitable, Callable

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
    "conventional": accept_by_conventional,
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
}
"""Operations of `up`, each once in every round, beside the yardsticks."""
OPERATIONS = ("accept", *IN_ROUNDS)


async def measure(options: Options) -> Book:
    """Everything that is wanted. Raises BenchError when a run is not clean."""
    async with stage() as here, contextlib.AsyncExitStack() as stack:
        await prepare_pgbench(here)
        hello_port = free_port()
        hello = await stack.enter_async_context(here.process("hello", [sys.executable, "-m", "bench.hello", str(hello_port)], {}))
        await answering(f"http://127.0.0.1:{hello_port}", hello)
        async with here.admitone("up"):
            run = Run(
                options=options,
                stage=here,
                people=People(here),
                watch=await stack.enter_async_context(watching(here)),
                book=Book(),
                progress=Progress(_steps(options)),
                hello_url=f"http://127.0.0.1:{hello_port}",
            )
            if options.conventional:
                run.conventional_url = await stack.enter_async_context(conventional(here, options.conventional))
            run.progress.next("warm-up")
            await accept.warm_up(run)
            prepared = await accept.list_for_serve_orders(run) if options.wants("accept") else []
            if not options.wants("accept"):
                await _rounds_of_up(run)
        if options.wants("accept"):
            async with here.admitone("serve", "orders"):
                await run.accept(prepared.pop())
                for number, tickets in enumerate(prepared):
                    run.progress.next(f"serve orders, round {number + 1} of {options.rounds}")
                    await run.watch.until_published()
                    await run.measure_yardsticks()
                    await accept.accept_by_serve_orders(run, tickets)
            async with here.admitone("up"):
                run.progress.next("up: what was ordered meanwhile")
                await run.watch.until_quiet()
                await _rounds_of_up(run)
        run.progress.next("verify")
        await asyncio.to_thread(verify, here)
        run.progress.done()
        return run.book


async def _rounds_of_up(run: Run) -> None:
    operations = _of_rounds(run.options)
    if not operations:
        return
    await reading.prepare_list(run)
    if run.options.wants("signin", "mix"):
        await prepare_signin(run)
    await run.measure_idle()
    for number in range(run.options.rounds):
        where = f"round {number + 1} of {run.options.rounds}"
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
    return 2 + options.rounds * (options.wants("accept") + (1 + in_rounds if in_rounds else 0)) + options.wants("accept")
