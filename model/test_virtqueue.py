"""Device side of the packed ring: positions, event decisions, what is fetched and what is refused."""

import pytest

from model import formats
from model.memory import HostMemory
from model.virtqueue import Chain, Element, PackedQueue, Position, QueueError, covers


def walk(position, count, size):
    """Step by step, by the words of the specification: the wrap counter toggles behind the last descriptor."""
    for _ in range(count):
        index = position.index + 1
        position = Position(0, position.wrap ^ 1) if index == size else Position(index, position.wrap)
        yield position


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_positions_advance_as_if_step_by_step(size):
    for wrap in (0, 1):
        for index in range(size):
            start = Position(index, wrap)
            assert start.advance(0, size) == start
            for count, position in enumerate(walk(start, size, size), 1):
                assert start.advance(count, size) == position


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
def test_covers_is_the_set_of_positions_passed(size):
    """Every start, step, offset and wrap."""
    for wrap in (0, 1):
        for index in range(size):
            start = Position(index, wrap)
            passed = {start}
            for end in walk(start, size, size):
                for event in (Position(i, w) for i in range(size) for w in (0, 1)):
                    assert covers(start, end, event, size) == (event in passed), (start, end, event)
                passed.add(end)


class Ring:
    """A ring written by hand."""

    def __init__(self, size, **options):
        self.memory = HostMemory()
        self.at = self.memory.allocate(16 * size, 16)
        self.events = self.memory.allocate(8, 4)
        self.memory.give(self.at, 16 * size, "rw")
        self.memory.give(self.events, 4, "r")
        self.memory.give(self.events + 4, 4, "w")
        self.queue = PackedQueue(self.memory, size=size, descriptors=self.at, driver=self.events,
                                 device=self.events + 4, **options)

    def put(self, index, *, address=0x1000, length=1, id=0, flags):
        self.memory.write(self.at + 16 * index, formats.DESC.pack(address, length, id, flags))

    def get(self, index):
        return formats.DESC.unpack(self.memory.read(self.at + 16 * index, 16))


NEXT, WRITE, INDIRECT = formats.DESC_NEXT, formats.DESC_WRITE, formats.DESC_INDIRECT
READY = formats.AVAILABLE[1]


@pytest.mark.parametrize("flags", [0x0000, 0x8000, 0x8080])
def test_what_is_not_available(flags):
    ring = Ring(2)
    ring.put(0, flags=flags)
    assert ring.queue.fetch() is None


def test_a_chain_has_the_id_of_its_last_element_and_wraps():
    ring = Ring(3)
    ring.queue.avail = ring.queue.used = Position(2, 1)
    ring.put(2, address=0x10, length=5, id=7, flags=READY | NEXT)
    ring.put(0, address=0x20, length=6, id=8, flags=NEXT | WRITE)
    ring.put(1, address=0x30, length=7, id=9, flags=WRITE)
    chain = ring.queue.fetch()
    assert chain == Chain(9, (Element(0x10, 5, False), Element(0x20, 6, True), Element(0x30, 7, True)))
    assert (chain.slots, chain.capacity) == (3, 13)
    ring.queue.use(chain, 13)
    assert ring.get(2)[1:] == (13, 9, 0x8080 | WRITE)
    assert ring.queue.avail == ring.queue.used == Position(2, 0)
    assert ring.queue.fetch() is None


def test_peeking_changes_nothing():
    ring = Ring(2)
    ring.put(0, flags=READY, id=4)
    assert ring.queue.peek() == ring.queue.peek() == ring.queue.fetch() == Chain(4, (Element(0x1000, 1, False),))
    assert ring.queue.peek() is None


def test_used_without_bytes_has_no_write_flag():
    ring = Ring(1)
    ring.put(0, flags=READY, id=0)
    ring.queue.use(ring.queue.fetch(), 0)
    assert ring.get(0)[1:] == (0, 0, 0x8080)
    ring.put(0, flags=formats.AVAILABLE[0])
    ring.queue.use(ring.queue.fetch(), 0)
    assert ring.get(0)[3] == 0x0000


@pytest.mark.parametrize("chain, message", [
    ([READY | INDIRECT], "INDIRECT without"),
    ([READY | NEXT, NEXT, NEXT], "longer than the queue size of 3"),
])
def test_chains_that_no_driver_may_build(chain, message):
    ring = Ring(3)
    for index, flags in enumerate(chain):
        ring.put(index, flags=flags)
    with pytest.raises(QueueError, match=message):
        ring.queue.fetch()


@pytest.mark.parametrize("size", [0, 32769])
def test_impossible_sizes(size):
    with pytest.raises(QueueError, match=f"queue size {size}"):
        Ring(2).queue.__class__(HostMemory(), size=size, descriptors=0, driver=0, device=0)


@pytest.mark.parametrize("event_idx, flags, desc, wanted", [
    (False, 0, 0, True), (False, 1, 0, False), (False, 2, 0x8000, False), (False, 3, 0, False),
    (True, 2, 0x8000, True), (True, 2, 0x8001, True), (True, 2, 0x8002, False), (True, 2, 0x0000, False),
])
def test_event_decision(event_idx, flags, desc, wanted):
    """After a chain of two has been used, at positions 0 and 1 of the first pass."""
    ring = Ring(4, event_idx=event_idx)
    ring.memory.write(ring.events, formats.EVENT.pack(desc, flags))
    ring.put(0, flags=READY | NEXT)
    ring.put(1, flags=0)
    assert not ring.queue.wants_interrupt()
    ring.queue.use(ring.queue.fetch(), 0)
    assert ring.queue.wants_interrupt() == wanted
    assert not ring.queue.wants_interrupt()


def test_doorbell_suppression():
    ring = Ring(1)
    ring.queue.suppress_doorbells(True)
    assert ring.memory.read(ring.events + 4, 4) == bytes([0, 0, 1, 0])
    ring.queue.suppress_doorbells(False)
    assert ring.memory.read(ring.events + 4, 4) == bytes(4)
