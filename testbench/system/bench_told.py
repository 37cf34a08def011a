"""Doorbells that tell where the driver will go on (NOTIFICATION_DATA), and what the card makes of it."""

from model import formats
from model.formats import Feature
from testbench.bfm.tlp import Kind
from testbench.driver.framing import Framing
from testbench.driver.options import WANTED
from testbench.driver.ring import RingStyle
from testbench.system.bench_traffic import echo
from testbench.system.case import system_test
from testbench.system.echo import echo_counted

TOLD = WANTED | formats.feature_set(Feature.NOTIFICATION_DATA)


class Account:
    """Every doorbell as the driver rings and every descriptor fetch as the card asks, in slots since the queue was set
    up: what is told is fetched, each slot once, and nothing before it was told.

    Made before the driver starts; `watch` tells of a queue, from its first doorbell on.
    """

    def __init__(self, bench):
        self._log = []
        host, core = bench.host, bench.host.core
        ring, send = host.mmio_write, core.rq

        async def mmio_write(address, value, size=4):
            self._log.append((address, value, size))
            await ring(address, value, size)

        def rq(cycle, tlp):
            if tlp.kind is Kind.MEMORY_READ and core.statistics.label_of(tlp.address) == "ring":
                self._log.append((tlp.address, None, tlp.length))
            send(cycle, tlp)
        host.mmio_write, core.rq = mmio_write, rq

    def fetches(self, queue):
        """Goes over what has happened so far, and returns the descriptors of every read. Of a receive queue a part of
        what was told may be left, as long as the card has no room for it."""
        ring, told, fetched, counts = queue.ring, 0, 0, []
        for address, value, size in self._log:
            if address == queue.doorbell_at:
                assert size == 4 and value & 0xffff == queue.index
                place = (value >> 16 & 0x7fff) + ring.size * (1 - (value >> 31))
                told += (place - told) % (2 * ring.size)
            elif ring.descriptors <= address < ring.descriptors + 16 * ring.size:
                assert value is None
                assert address == ring.descriptors + 16 * (fetched % ring.size), "a slot was left out, or comes again"
                counts.append(size // 16)
                fetched += counts[-1]
                assert fetched <= told, "fetched before it was told"
        assert fetched == told or fetched and queue.index % 2 == 0, "told, but not fetched"
        return counts


def _sizes(size, simulators=("verilator", "icarus"), count=None):
    @system_test("BAS-025", "PCI-101", "PKD-014", simulators=simulators, timeout_us=20_000, name=f"told_ring_of_{size}",
                 long=size > 1024)
    async def told(bench):
        """Both ways at once, through every wrap."""
        account = Account(bench)
        nic = await bench.nic(queue_size=size, wanted=TOLD, buffer_slack=0, buffer_align=4 if size > 1024 else 4096,
                              receive_buffers=min(size, 4096))
        frames = [bench.frame(longest=200) for _ in range(count or min(3 * size + 7, 600))]
        if size > 1024:
            await echo_counted(bench, nic, frames, batch=16)
        else:
            assert await echo(bench, nic, frames, batch=max(1, min(16, size // 2))) == frames
        await bench.settle()
        assert nic.statistics["doorbells_saved"] == 0
        for queue in (nic.transmitters[0], nic.receivers[0]):
            account.fetches(queue)
    return told


told_ring_of_1 = _sizes(1)
told_ring_of_2 = _sizes(2)
told_ring_of_3 = _sizes(3)
told_ring_of_5 = _sizes(5)
told_ring_of_7 = _sizes(7)
told_ring_of_64 = _sizes(64)
told_ring_of_255 = _sizes(255)
told_ring_of_256 = _sizes(256)
told_ring_of_32768 = _sizes(32768, simulators=("verilator",), count=33_000)


@system_test("BAS-025", "PCI-101", presets=("tiny", "default"), timeout_us=4000)
async def fetches_what_is_known(bench):
    """As many descriptors at a time as were told, or as a fetch up to its next boundary has: neither more nor less."""
    account = Account(bench)
    nic = await bench.nic(queue_size=40, wanted=TOLD)
    queue, most, place = nic.transmitters[0], bench.parameter("fetch_batch"), 0
    for count in (1, 1, 2, 3, 5, most - 1, most, 1, most + 1, 12, 17, 40, 40):
        count = min(count, bench.parameter("cache_descriptors"), queue.ring.size)
        before = len(account.fetches(queue))
        frames = [bench.frame(60) for _ in range(count)]
        await nic.send_many(frames, batch=count)
        assert [await bench.wire() for _ in frames] == frames
        await nic.flush(timeout_ns=100_000)
        expected, left = [], count
        while left:
            fetch = min(left, queue.ring.size - place)
            fetch = fetch if fetch <= most else most - place % most
            expected += _requests(queue.ring.descriptors + 16 * place, fetch, bench.parameter("read_bytes"))
            left, place = left - fetch, (place + fetch) % queue.ring.size
        assert account.fetches(queue)[before:] == expected


def _requests(address, count, most):
    """Descriptors in each request of a fetch: requests end where `most` bytes do."""
    counts = []
    while count:
        counts.append(min(count, (most - address % most) // 16))
        address, count = address + 16 * counts[-1], count - counts[-1]
    return counts


@system_test("BAS-025", "PKD-012", timeout_us=8000)
async def told_chains(bench):
    """Chains of which only the heads say that they are available: no element is read twice."""
    account = Account(bench)
    nic = await bench.nic(queue_size=16, wanted=TOLD, style=RingStyle(set_bits_on_all=False, set_id_on_all=False),
                          receive_framing=Framing(cuts=(12, 100)))
    frames = [bench.frame(longest=300) for _ in range(60)]
    assert await echo(bench, nic, frames, framing=Framing(cuts=(12, 40)), batch=2) == frames
    await bench.settle()
    for queue in (nic.transmitters[0], nic.receivers[0]):
        account.fetches(queue)


@system_test("FEA-019", "PCI-100", "BAS-023", timeout_us=4000)
async def narrow_doorbells(bench):
    """A queue that is rung for with 16 bits, or told a place that it doesn't have, is served all the same."""
    nic = await bench.nic(queue_size=7, wanted=TOLD)
    queue = nic.transmitters[0]
    for value, size in [(queue.index, 2), (queue.index | 7 << 16, 4), (queue.index | 0xffff << 16, 4)] * 5:
        frame = bench.frame(100)
        assert queue.post(frame, nic.options.framing)
        await bench.host.mmio_write(queue.doorbell_at, value, size)
        assert await bench.wire() == frame
    await nic.flush(timeout_ns=100_000)
