"""The packed virtqueue engine against drivers and a host that tears its reads."""

import random

import pytest

from hdl.config import NicConfig
from hdl.dma.spec import ReadStatus
from hdl.virtqueue.engine import Direction
from hdl.virtqueue.spec import DropCause
from testbench.unit.few import few
from testbench.unit.packed_ring import INDIRECT
from testbench.unit.vq_host import BUFFERS, Host

SMALL = NicConfig(width=128, pairs=4, queue_size_max=64, cache_descriptors=8, cache_elements=8, fetch_batch=4,
                  used_batch=4, used_timeout=30, tags=32, reserved_tags=8, read_bytes=128, max_mtu=1500, tx_buffer=8192,
                  rx_buffer=8192)


def chain(rng, slots, *, write, least, most):
    """`slots` elements with together `least` to `most` bytes, split at random; some may be empty."""
    total = rng.randint(least, most)
    cuts = sorted(rng.randint(0, total) for _ in range(slots - 1))
    lengths = [b - a for a, b in zip([0, *cuts], [*cuts, total])]
    return [(BUFFERS + rng.randrange(0x40000), length, write) for length in lengths]


@pytest.mark.parametrize("sizes, seed", [((1, 2, 3, 5), 0), ((7, 8, 64, 1), 1)])
@pytest.mark.requirements("PKD-001", "PKD-008", "PKD-011", "PKD-022", "PKD-023", "PKD-024", "PKD-025", "PKD-026",
                          "PKD-041", "PKD-042", "PKD-043", "BAS-030")
def test_transmit(sizes, seed):
    host = Host(SMALL, Direction.TX, sizes, seed=seed, shift=7)
    rng = random.Random(seed)
    backs = [host.driver(queue, [chain(rng, rng.randint(1, min(size, 20)) if rng.random() < 0.5 else 1, write=0,
                                       least=26, most=1534) for _ in range(16)])
             for queue, size in enumerate(sizes)]
    host.run(lambda: all(len(back) == 16 for back in backs))
    assert host.errors == 0 and all(host.interrupts)


@pytest.mark.parametrize("sizes, seed", [((1, 2, 3, 5), 0), ((7, 8, 20, 13), 1)])
@pytest.mark.requirements("PKD-001", "PKD-004", "PKD-008", "PKD-022", "PKD-023", "PKD-024", "PKD-026", "PKD-042",
                          "BAS-030")
def test_receive(sizes, seed):
    host = Host(SMALL, Direction.RX, sizes, seed=seed)
    rng = random.Random(seed)

    def writable(size):
        slots = rng.randint(1, size) if rng.random() < 0.5 else 1
        while True:
            # Elements that are not device-writable hold nothing.
            segments = [(address, length, write if slots == 1 or rng.random() < 0.8 else 0)
                        for address, length, write in chain(rng, slots, write=1, least=1000, most=1600)]
            if sum(length for _, length, write in segments if write) >= 72:
                return segments
    backs = [host.driver(queue, [writable(size) for _ in range(200)]) for queue, size in enumerate(sizes)]
    refused = feed(host, rng, len(sizes))
    host.run(lambda: all(len(back) >= 10 for back in backs))
    assert host.errors == 0 and refused


def test_used_at_once_when_buffers_run_out():
    """The driver is not kept waiting for what it has to see before it can give more, though frames always follow."""
    host = Host(SMALL.with_(used_timeout=20_000, used_batch=16), Direction.RX, (20, 30), seed=1)
    host.follows = 1.0
    backs = [host.driver(queue, [[(BUFFERS, 1600, 1)]] * 6, pace=1.0) for queue in range(2)]
    feed(host, random.Random(1), 2)
    host.run(lambda: all(len(back) == 6 for back in backs), limit=5000)


def feed(host, rng, queues):
    """Frames without end; checks every refusal against the ring. Returns the list of causes, which fills."""
    causes = []

    def frames():
        while True:
            if queues and len(host.frames) < 2 and rng.random() < 0.3:
                host.frames.append({"queue": rng.randrange(queues), "length": rng.choice([72, 500, 1200]),
                                    "unwanted": rng.random() < 0.1})
            yield
    host.drivers.append(frames())

    def judge(frame, verdict):
        if frame["unwanted"]:
            assert not verdict.accept and verdict.cause == DropCause.FILTERED
            return
        order = [buffer for buffer in host.rings[frame["queue"]].order if not hasattr(buffer, "promised")]
        if verdict.accept:
            order[0].promised = True
            assert order[0].bytes_of(1) >= frame["length"]
        elif verdict.cause == DropCause.TOO_LONG:
            assert order[0].bytes_of(1) < frame["length"]
            causes.append("too long")
        else:
            assert verdict.cause == DropCause.NO_BUFFER
            causes.append("no buffer")
    host.judge = judge
    return causes


