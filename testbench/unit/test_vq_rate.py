"""Latency and throughput of the virtqueue engine, measured at its ports without stalls."""

import pytest

from hdl.config import NicConfig
from hdl.virtqueue.engine import Direction
from testbench.unit.few import few
from testbench.unit.packed_ring import Indirect
from testbench.unit.vq_host import BUFFERS, Host

CONFIG = NicConfig(pairs=2)
PACKETS = 160
TABLES = 0xd0000


def host_with_backlog(direction, slots=1, count=PACKETS, latency=60, table=False):
    """One queue with `count` chains of `slots` elements, published and then rung for once."""
    host = Host(CONFIG, direction, [256], seed=1, stall=0, latency=(latency, latency), parts=64)
    chains = [[(BUFFERS + 2048 * n + 100 * e, 100, direction is Direction.RX) for e in range(slots)]
              for n in range(count)]
    if table:
        chains = [Indirect(chain, TABLES + 16 * slots * n) for n, chain in enumerate(chains)]
    host.driver(0, chains, pace=1, gap=0, most=count)
    return host


def times(host, kind):
    return [entry[1] for entry in host.log if entry[0] == kind]


@pytest.mark.parametrize("slots", [1, 2])
def test_transmit(slots):
    elements = 240
    host = host_with_backlog(Direction.TX, slots, elements // slots)
    host.run(lambda: len(times(host, "data")) == elements, limit=3000)
    data, fetched = times(host, "data"), times(host, "fetched")
    print("doorbell to fetch", times(host, "fetch")[0] - times(host, "doorbell")[0])
    print("fetched to data read", data[0] - fetched[0])
    print("descriptors per fetch", host.fetched / host.fetch_count)
    assert times(host, "fetch")[0] - times(host, "doorbell")[0] <= 5
    # A chain is begun when its last element is there, in either cache: two more cycles for each further element.
    assert data[0] - fetched[0] <= 10 + 2 * slots
    assert host.fetched / host.fetch_count >= 8
    # The first fetches are small and few: there are twice as many with each round trip that finds a backlog.
    steady = data[elements * 2 // 3:]
    print("cycles an element", (steady[-1] - steady[0]) / (len(steady) - 1))
    # An element a cycle, and a cycle more in a turn of 16 chains or in a small batch.
    assert (steady[-1] - steady[0]) / (len(steady) - 1) <= 1.2


@pytest.mark.parametrize("slots, table", few(3, [(1, False), (2, False), (5, True), (1, True), (2, True)]))
def test_receive(slots, table):
    """The verdict takes no longer for a chain of several elements; then there is an element a cycle."""
    packets = PACKETS // slots
    host = host_with_backlog(Direction.RX, slots, packets, table=table)

    def frames():
        while len(times(host, "tabled" if table else "fetched")) < (packets if table else 8) or any(host.fetches):
            yield
        host.frames = [{"queue": 0, "length": 100 * slots - 28} for _ in range(packets)]
    host.drivers.append(frames())
    host.run(lambda: len(times(host, "write")) == slots * packets, limit=5000)
    verdicts, writes, frame = times(host, "verdict"), times(host, "write"), times(host, "frame")
    print("frame to verdict, write", verdicts[0] - frame[0], writes[0] - frame[0])
    assert len(verdicts) == packets
    assert verdicts[0] - frame[0] <= 3 and writes[0] - frame[0] <= 3
    assert (writes[-slots] - writes[0]) / (packets - 1) <= slots + 1.1


@pytest.mark.parametrize("latency, cycles", [(137, 1.2), (400, 1.8)])
def test_transmit_tables(latency, cycles):
    """Tables of two: 2 cycles a packet as long as the cache has room for all that the host is asked for meanwhile, and
    it has 256 elements."""
    host = host_with_backlog(Direction.TX, 2, 250, latency, table=True)
    host.run(lambda: len(times(host, "data")) == 500, limit=4000)
    data, table, tabled = times(host, "data"), times(host, "table"), times(host, "tabled")
    under_way = max(sum(time <= end for time in table) - n for n, end in enumerate(tabled))
    print("tabled to data read", data[0] - tabled[0], "tables under way", under_way)
    assert len(table) == 250
    assert data[0] - tabled[0] <= 9
    steady = data[250:]
    print("cycles an element", (steady[-1] - steady[0]) / (len(steady) - 1))
    assert (steady[-1] - steady[0]) / (len(steady) - 1) <= cycles
