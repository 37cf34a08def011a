"""The packed virtqueue engine against drivers and a host that tears its reads."""

import random

import pytest

from hdl.config import NicConfig
from hdl.virtqueue.engine import Direction
from hdl.virtqueue.spec import DropCause
from testbench.unit.vq_host import BUFFERS, Host

SMALL = NicConfig(width=128, pairs=4, queue_size_max=64, cache_descriptors=8, fetch_batch=4, used_batch=4,
                  used_timeout=30, tags=32, reserved_tags=8, read_bytes=128, max_mtu=1500, tx_buffer=8192,
                  rx_buffer=8192)


def chain(rng, slots, *, write, least, most):
    """`slots` elements with together `least` to `most` bytes, split at random; some may be empty."""
    total = rng.randint(least, most)
    cuts = sorted(rng.randint(0, total) for _ in range(slots - 1))
    lengths = [b - a for a, b in zip([0, *cuts], [*cuts, total])]
    return [(BUFFERS + rng.randrange(0x40000), length, write) for length in lengths]


@pytest.mark.parametrize("sizes", [(1, 2, 3, 5), (7, 8, 64, 1)])
@pytest.mark.parametrize("seed", range(2))
def test_transmit(sizes, seed):
    host = Host(SMALL, Direction.TX, sizes, seed=seed, shift=7)
    rng = random.Random(seed)
    backs = [host.driver(queue, [chain(rng, rng.randint(1, min(size, 20)) if rng.random() < 0.5 else 1, write=0,
                                       least=26, most=1534) for _ in range(25)])
             for queue, size in enumerate(sizes)]
    host.run(lambda: all(len(back) == 25 for back in backs))
    assert host.errors == 0 and all(host.interrupts)


@pytest.mark.parametrize("sizes", [(1, 2, 3, 5), (7, 8, 20, 13)])
@pytest.mark.parametrize("seed", range(2))
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


def feed(host, rng, queues):
    """Frames without end; checks every refusal against the ring. Returns the list of causes, which fills."""
    causes = []

    def frames():
        while True:
            if len(host.frames) < 2 and rng.random() < 0.3:
                host.frames.append({"queue": rng.randrange(queues), "length": rng.choice([72, 500, 1200])})
            yield
    host.drivers.append(frames())

    def judge(frame, verdict):
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
