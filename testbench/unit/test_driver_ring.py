"""The driver's ring against the device's side of the functional model, at every kind of size."""

import random
import sys
from types import SimpleNamespace

import pytest

from model import formats
from model.memory import HostMemory, OwnershipError
from model.virtqueue import PackedQueue
from testbench.driver.direct import Labels
from testbench.driver.platform import DeviceError, DriverError
from testbench.driver.ring import PackedRing, RingStyle

SIZES = [1, 2, 3, 5, 7, 64, 255, 256]
STYLES = [RingStyle(bits, ids) for bits in (True, False) for ids in (True, False)]


class Pair:
    """A driver's ring, the device's queue on it, and memory for buffers."""

    def __init__(self, size, style=None):
        self.memory = HostMemory(size=16 << 20)
        self.ring = PackedRing(SimpleNamespace(memory=self.memory, statistics=Labels()), size, style=style)
        self.queue = PackedQueue(self.memory, size=size, descriptors=self.ring.descriptors, driver=self.ring.driver,
                                 device=self.ring.device)
        self.room = self.memory.allocate(1 << 20)

    def elements(self, rng, most):
        count = rng.randint(1, most)
        readable = rng.randint(0, count)
        return [(self.room + rng.randrange(1 << 19), rng.randrange(0, 50), i >= readable) for i in range(count)]


