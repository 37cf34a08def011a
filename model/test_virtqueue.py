"""Device side of the packed ring: positions, event decisions, what is fetched and what is refused."""

import pytest

from model import formats
from model.memory import HostMemory
from model.virtqueue import Chain, Element, PackedQueue, Position, QueueError, RingFeatures, covers


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
    ([READY | NEXT, INDIRECT], "INDIRECT in a chain"),
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
    ring = Ring(4, features=RingFeatures(event_idx=event_idx))
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


@pytest.mark.parametrize("length, flags, message", [
    (16, NEXT, "INDIRECT in a chain"), (0, 0, "table of 0 bytes"), (17, 0, "table of 17 bytes"),
    (64, 0, "table of 64 bytes in a ring of 3")])
def test_tables_that_no_driver_may_build(length, flags, message):
    ring = Ring(3, features=RingFeatures(indirect_desc=True))
    ring.put(0, length=length, flags=READY | INDIRECT | flags)
    with pytest.raises(QueueError, match=message):
        ring.queue.fetch()


def test_of_a_table_only_write_counts():
    ring = Ring(2, features=RingFeatures(indirect_desc=True))
    table = ring.memory.allocate(32)
    ring.memory.give(table, 32, "r")
    ring.memory.write(table, formats.DESC.pack(0x10, 1, 5, 0xffff & ~WRITE) + formats.DESC.pack(0x20, 2, 6, WRITE))
    ring.put(0, address=table, length=32, id=9, flags=READY | INDIRECT | WRITE)
    chain = ring.queue.fetch()
    assert (chain.id, chain.elements, chain.slots) == (9, (Element(0x10, 1, False), Element(0x20, 2, True)), 1)
    ring.queue.use(chain, 0)
    assert ring.queue.used == ring.queue.avail == Position(1, 1)


def test_a_batch_in_order_is_one_used_descriptor():
    ring = Ring(5, features=RingFeatures(in_order=True, event_idx=True))
    for index, flags in enumerate((READY, READY | NEXT, 0, READY | NEXT)):
        ring.put(index, id=index, flags=flags | WRITE)
    ring.put(4, id=4, flags=WRITE)
    chains = [ring.queue.fetch() for _ in range(3)]
    ring.memory.write(ring.events, formats.EVENT.pack(0x8004, formats.EVENT_DESC))
    ring.queue.use_batch([(chain, 1) for chain in chains])
    assert ring.get(0)[1:] == (1, 4, 0x8080 | WRITE) and ring.get(1)[3] == READY | NEXT | WRITE
    assert ring.queue.used == Position(0, 0)
    assert ring.queue.wants_interrupt() and not ring.queue.wants_interrupt()


def test_more_than_a_pass_since_the_last_decision():
    ring = Ring(2, features=RingFeatures(event_idx=True))
    ring.memory.write(ring.events, formats.EVENT.pack(0x8001, formats.EVENT_DESC))
    for index, wrap in ((0, 1), (1, 1), (0, 0)):
        ring.put(index, flags=formats.AVAILABLE[wrap])
        ring.queue.use(ring.queue.fetch(), 0)
    assert ring.queue.wants_interrupt()


def test_a_batch_counts_with_all_its_descriptors():
    """Four in a ring of three: the second one of the first pass, which is asked for, was among them."""
    ring = Ring(3, features=RingFeatures(event_idx=True, in_order=True))
    ring.memory.write(ring.events, formats.EVENT.pack(0x8001, formats.EVENT_DESC))
    for index in range(3):
        ring.put(index, flags=READY)
    ring.queue.use_batch([(ring.queue.fetch(), 0) for _ in range(3)])
    ring.put(0, flags=formats.AVAILABLE[0])
    ring.queue.use(ring.queue.fetch(), 0)
    assert ring.queue.wants_interrupt()


def test_doorbells_are_asked_for_by_position():
    ring = Ring(3, features=RingFeatures(event_idx=True))
    for index in range(3):
        ring.queue.suppress_doorbells(False)
        assert ring.memory.read(ring.events + 4, 4) == formats.EVENT.pack(0x8000 | index, formats.EVENT_DESC)
        ring.put(index, flags=READY)
        ring.queue.fetch()
    ring.queue.suppress_doorbells(False)
    assert ring.memory.read(ring.events + 4, 4) == formats.EVENT.pack(0, formats.EVENT_DESC)
    ring.queue.suppress_doorbells(True)
    assert ring.memory.read(ring.events + 4, 4) == formats.EVENT.pack(0, formats.EVENT_DISABLE)


def test_doorbells_that_tell_of_what_is_not_there():
    ring = Ring(3, features=RingFeatures(notification_data=True))
    ring.put(0, flags=READY)
    assert ring.queue.fetch() is None
    ring.queue.tell(Position(2, 1))
    assert ring.queue.fetch()
    with pytest.raises(QueueError, match="nothing is available"):
        ring.queue.fetch()
    ring.put(1, flags=READY | NEXT)
    ring.put(2, flags=0)
    with pytest.raises(QueueError, match="goes beyond"):
        ring.queue.fetch()
    ring.queue.tell(None)       # rung without saying
    assert ring.queue.fetch().slots == 2 and ring.queue.fetch() is None
