"""What a run leaves behind for `test_determinism.py` to compare."""

import json
from pathlib import Path

from testbench.system.case import system_test

RECORD = Path("cycles.json")        # in the folder of the run
FRAMES = 24                         # each way: more than the ring has; Icarus needs a second for a few


@system_test(presets=(), timeout_us=4000)
async def cycles_of_a_run(bench):
    """Frames both ways at random, and the cycle in which each of them ends on the wire, or is seen by the driver."""
    nic = await bench.nic(queue_size=16)
    seen = []

    async def reader():
        while len(seen) < FRAMES:
            for frame in await nic.receive_many():
                seen.append((bench.env.now, len(frame)))
    task = bench.platform.spawn(reader())
    for _ in range(FRAMES):
        bench.mac.send(bench.frame())
        await nic.send(bench.frame())
        await bench.platform.sleep(bench.random.uniform(0, 1000))
    await task
    for _ in range(FRAMES):
        await bench.wire()
    await bench.settle()
    # Whether a poll of this testbench sees what happens in its own cycle is nobody's business.
    await bench.clocks(256 - bench.env.now % 256)
    RECORD.write_text(json.dumps({
        "sent": [(frame.first, frame.last, len(frame.data)) for frame in bench.mac.captured], "received": seen,
        "messages": nic.messages.counts, "end": bench.env.now, "pcie": bench.host.statistics.report(bench.env.now),
        "trips": bench.host.statistics.trips}))


@system_test(presets=())
async def a_seed_given_anew(bench):
    """Reseeded, the host draws its latencies as from the beginning."""
    nic, frame = await bench.nic(queue_size=16), bench.frame()

    async def drawn_for_it():
        known = len(bench.host.statistics.trips)
        await nic.send(frame)
        await bench.wire()
        await bench.settle()
        return [ns for _, ns in bench.host.statistics.trips[known:]]

    await drawn_for_it()
    first = bench.host.statistics.trips[0][1]
    bench.env.seed(bench.seed)
    drawn, others = await drawn_for_it(), await drawn_for_it()
    assert drawn[0] == first and drawn != others
    bench.env.seed(bench.seed)
    assert await drawn_for_it() == drawn
