"""A round of the fuzz inside the simulator: see sim/fuzz.py, which starts it and shows how far it is."""

import json
import random
from collections import Counter
from pathlib import Path

import cocotb

from testbench.system.bench import Bench
from testbench.system.case import settings
from testbench.system.fuzz_receive import ReceiveSession
from testbench.system.fuzz_transmit import TransmitSession

MTUS = (1500, 1500, 1500, 1280, 576, 2000, 68)
STANDS_NS = 3_000_000       # in which a batch is over, whatever is in it
SESSIONS = {"receive": ReceiveSession, "transmit": TransmitSession}


async def _run(bench, session, told):
    """Run it; raises `AssertionError` when nothing goes on any more."""
    platform = bench.platform
    ended, before = platform.event(), None

    async def run():
        try:
            await session.run(told)
        finally:
            ended.set()
    task = platform.spawn(run())
    while not await platform.wait(ended, STANDS_NS):
        assert session.number != before, f"nothing goes on any more, for {STANDS_NS / 1e6} ms of simulated time"
        before = session.number
    await task


@cocotb.test()
async def fuzz(dut):
    """Sessions in both directions, by turns."""
    options = settings()
    job = options["fuzz"]
    mtu = random.Random(f"{job['seed']} {job['round']}").choice(MTUS)
    bench = Bench(dut, options, {"mtu": mtu})
    await bench.start()
    done, tally, progress = {part: 0 for part in SESSIONS}, Counter(), Path(job["progress"])
    for number in range(job["sessions"]):
        for part, kind in SESSIONS.items():
            first, end = (job[part] * n // job["sessions"] for n in (number, number + 1))

            def told(count, part=part):
                done[part] = count
                progress.write_text(json.dumps({**done, "at": part}))
            if first < end:
                rng = random.Random(f"{job['seed']} {job['round']} {part} {number}")
                session = kind(bench, mtu, rng, first, end - first, job["flip"].get(part))
                await _run(bench, session, told)
                told(end)
                tally.update(session.tally)
    await bench.finish()
    Path(job["result"]).write_text(json.dumps({**done, "tally": tally, "ns": bench.platform.now()}))
