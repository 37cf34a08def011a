"""Which event makes which interrupt, in which order, and when none at all."""

import random

import pytest
from amaranth.hdl import Cat

from hdl.config import NicConfig
from hdl.virtio.interrupts import Interrupts
from testbench.unit.bench import StreamBench

NONE = 0x800


class Rig:
    """`Interrupts` with a log of (cycle, kind, vector) of all that comes out."""

    def __init__(self, *, msix=1, live=1, notify_config=1, config_vector=17, seed=1, stall=0.0,
                 collect=True):
        self.dut = dut = Interrupts(NicConfig(pairs=8))
        self.bench = StreamBench(dut, seed=seed)
        self.settings = {"msix_enable": msix, "live": live, "notify_config": notify_config,
                         "config_vector": config_vector}
        self.requests = self.bench.get(dut.requests, stall=stall) if collect else []
        self.log = []
        self.bench.process(self.watch, wait=False)

    async def watch(self, ctx):
        dut, cycle, held = self.dut, 0, False
        for name, value in self.settings.items():
            ctx.set(getattr(dut, name), value)
        while True:
            _, _, request, ready, isr_queue, isr_config, change, rx, tx, control = await ctx.tick().sample(
                Cat(dut.requests.valid, dut.requests.payload.vector), dut.requests.ready, dut.isr_queue, dut.isr_config,
                dut.config_change, dut.rx.valid & dut.rx.ready, dut.tx.valid & dut.tx.ready,
                dut.control.valid & dut.control.ready)
            offered = request & 1
            for kind, happened in (("isr_queue", isr_queue), ("isr_config", isr_config),
                                   ("request", offered and not held), ("change", change), ("rx", rx), ("tx", tx),
                                   ("control", control)):
                if happened:
                    self.log.append((cycle, kind, request >> 1 if kind == "request" else None))
            held = offered and not ready
            cycle += 1

    def put(self, port, vectors, stall=0.0):
        queue = {} if port == "control" else {"queue": 3}
        interrupts = [{"vector": vector, **queue} for vector in vectors]
        self.bench.put(getattr(self.dut, port), interrupts, stall=stall)

    async def change(self, ctx):
        ctx.set(self.dut.config_change, 1)
        await ctx.tick()
        ctx.set(self.dut.config_change, 0)

    def run(self, *bodies):
        for body in bodies:
            self.bench.process(body)
        self.bench.run()
        return [request.vector for request in self.requests]

    def count(self, kind):
        return sum(entry[1] == kind for entry in self.log)

    def cycles(self, kind):
        return [entry[0] for entry in self.log if entry[1] == kind]


@pytest.mark.requirements("PCI-099", "PCI-102", "PCI-103")
def test_used_buffers_with_msix():
    rig = Rig()
    rig.put("rx", [1, NONE, 3])
    rig.put("tx", [0x7ff, 0xfff, 1])
    rig.put("control", [5, NONE])
    assert sorted(rig.run()) == [1, 1, 3, 5, 0x7ff]
    assert rig.count("isr_queue") == rig.count("isr_config") == 0


@pytest.mark.requirements("PCI-064", "PCI-103")
def test_used_buffers_without_msix():
    """The vector means nothing then."""
    rig = Rig(msix=0)
    rig.put("rx", [1, NONE, 3])
    rig.put("tx", [2])
    rig.put("control", [4])
    assert rig.run() == []
    assert rig.count("isr_queue") == 5 and rig.count("isr_config") == 0


@pytest.mark.requirements("PCI-063", "PCI-104", "PCI-105", "BAS-032")
@pytest.mark.parametrize("msix, vector, requests", [(1, 17, [17]), (1, NONE, []), (1, 0xfff, []), (0, 17, []),
                                                    (0, NONE, [])])
def test_config_change(msix, vector, requests):
    """The ISR bit in every case, and before the message."""
    rig = Rig(msix=msix, config_vector=vector)
    assert rig.run(rig.change) == requests
    assert rig.count("isr_config") == 1 and rig.count("isr_queue") == 0
    assert all(cycle > rig.cycles("isr_config")[0] for cycle in rig.cycles("request"))


