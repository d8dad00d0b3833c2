"""The load generator where Go is not installed: as bench/go/load, from several processes."""

import argparse
import asyncio
import json
import multiprocessing
import time
from collections import Counter

import grpc

PROCESSES = 4


async def calling(
    options: argparse.Namespace, callers: range, calls: int
) -> tuple[list[float], Counter[str]]:
    """Make the calls of one process; return their durations and the codes of those that failed."""
    wire = open(options.request, "rb").read()  # noqa: SIM115, PTH123, ASYNC230 - before all calls
    took: list[float] = []
    failed: Counter[str] = Counter()
    end = time.monotonic() + options.seconds
    left = iter(range(calls)) if options.calls else None

    async def call(channel: grpc.aio.Channel, request: bytes) -> None:
        try:
            method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
            method = channel.unary_unary(options.method)
            await method(request)
        except grpc.aio.AioRpcError as error:
            failed[error.code().name] += 1

    async def caller(number: int, shared: grpc.aio.Channel) -> None:
        made = 0
        while next(left, None) is not None if left else time.monotonic() < end:
            name = f"m-{number}-{made}".encode()
            request = b"\x0a" + bytes([len(name)]) + name + wire if options.named else wire
            began = time.perf_counter()
            if options.per_call:
                async with grpc.aio.insecure_channel(options.target) as own:
                    await call(own, request)
            else:
                await call(shared, request)
            took.append(time.perf_counter() - began)
            made += 1

    async with grpc.aio.insecure_channel(options.target) as shared:
        await asyncio.gather(*(caller(number, shared) for number in callers))
    return took, failed


def work(
    share: tuple[argparse.Namespace, range, int],
) -> tuple[list[float], Counter[str], float]:
    """Do the share of one process; return also how long it took."""
    began = time.perf_counter()
    took, failed = asyncio.run(calling(*share))
    return took, failed, time.perf_counter() - began


def main() -> None:
    """Call, and print what came of it."""
    parser = argparse.ArgumentParser()
    for name in ("target", "method", "request"):
        parser.add_argument(f"-{name}", required=True)
    parser.add_argument("-callers", type=int)
    parser.add_argument("-calls", type=int)
    parser.add_argument("-for", dest="seconds", type=lambda text: float(text.removesuffix("s")))
    parser.add_argument("-named", type=lambda text: text == "true")
    parser.add_argument("-per-call", type=lambda text: text == "true")
    options = parser.parse_args()
    count = min(PROCESSES, options.callers)
    bounds = [options.callers * each // count for each in range(count + 1)]
    calls = [options.calls * each // count for each in range(count + 1)]
    shares = [
        (options, range(bounds[each], bounds[each + 1]), calls[each + 1] - calls[each])
        for each in range(count)
    ]
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        results = pool.map(work, shares)
    took = sorted(duration for durations, _, _ in results for duration in durations)
    failed = sum((codes for _, codes, _ in results), Counter[str]())
    print(
        json.dumps(
            {
                "calls": len(took),
                "seconds": max(seconds for _, _, seconds in results),
                "p50": took[len(took) // 2],
                "p99": took[int(0.99 * (len(took) - 1))],
                "failed": failed,
            }
        )
    )


if __name__ == "__main__":
    main()
