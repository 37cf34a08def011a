"""The notification area: which writes are doorbells, and of whom."""

import pytest

from hdl.virtio.notify import Notify
from testbench.unit.bench import StreamBench
from testbench.unit.register_bus import RegisterBusAgent


def ring(writes, *, queues=6, page=4096, stall=0.0, seed=1):
    """The doorbells that `writes`, requests as dicts, give; and the cycles they took."""
    dut = Notify(queues, page)
    bench = StreamBench(dut, seed=seed)
    requests = [{"function": 0, "write": 1, "data": 0, "strobe": 0b0011, **write} for write in writes]
    bench.put(dut.bus.request, requests, stall=stall)
    got = bench.get(dut.doorbells, stall=stall)
    answers = bench.get(dut.bus.response, stall=stall)
    bench.run()
    return [(bell.queue, bell.has_data, bell.next_off, bell.next_wrap) for bell in got], answers


@pytest.mark.parametrize("page", [0, 2, 4095, 6000])
def test_page_is_checked(page):
    with pytest.raises(ValueError, match=f"page is a power of 2 from 4 on, not {page}"):
        Notify(4, page)


@pytest.mark.requirements("PCI-060", "PCI-100", "BAS-023")
@pytest.mark.parametrize("page", [4, 4096, 65536])
def test_each_queue_has_its_page(page):
    bells, answers = ring([{"address": queue * page, "data": queue} for queue in (0, 5, 1, 4, 2, 3)], page=page)
    assert [(bell[0], bell[1]) for bell in bells] == [(queue, 0) for queue in (0, 5, 1, 4, 2, 3)]
    assert answers == []


@pytest.mark.requirements("BAS-024", "BAS-025", "PCI-101")
def test_data():
    bells, _ = ring([
        {"address": 3 * 4096, "data": 0x8001_0003, "strobe": 0b1111},
        {"address": 2 * 4096, "data": 0x7fff_0002, "strobe": 0b1111},
    ])
    assert bells == [(3, 1, 1, 1), (2, 1, 0x7fff, 0)]


@pytest.mark.requirements("BAS-026")
def test_repeated():
    bells, _ = ring([{"address": 4096, "data": 1}] * 3)
    assert bells == [(1, 0, 0, 0)] * 3


@pytest.mark.parametrize("write", [
    {"address": 4},                           # beside the doorbell
    {"address": 4092},
    {"address": 0, "strobe": 0b0001},         # too narrow
    {"address": 0, "strobe": 0b1100},
    {"address": 0, "strobe": 0},
    {"address": 6 * 4096},                    # no such queue
    {"address": 1 << 31},
])
def test_not_a_doorbell(write):
    bells, answers = ring([write, {"address": 5 * 4096}])
    assert [bell[0] for bell in bells] == [5]
    assert answers == []


def test_reads_answer_0_and_ring_nothing():
    bells, answers = ring([{"address": 4096, "write": 0, "strobe": 0b1111}, {"address": 0},
                           {"address": 0, "write": 0, "strobe": 0b0011}])
    assert answers == [0, 0]
    assert [bell[0] for bell in bells] == [0]


@pytest.mark.parametrize("seed", range(3))
def test_order_under_stalls(seed):
    queues = [n * 7 % 6 for n in range(100)]
    bells, _ = ring([{"address": queue * 4096, "data": n << 16 | queue, "strobe": 0b1111}
                     for n, queue in enumerate(queues)], stall=0.4, seed=seed)
    assert [(bell[0], bell[2]) for bell in bells] == [(queue, n) for n, queue in enumerate(queues)]


@pytest.mark.parametrize("seed", range(3))
def test_doorbells_between_reads(seed):
    """A doorbell behind a read that is not yet answered rings once."""
    accesses = [{"address": n % 6 * 4096, "data": n << 16, "strobe": 0b1111, "write": n % 3 != 1} for n in range(60)]
    bells, answers = ring(accesses, stall=0.5, seed=seed)
    assert [bell[2] for bell in bells] == [n for n in range(60) if n % 3 != 1]
    assert answers == [0] * 20


def test_a_doorbell_a_cycle_at_once():
    dut = Notify(6, 4096)
    bench = StreamBench(dut)
    cycles = []

    async def body(ctx):
        ctx.set(dut.doorbells.ready, 1)
        ctx.set(dut.bus.request.valid, 1)
        ctx.set(dut.bus.request.payload, {"function": 0, "write": 1, "address": 4096, "data": 1, "strobe": 0b0011})
        for cycle in range(10):
            assert ctx.get(dut.bus.request.ready)
            if ctx.get(dut.doorbells.valid):
                cycles.append(cycle)
            await ctx.tick()
    bench.process(body)
    bench.run()
    assert cycles == list(range(10))


def test_agent_reads():
    dut = Notify(2, 4096)
    bench = StreamBench(dut)
    bus = RegisterBusAgent(dut.bus)

    async def body(ctx):
        for address in (0, 4096, 64):
            assert await bus.read(ctx, address) == 0
    bench.process(body)
    bench.run()