@pytest.mark.parametrize("suppress, seed", few(1, [(True, 0), (True, 1), (False, 0)]))
@pytest.mark.requirements("PKD-040", "PKD-044", "PKD-045", "PKD-047")
def test_doorbell_races(suppress, seed):
    """Every publication is followed by its doorbell, if wanted, at any moment of earlier looks: no buffer is left."""
    host = Host(SMALL, Direction.TX, (3, 5, 8, 16), seed=seed, latency=(1, 25), suppress=suppress, stall=0.1,
                shift=7)
    rng = random.Random(seed)
    count = 40
    backs = [host.driver(queue, [chain(rng, rng.choice([1, 1, 1, 2]), write=0, least=26, most=200)
                                 for _ in range(count)], pace=pace, gap=12, most=1)
             for queue, pace in enumerate([0.1, 0.2, 0.5, 0.9])]
    host.run(lambda: all(len(back) == count for back in backs), limit=20_000)
    assert bool(host.events) == suppress


@pytest.mark.requirements("PKD-012", "PKD-046")
def test_drivers_that_maintain_heads_only():
    host = Host(SMALL, Direction.TX, (5, 16), seed=3, head_only=True, shift=7)
    rng = random.Random(3)
    backs = [host.driver(queue, [chain(rng, rng.randint(1, size), write=0, least=26, most=1534) for _ in range(20)])
             for queue, size in enumerate((5, 16))]
    host.run(lambda: all(len(back) == 20 for back in backs))
    assert host.errors == 0


@pytest.mark.requirements("PKD-022", "PKD-024")
@pytest.mark.parametrize("long_packets, long_header", [
    (0, 0), (1, 1), pytest.param(0, 1, marks=pytest.mark.campaign), pytest.param(1, 0, marks=pytest.mark.campaign)])
def test_malformed_transmit_chains_come_back(long_packets, long_header):
    """Dropped, but returned used; the good ones between them go out."""
    host = Host(SMALL, Direction.TX, (12,), seed=5, shift=7, long_packets=long_packets, long_header=long_header)
    shortest, longest = host.packet_bytes[0], host.packet_bytes[-1]
    good = [(BUFFERS, 100, 0)]
    bad = [[(BUFFERS, 60, 0), (BUFFERS + 500, 60, 1)], [(BUFFERS, 60, 1)], [(BUFFERS, shortest - 1, 0)],
           [(BUFFERS, 0, 0)], [(BUFFERS, 2**32 - 1, 0)], [(BUFFERS, 12, 0), (BUFFERS + 64, 2**32 - 1, 0)],
           [(BUFFERS, longest // 2 + 1, 0)] * 2, [(BUFFERS, 20, 0)] + [(BUFFERS, 1, 1)] * 11,
           [(BUFFERS, 2**31 + 100, 0)]]
    least, most = [(BUFFERS, shortest, 0)], [(BUFFERS + 77, longest, 0)]
    too_long = [(BUFFERS + 77, longest + 1, 0)]
    chains = [good, *[c for b in [*bad, too_long] for c in (b, good)], least, most]
    back = host.driver(0, chains)
    host.run(lambda: len(back) == len(chains))
    assert [buffer.dropped for buffer in sorted(back, key=lambda b: b.number)] \
        == [c in bad or c == too_long for c in chains]
    assert host.errors == 0


@pytest.mark.parametrize("what", ["indirect", "read"])
def test_errors_stop_the_queue_only(what):
    host = Host(SMALL, Direction.TX, (4, 8), seed=6, shift=7)
    chains = [[(BUFFERS, 100, 0)]] * 12
    back = host.driver(1, chains)
    if what == "read":
        host.fetch_status = lambda queue: ReadStatus.ABORTED if queue == 0 else ReadStatus.OK
        host.driver(0, chains)
    else:
        host.driver(0, chains, extra_flags=INDIRECT)
        host.indirect = False
    host.run(lambda: len(back) == len(chains) and host.errors)
    assert host.errors == 1 and not any(entry[0] == "data" and entry[2] == 0 for entry in host.log)


@pytest.mark.parametrize("direction, seed", [(Direction.TX, 0), (Direction.RX, 1)])
@pytest.mark.requirements("PKD-010", "PKD-014")
def test_reset_in_the_middle(direction, seed):
    """Quiesce at a random moment, clear, and a second life with rings that begin at (0, 1) again."""
    host = Host(SMALL, direction, (5, 16, 3), seed=seed, shift=7)
    rng = random.Random(seed)

    backs = []

    def life():
        write = direction is Direction.RX
        chains = [[chain(rng, rng.randint(1, min(ring.size, 12)), write=write, least=1200, most=1500)
                   for _ in range(100)] for ring in host.rings]
        backs[:] = [host.driver(queue, chains[queue], check=False) for queue in range(len(chains))]
        feed(host, rng, 3 if write else 0)
        host.judge = lambda *_: None
    life()
    host.run(lambda: all(len(back) >= 4 for back in backs), life=life,
             resets=[rng.randint(150, 900) for _ in range(3)])
    assert host.errors == 0