@pytest.mark.requirements("BAS-004", "BAS-006")
@pytest.mark.parametrize("live, notify_config", [(0, 0), (0, 1), (1, 1)])
def test_gates(live, notify_config):
    """Used buffers need a live device; a configuration change is told also when DEVICE_NEEDS_RESET ended that."""
    for msix in (0, 1):
        rig = Rig(msix=msix, live=live, notify_config=notify_config)
        rig.put("rx", [1, 2])
        rig.put("tx", [3])
        requests = rig.run(rig.change)
        assert rig.count("rx") == 2 and rig.count("tx") == 1, "what is not told is taken all the same"
        assert sorted(requests) == ([1, 2, 3] * live + [17] * notify_config) * msix
        assert rig.count("isr_queue") == (0 if msix else 3 * live)
        assert rig.count("isr_config") == notify_config


@pytest.mark.requirements("BAS-010")
@pytest.mark.parametrize("msix", [0, 1])
def test_nothing_after_reset_began(msix):
    rig = Rig(msix=msix)
    rig.put("rx", range(20))
    rig.put("tx", range(20))

    async def reset(ctx):
        await ctx.tick().repeat(10)
        ctx.set(rig.dut.quiesce, 1)
        await ctx.tick()
        await rig.change(ctx)
        await ctx.tick().until(rig.dut.idle)
    rig.run(reset)
    assert 0 < len(rig.cycles("request") + rig.cycles("isr_queue")) < 20
    assert max(rig.cycles("request") + rig.cycles("isr_queue")) <= 10 and rig.count("isr_config") == 0
    assert rig.count("rx") == rig.count("tx") == 20


@pytest.mark.requirements("BAS-010")
def test_reset_forgets_a_change_that_waits():
    """The request of a configuration change stands behind another that is not taken when the reset begins."""
    rig = Rig(collect=False)
    rig.put("rx", [5])

    async def reset(ctx):
        await ctx.tick().repeat(10)
        await rig.change(ctx)
        await rig.change(ctx)
        ctx.set(rig.dut.quiesce, 1)
        assert not ctx.get(rig.dut.idle)
        ctx.set(rig.dut.requests.ready, 1)
        await ctx.tick().repeat(5)
    rig.bench.process(reset)
    rig.bench.run()
    assert [entry[2] for entry in rig.log if entry[1] == "request"] == [5]
    assert rig.count("isr_config") == 2


def test_changes_collapse_and_go_first():
    rig = Rig(stall=0.9, seed=3)
    rig.put("rx", [1] * 20)
    rig.put("tx", [2] * 20)

    async def changes(ctx):
        await ctx.tick().repeat(40)
        for _ in range(3):
            await rig.change(ctx)
    requests = rig.run(changes)
    assert sorted(requests) in ([1] * 20 + [2] * 20 + [17] * count for count in (1, 2, 3))
    first = rig.cycles("change")[0]
    later = [vector for cycle, kind, vector in rig.log if kind == "request" and cycle > first]
    assert 17 in later[:2]


def test_latency_rate_and_turns():
    rig = Rig()
    rig.put("rx", [1] * 10)
    rig.put("tx", [2] * 10)
    rig.put("control", [3] * 2)
    requests = rig.run()
    assert requests[:22] == [1, 2, 3] * 2 + [1, 2] * 8
    assert rig.cycles("request")[0] == rig.cycles("rx")[0]
    taken = sorted(rig.cycles("rx") + rig.cycles("tx") + rig.cycles("control"))
    assert taken == list(range(taken[0], taken[0] + 22))
    rig = Rig()
    rig.run(rig.change)
    start = rig.cycles("change")[0]
    assert (rig.cycles("isr_config"), rig.cycles("request")) == ([start + 1], [start + 2])


@pytest.mark.parametrize("seed", range(3))
def test_random(seed):
    """Nothing lost, nothing invented, each direction in order."""
    rng = random.Random(seed)
    rig = Rig(seed=seed, stall=rng.choice([0.2, 0.6]))
    rx = [rng.choice([NONE, rng.randrange(0, 100)]) for _ in range(150)]
    tx = [rng.choice([NONE, rng.randrange(100, 200)]) for _ in range(150)]
    control = [rng.choice([NONE, rng.randrange(200, 300)]) for _ in range(20)]
    rig.put("rx", rx, stall=0.3)
    rig.put("tx", tx, stall=0.3)
    rig.put("control", control, stall=0.9)
    requests = rig.run()
    for n, vectors in enumerate((rx, tx, control)):
        assert [vector for vector in requests if vector // 100 == n] == [vector for vector in vectors if vector != NONE]
