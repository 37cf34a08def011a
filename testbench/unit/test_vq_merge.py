"""VIRTIO_NET_F_MRG_RXBUF: packets that spread over several buffers, from the frame to the used descriptors."""

import random

import pytest

from hdl.virtqueue.engine import Direction
from hdl.virtqueue.spec import DropCause
from testbench.unit.few import few
from testbench.unit.test_vq_engine import SMALL
from testbench.unit.test_vq_indirect import Places
from testbench.unit.test_vq_rate import CONFIG, times
from testbench.unit.vq_host import BUFFERS, HEADER, Host

WIDE = SMALL.with_(width=512, cache_elements=32, cache_descriptors=32, used_batch=8, read_bytes=512)


def buffers(rng, places, size, *, most, tables=0.0):
    """Buffers of 0 to `most` bytes, of one element or several, some of which are not device-writable."""
    found = []
    for _ in range(300):
        elements = min(max(1, size // 4), rng.choice([1, 1, 1, 2, 4, rng.randint(1, 12)]))
        segments = [(BUFFERS + rng.randrange(0x40000), rng.randint(0, 2 * most // elements), rng.random() < 0.9)
                    for _ in range(elements)]
        if rng.random() < 0.7:
            segments[0] = (segments[0][0], max(HEADER, segments[0][1]), 1)
        found.append(places(segments) if rng.random() < tables else segments)
    return found


def feed(host, rng, lengths, queues):
    """Frames without end. Checks each verdict against the ring; returns the causes and the numbers of buffers."""
    causes, counts = [], []

    def frames():
        while True:
            if len(host.frames) < 2 and rng.random() < 0.3:
                host.frames.append({"queue": rng.randrange(queues), "length": rng.choice(lengths)})
            yield
    host.drivers.append(frames())

    def judge(frame, verdict):
        order = [buffer for buffer in host.rings[frame["queue"]].order if not hasattr(buffer, "promised")]
        if verdict.accept:
            assert order[0].bytes_of(1) >= HEADER
            left, count = frame["length"], 0
            while left > 0:
                order[count].promised = True
                left, count = left - order[count].bytes_of(1), count + 1
            assert verdict.buffers == count
            counts.append(count)
        elif verdict.cause == DropCause.TOO_LONG:
            assert order[0].bytes_of(1) < HEADER
            host.rings[frame["queue"]].stuck = True     # its next buffer does not hold a header, and stays
        else:
            assert verdict.cause == DropCause.NO_BUFFER
        causes.append(verdict.cause)
    host.judge = judge
    return causes, counts


@pytest.mark.parametrize("config, sizes, most, tables, in_order, seed", [
    (SMALL, (1, 7, 16, 30), 600, 0, 0, 0), (WIDE, (64, 23, 40, 5), 120, 0.4, 1, 3),
    pytest.param(SMALL, (5, 13, 32, 64), 200, 0.5, 0, 1, marks=pytest.mark.campaign),
    pytest.param(WIDE, (64, 23, 40, 5), 120, 0, 0, 2, marks=pytest.mark.campaign)])
@pytest.mark.requirements("NET-050", "NET-053", "NET-055", "PKD-035", "PKD-026", "BAS-030")
def test_random(config, sizes, most, tables, in_order, seed):
    """Buffers of all sizes and shapes; small caches, so that many packets have more elements than those hold."""
    host = Host(config, Direction.RX, sizes, seed=seed, merge=True, in_order=in_order)
    rng = random.Random(seed)
    places = Places(rng)
    backs = [host.driver(queue, buffers(rng, places, size, most=most, tables=tables))
             for queue, size in enumerate(sizes)]
    causes, counts = feed(host, rng, [72, 300, 1500], len(sizes))

    def enough():
        return all(len(back) >= 20 or hasattr(ring, "stuck") for back, ring in zip(backs, host.rings))
    host.run(enough, limit=40_000)
    assert host.errors == 0 and max(counts) > 3 and counts.count(1) and DropCause.NO_BUFFER in causes


def lone(config, segments, lengths, *, size=64, merge=True, in_order=0, seed=1, count=None):
    """One queue with these buffers, and then frames; returns the host."""
    host = Host(config, Direction.RX, [size], seed=seed, stall=0, merge=merge, in_order=in_order)
    host.back = host.driver(0, segments, pace=1, gap=0, most=len(segments))

    def frames():
        for _ in range(1500):
            yield
        host.frames = [{"queue": 0, "length": length} for length in lengths]
    host.drivers.append(frames())
    host.run(lambda: len(host.verdicts) == len(lengths) and not host.writing and not host.sent, limit=60_000)
    return host


def filled(host):
    """Bytes in each buffer of the first ring that a frame went into, in ring order."""
    buffers = [*host.back, *host.rings[0].outstanding.values()]
    return [buffer.filled for buffer in sorted(buffers, key=lambda b: b.number) if hasattr(buffer, "filled")]


def bufs(*lengths):
    return [[(BUFFERS + 2048 * n, length, 1)] for n, length in enumerate(lengths)]


@pytest.mark.requirements("NET-050", "NET-053")
def test_exact_ends():
    """As many buffers as are needed, and none for no byte; the next frame begins with the next buffer."""
    host = lone(SMALL, bufs(*[100] * 10), [100, 200, 201, 99, 300])
    assert [accept for accept, _ in host.verdicts] == [1] * 5
    assert filled(host) == [100, 100, 100, 100, 100, 1, 99, 100, 100, 100]


@pytest.mark.requirements("NET-051", "NET-052")
def test_without_the_feature():
    host = lone(SMALL, bufs(*[100] * 4), [100, 200, 60], merge=False)
    assert host.verdicts == [(1, DropCause.NONE), (0, DropCause.TOO_LONG), (1, DropCause.NONE)]


@pytest.mark.parametrize("config", [SMALL, WIDE])
def test_more_than_the_whole_ring_holds(config):
    """Dropped without delay, nothing is consumed, and what fits comes through afterwards."""
    host = lone(config, bufs(*[40] * 16), [641, 640, 100], size=16)
    assert host.verdicts[:2] == [(0, DropCause.NO_BUFFER), (1, DropCause.NONE)] and host.now < 4000


def test_buffers_smaller_than_the_header():
    """The first one of a packet makes it be dropped; behind, any size counts, also none: used with what it holds."""
    host = lone(SMALL, bufs(100, 0, 5, 30, 11, 500), [130, 64], size=16)
    assert host.verdicts == [(1, DropCause.NONE), (0, DropCause.TOO_LONG)]
    assert filled(host) == [100, 0, 5, 25]
    # Also of more elements than the cache holds.
    host = lone(SMALL, [[(BUFFERS, 1, 1)] * 11, [(BUFFERS, 500, 1)]], [72], size=16)
    assert host.verdicts == [(0, DropCause.NO_BUFFER)]
    host = lone(SMALL, [[(BUFFERS, 6, 1)] * 2, [(BUFFERS, 500, 0), (BUFFERS, 60, 1)]], [72], size=16)
    assert host.verdicts == [(1, DropCause.NONE)]


@pytest.mark.parametrize("in_order", few(1, [0, 1]))
def test_hundreds_of_buffers(in_order):
    """More than there is room for anywhere inside."""
    host = lone(WIDE, bufs(*[12] * 251), [1500, 1490, 12], size=256, in_order=in_order)
    assert [accept for accept, _ in host.verdicts] == [1] * 3
    assert filled(host) == [12] * 249 + [2, 12]


@pytest.mark.parametrize("count, length", [(1, 72), (2, 150), (6, 590)])
def test_latency_and_rate(count, length):
    """With several buffers, the verdict takes a cycle for each and one more; then another for each."""
    packets = 160 // count
    host = Host(CONFIG, Direction.RX, [256], seed=1, stall=0, latency=(60, 60), merge=True)
    host.driver(0, [[(BUFFERS + 1024 * n, 100, 1)] for n in range(count * packets)], pace=1, gap=0, most=200)

    def frames():
        while len(times(host, "fetched")) < 8 or any(host.fetches):
            yield
        host.frames = [{"queue": 0, "length": length} for _ in range(packets)]
    host.drivers.append(frames())
    host.run(lambda: len(times(host, "write")) == count * packets, limit=5000)
    verdicts, writes, frame = times(host, "verdict"), times(host, "write"), times(host, "frame")
    print("frame to verdict", verdicts[0] - frame[0], "cycles a packet", (writes[-count] - writes[0]) / (packets - 1))
    assert verdicts[0] - frame[0] <= 2 + count
    assert (writes[-count] - writes[0]) / (packets - 1) <= (2.1 if count == 1 else 2 * count + 2.1)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.requirements("PKD-010", "PKD-014")
def test_reset_in_the_middle(seed):
    host = Host(SMALL, Direction.RX, (5, 16, 30), seed=seed, merge=True)
    rng = random.Random(seed)
    backs = []

    def life():
        places = Places(rng)
        backs[:] = [host.driver(queue, buffers(rng, places, ring.size, most=200, tables=0.3), check=False)
                    for queue, ring in enumerate(host.rings)]
        feed(host, rng, [300, 900], 3)
        host.judge = lambda *_: None
    life()
    host.run(lambda: sum(len(back) for back in backs) >= 8, life=life, resets=[rng.randint(150, 900) for _ in range(3)])
    assert host.errors == 0