@pytest.mark.requirements("DRV-053", "DRV-054", "DRV-060")
@pytest.mark.parametrize("style", STYLES, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_random_chains_in_any_order_of_completion(size, style):
    rng = random.Random(size)
    pair = Pair(size, style)
    ring, queue = pair.ring, pair.queue
    available, begun, expected, tokens = [], [], [], iter(range(10**9))
    finished = 0
    while finished < 500:
        action = rng.choice(("add", "fetch", "use", "collect"))
        if action == "add" and ring.free:
            elements = pair.elements(rng, min(ring.free, 8))
            token = next(tokens)
            ring.add(elements, token)
            available.append((token, elements))
        elif action == "fetch" and (chain := queue.fetch()):
            token, elements = available.pop(0)
            assert [tuple(element) for element in chain.elements] == elements
            begun.append((token, chain))
        elif action == "use" and begun:
            token, chain = begun.pop(rng.randrange(len(begun)))
            written = rng.randint(0, chain.capacity)
            queue.use(chain, written)
            expected.append((token, written))
        elif action == "collect":
            assert ring.has_used() == bool(expected)
            limit = rng.choice((None, 1, 3))
            found = ring.collect(limit)
            assert found == expected[:limit]
            del expected[:limit]
            finished += len(found)
        assert ring.in_flight == len(available) + len(begun) + len(expected)
    while queue.fetch():
        pass
    assert (queue.avail.index, queue.avail.wrap) == (ring.avail_index, ring.avail_wrap)


@pytest.mark.parametrize("size", SIZES)
def test_batches_are_the_same_as_single_buffers(size):
    rng = random.Random(size)
    one, many = Pair(size), Pair(size)
    for _ in range(50):
        count, writable = rng.randint(0, one.ring.free), rng.random() < 0.5
        addresses = [one.room + rng.randrange(1 << 19) for _ in range(count)]
        lengths = [rng.randrange(1, 2000) for _ in range(count)]
        tokens = [rng.random() for _ in range(count)]
        for address, length, token in zip(addresses, lengths, tokens):
            one.ring.add([(address, length, writable)], token)
        many.ring.add_batch(addresses, lengths, writable, tokens)
        assert one.memory.read(one.ring.descriptors, 16 * size) == many.memory.read(many.ring.descriptors, 16 * size)
        chains = []
        while chain := one.queue.fetch():
            assert many.queue.fetch() == chain
            chains.append(chain)
        for chain in rng.sample(chains, rng.randint(0, len(chains))):
            one.queue.use(chain, 0)
            many.queue.use(chain, 0)
            chains.remove(chain)
        assert one.ring.collect() == many.ring.collect()
        for chain in chains:
            one.queue.use(chain, 0)
            many.queue.use(chain, 0)
        assert one.ring.collect() == many.ring.collect()


def look_after_every_line(function, look):
    """Call `look()` before each line that `function` or what it calls in its module executes."""
    code = function.__func__.__code__

    def trace(frame, event, argument):
        if frame.f_code.co_filename == code.co_filename:
            look()
            return trace
        return None
    return trace


@pytest.mark.requirements("DRV-061", "DRV-066")
@pytest.mark.parametrize("method", ["add", "add_batch"])
def test_what_is_available_is_complete(method):
    """A device that looks at any moment never finds a chain, or its first descriptor, that is not finished."""
    rng = random.Random(1)
    pair = Pair(5)
    ring = pair.ring
    seen = []

    def look():
        queue = PackedQueue(pair.memory, size=5, descriptors=ring.descriptors, driver=ring.driver, device=ring.device)
        queue.avail = pair.queue.avail
        found = []
        while chain := queue.fetch():
            found.append([tuple(element) for element in chain.elements] + [chain.id])
        assert found == [[*elements, chain_id] for elements, chain_id in expected[:len(found)]]
        seen.append(len(found))

    for _ in range(30):
        count = rng.randint(1, 5)
        next_ids = list(ring._free_ids)
        sys.settrace(look_after_every_line(getattr(ring, method), look))
        try:
            if method == "add":
                elements = [(pair.room + rng.randrange(1000), rng.randrange(1, 9), False) for _ in range(count)]
                expected = [(elements, next_ids[0])]
                ring.add(elements)
            else:
                addresses = [pair.room + rng.randrange(1000) for _ in range(count)]
                expected = [([(address, 7, True)], chain_id) for address, chain_id in zip(addresses, next_ids)]
                ring.add_batch(addresses, [7] * count, True, [None] * count)
            look()
        finally:
            sys.settrace(None)
        assert seen[-1] == len(expected)
        while chain := pair.queue.fetch():
            pair.queue.use(chain, 0)
        assert len(ring.collect()) == len(expected)
    assert 0 in seen


def test_largest_ring_wraps():
    pair = Pair(32768)
    for start in (0, 32768):
        pair.ring.add_batch([pair.room] * 200, [1] * 200, False, range(start, start + 200))
        for _ in range(200):
            pair.queue.use(pair.queue.fetch(), 0)
        assert [token for token, _ in pair.ring.collect()] == list(range(start, start + 200))
        long_chain = [(pair.room, 0, False)] * 32768
        pair.ring.add(long_chain, "whole ring")
        chain = pair.queue.fetch()
        assert chain.slots == 32768
        pair.queue.use(chain, 0)
        assert pair.ring.collect() == [("whole ring", 0)]
        assert pair.ring.avail_wrap == pair.queue.used.wrap == (0 if start == 0 else 1)


@pytest.mark.requirements("DRV-058", "DRV-059")
@pytest.mark.parametrize("elements, message", [
    ([], "at least one"),
    ([(0, 1, False)] * 5, "chain of 5 elements in a ring of 4"),
    ([(0, 1, True), (0, 1, False)], "readable element stands behind"),
])
def test_chains_that_a_driver_may_not_build(elements, message):
    with pytest.raises(DriverError, match=message):
        Pair(4).ring.add(elements)


def test_a_full_ring_takes_no_more():
    pair = Pair(4)
    pair.ring.add([(pair.room, 1, False)] * 3)
    with pytest.raises(DriverError, match="chain of 2 elements, 1 descriptors are free"):
        pair.ring.add([(pair.room, 1, False)] * 2)
    with pytest.raises(DriverError, match="2 buffers, 1 descriptors are free"):
        pair.ring.add_batch([0, 0], [1, 1], False, [None, None])


@pytest.mark.parametrize("size", [0, 32769])
def test_impossible_sizes(size):
    with pytest.raises(DriverError, match=f"1 to 32768, not {size}"):
        PackedRing(SimpleNamespace(memory=HostMemory()), size)


@pytest.mark.parametrize("written, buffer_id, message", [
    (0, 5, "id 5, which is not in flight"), (0, 3, "id 3, which is not in flight"),
    (11, 0, "11 bytes written to buffer 0 of 10")])
def test_used_descriptors_that_no_device_may_write(written, buffer_id, message):
    pair = Pair(4)
    pair.ring.add([(pair.room, 10, True)])
    pair.memory.device_write(pair.ring.descriptors, formats.DESC.pack(0, written, buffer_id, 0x8080 | 2))
    with pytest.raises(DeviceError, match=message):
        pair.ring.collect()


@pytest.mark.requirements("DRV-079")
def test_length_without_the_write_flag_means_nothing():
    pair = Pair(4)
    pair.ring.add([(pair.room, 10, True)], "token")
    pair.memory.device_write(pair.ring.descriptors, formats.DESC.pack(0, 999, 0, 0x8080))
    assert pair.ring.collect() == [("token", 0)]


def test_buffers_are_the_devices_from_add_to_collect():
    pair = Pair(4)
    pair.ring.add([(pair.room, 10, False), (pair.room + 100, 10, True)])
    pair.memory.device_read(pair.room, 10)
    pair.memory.device_write(pair.room + 100, bytes(10))
    for wrong in (lambda: pair.memory.device_write(pair.room, b"x"), lambda: pair.memory.device_read(pair.room, 11),
                  lambda: pair.memory.device_read(pair.room + 100, 1)):
        with pytest.raises(OwnershipError):
            wrong()
    pair.queue.use(pair.queue.fetch(), 10)
    pair.ring.collect()
    with pytest.raises(OwnershipError):
        pair.memory.device_read(pair.room, 10)


def test_event_areas_go_one_way():
    pair = Pair(4)
    ring = pair.ring
    with pytest.raises(OwnershipError):
        pair.memory.device_write(ring.driver, bytes(4))
    with pytest.raises(OwnershipError):
        pair.memory.device_read(ring.device, 4)
    ring.disable_interrupts()
    assert pair.memory.device_read(ring.driver, 4) == bytes([0, 0, 1, 0])
    ring.enable_interrupts()
    assert pair.memory.device_read(ring.driver, 4) == bytes(4)


def test_doorbells_as_the_device_wants_them():
    pair = Pair(4)
    assert pair.ring.doorbell_wanted()
    pair.queue.suppress_doorbells(True)
    assert not pair.ring.doorbell_wanted()
    pair.memory.device_write(pair.ring.device, formats.EVENT.pack(0, formats.EVENT_DESC))
    with pytest.raises(DeviceError, match="flags of 2 without VIRTIO_F_EVENT_IDX"):
        pair.ring.doorbell_wanted()


def test_close_takes_everything_back():
    pair = Pair(4)
    pair.ring.add([(pair.room, 10, False)], "a")
    pair.ring.add([(pair.room, 10, True)], "b")
    assert pair.ring.close() == ["a", "b"]
    for address in (pair.room, pair.ring.descriptors, pair.ring.driver):
        with pytest.raises(OwnershipError):
            pair.memory.device_read(address, 4)
