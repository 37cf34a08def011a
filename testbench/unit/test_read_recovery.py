"""The read engine in trouble: timeouts, late completions, discarded and dropped requests, strangers."""

import pytest

from hdl.config import NicConfig
from hdl.dma.read import ReadEngine
from testbench.unit.read_bench import ReadBench
from testbench.unit.read_host import STATUS

# A completion timeout of 50 to 100 us is some 600 cycles at this clock.
TINY = NicConfig.preset("tiny").with_(pairs=2, clock_hz=8_000_000)


def test_timeouts_and_late_completions():
    kinds = iter(["never", None, "late", None, None, "late", "never", None] + [None] * 200)
    bench = ReadBench(ReadEngine(TINY), seed=8, timeout=1, fault=lambda rng, request: next(kinds), limit=20_000)
    for n in range(14):
        bench.ask("data_tx", n % 2, [60 + 40 * n])
    bench.run()
    assert bench.events["timeout_error"] == 4
    # The late ones came after all, and were no news; those that never came keep their tags.
    assert bench.events["unexpected_completion"] >= 2
    assert bench.quarantined == 2


@pytest.mark.parametrize("value, cycles", [(1, (400, 800)), (0, None), (3, None)])
def test_timeout_is_within_its_range(value, cycles):
    """Value 1 is 50 to 100 us; 0 and reserved values are milliseconds, far beyond this run."""
    bench = ReadBench(ReadEngine(TINY), seed=1, timeout=value, fault=lambda rng, request: "never")
    asked = bench.ask("data_tx", 0, [64])
    if cycles:
        bench.run(check=False)
        assert cycles[0] <= asked.delivered_at - bench.request_at[1] <= cycles[1]
    else:
        bench.run(until=lambda bench: bench.cycle > 1200, check=False)
        assert not bench.delivered


def test_clear_brings_quarantined_tags_back():
    kinds = iter(["never"] * 3 + [None] * 100)
    engine = ReadEngine(TINY)
    bench = ReadBench(engine, seed=1, timeout=1, fault=lambda rng, request: next(kinds))
    for n in range(5):
        bench.ask("data_tx", n % 2, [64])
    seen = []

    async def clear(ctx):
        while len(bench.delivered) < 5 or not ctx.get(engine.idle):
            await ctx.tick()
        seen.append(ctx.get(engine.quarantined))
        ctx.set(engine.clear, 1)
        await ctx.tick()
        ctx.set(engine.clear, 0)
        bench.in_flight.clear()
        await ctx.tick()
        seen.append(ctx.get(engine.idle))
        await ctx.tick().until(engine.idle)
        seen.append(ctx.get(engine.quarantined))
        bench.replies.append([0, None, [bench.completer.completion(31, 0, 64, 64, bytes(64))]])
        await ctx.tick().repeat(10)
        seen.append(bench.events["unexpected_completion"])
    bench.bench.process(clear)
    bench.run(until=lambda bench: len(seen) == 4)
    assert seen == [3, 0, 0, 1]


def test_unknown_completions_change_nothing():
    """Completions nobody waits for: of free tags, of tags that do not exist, and TLPs that are no completions."""
    bench = ReadBench(ReadEngine(TINY), seed=4)
    strangers = []

    def interfere(bench):
        if bench.cycle < 60 or bench.cycle % 5 or len(strangers) == 40:
            return
        tag = bench.rng.randrange(24, 256)       # 24 reads: tags 0 to 23 are used
        beats = bench.completer.completion(tag, 0, 64, 64, bytes(64))
        if len(strangers) % 5 == 0:
            beats = bench.completer.completion(tag % 24, 0, 64, 64, bytes(64))
            beats[0]["header"] ^= 1 << 29        # a 4-DW header
        bench.replies.insert(0, [bench.cycle, None, [beats]])
        strangers.append(tag)
    bench.script.append(interfere)
    for n in range(24):
        bench.ask("data_tx", n % 2, [64], offsets=[0])
    bench.run(until=lambda bench: len(bench.delivered) >= 24 and len(strangers) == 40 and not bench.replies)
    assert bench.events == {**dict.fromkeys(bench.events, 0), "unexpected_completion": 40}


@pytest.mark.parametrize("seed", range(3))
def test_discard_in_mid_flight(seed):
    """What is not sent when `discard` rises ends DISCARDED, what is out is awaited, what the mux drops is reported."""
    bench = ReadBench(ReadEngine(TINY), seed=seed, requests_stall=0.5)
    for n in range(40):
        bench.ask(("data_tx", "fetch_rx")[n % 4 == 0], n % 2, [16 * (n % 9)])

    def reset(bench):
        if len(bench.requests) > 12:
            bench.discard, bench.drop_requests = 1, True
            for transactions in bench.open.values():
                for transaction in transactions:
                    transaction.may_fail = True
    bench.script.append(reset)
    bench.run()
    assert {t.ended for t in bench.delivered} == {STATUS["ok"], STATUS["discarded"]}


def test_discarded_reads_need_no_host():
    bench = ReadBench(ReadEngine(TINY), seed=1)
    bench.discard = 1
    for n in range(30):
        bench.ask("data_tx", n % 2, [300]).status = STATUS["discarded"]
    bench.run(until=lambda bench: not any(bench.open.values()) and not bench.requests)



def test_a_read_whose_end_never_comes_times_out():
    """Byte Count says that more will follow, which it does not."""
    bench = ReadBench(ReadEngine(TINY), seed=2, timeout=1, rcb=None, fault=lambda rng, request: "endless")
    bench.ask("data_tx", 0, [64], offsets=[0])
    bench.run()
    assert bench.events["unexpected_completion"] == 1
    assert bench.quarantined == 1


def test_commands_offered_during_initialisation():
    bench = ReadBench(ReadEngine(TINY), seed=2, early=True)
    for n in range(20):
        bench.ask(("data_tx", "fetch_tx")[n % 2], 0, [64], offsets=[0])
    bench.run()
    assert bench.request_at[1] >= TINY.tags
