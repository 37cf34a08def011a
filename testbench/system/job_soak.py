"""The soak inside the simulator: see sim/soak.py, which starts it and shows how far it is."""

import json
from collections import Counter
from pathlib import Path

import cocotb

from model import formats
from model.formats import CONTROL_FEATURES, Feature
from testbench.driver.net import WANTED
from testbench.system.bench import Bench
from testbench.system.case import settings
from testbench.system.soak import Soak

REPORT_NS = 100_000
CHANGING = (Feature.EVENT_IDX, Feature.NOTIFICATION_DATA, Feature.IN_ORDER)


def driver_options(rng, number, most_pairs):
    """Of round `number`: each set of the features that change what wakes whom comes up every eighth round."""
    features = [feature for bit, feature in enumerate(CHANGING) if number >> bit & 1]
    return {
        "pairs": min(most_pairs, rng.choice((1, 2, 5))), "queue_size": rng.choice((64, 100, 256, 1024)),
        "refill_batch": rng.choice((1, 8, 16)), "transmit_interrupt_after": rng.choice((1, 8, 40)),
        "sleep_seed": rng.getrandbits(32), "sleep_ns": rng.choice((300, 1000, 4000)),
        "wanted": WANTED | CONTROL_FEATURES | formats.feature_set(*features)}


async def _report(bench, soaks, path):
    while True:
        path.write_text(str(sum(soak.delivered for soak in soaks)))
        await bench.platform.sleep(REPORT_NS)


@cocotb.test()
async def soak(dut):
    """Rounds, each with a driver of its own, until all frames are delivered; leave a result."""
    options = settings()
    job = options["soak"]
    bench = Bench(dut, options, {})
    await bench.start()
    soaks, statistics, rounds = [], Counter(), []
    bench.platform.spawn(_report(bench, soaks, Path(job["progress"])))
    each = -(-job["packets"] // job["rounds"])
    for number in range(job["rounds"]):
        chosen = driver_options(bench.random, number, bench.parameter("pairs"))
        nic = await bench.nic(**chosen)
        soaks.append(Soak(bench, nic, -(-each // (2 * chosen["pairs"]))))
        await soaks[-1].run()
        statistics.update(nic.statistics)
        statistics.update(naps=nic.naps.count, interrupts=sum(nic.messages.counts.values()))
        rounds.append(soaks[-1].delivered)
        await nic.stop()
    result = {"delivered": sum(rounds), "rounds": rounds, "statistics": statistics, "ns": bench.platform.now()}
    await bench.finish()
    Path(job["result"]).write_text(json.dumps(result))
