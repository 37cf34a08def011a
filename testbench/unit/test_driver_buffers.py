"""The driver's ring with indirect tables and with buffers used in order, against the device's side of the model."""

import random

import pytest

from model import formats
from model.memory import OwnershipError
from testbench.driver.platform import DeviceError, DriverError
from testbench.driver.ring import RingStyle
from testbench.unit.ring_pair import SIZES, RingPair

# VIRTIO_F_INDIRECT_DESC

@pytest.mark.requirements("DRV-058", "DRV-062", "DRV-063", "DRV-065")
@pytest.mark.parametrize("style", [
    RingStyle(), RingStyle(indirect="always"), RingStyle(False, False, "always", 5, True), RingStyle(indirect="never")],
    ids=str)
@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_random_buffers_with_and_without_tables(size, in_order, style):
    rng = random.Random(size)
    pair = RingPair(size, style=style, indirect=True, in_order=in_order)
    ring, queue = pair.ring, pair.queue
    available, begun, expected, finished, shapes = [], [], [], 0, set()
    while finished < 300:
        action = rng.choice(("add", "fetch", "use", "collect"))
        if action == "add" and ring.free:
            indirect = rng.choice((None, None, True))
            count = rng.randint(1, size)
            if ring.slots(count, indirect) > ring.free:
                continue
            elements = pair.elements(rng, count)
            token = object()
            ring.add(elements, token, indirect=indirect)
            with_table = indirect or style.indirect == "always" or style.indirect == "several" and count > 1
            available.append((token, elements, with_table))
            shapes.add((count, with_table))
        elif action == "fetch" and (chain := queue.fetch()):
            token, elements, with_table = available.pop(0)
            assert [tuple(element) for element in chain.elements] == elements
            assert chain.indirect == with_table
            begun.append((token, chain))
        elif action == "use" and begun:
            token, chain = begun.pop(0 if in_order else rng.randrange(len(begun)))
            written = rng.randint(0, chain.capacity)
            queue.use(chain, written)
            expected.append((token, written))
        elif action == "collect":
            assert ring.has_used() == bool(expected)
            found = ring.collect(rng.choice((None, 1, 3)))
            assert found == expected[:len(found)] and (found or not expected)
            del expected[:len(found)]
            finished += len(found)
    assert (size, True) in shapes or size > 7
    while queue.fetch():
        pass
    assert (queue.avail.index, queue.avail.wrap) == (ring.avail_index, ring.avail_wrap)
    ring.close()
    assert not pair.memory._grants and list(pair.memory._allocated) == [pair.room]


def test_tables_belong_to_the_device_until_the_buffer_is_used_and_are_used_again():
    pair = RingPair(4, indirect=True)
    ring, places = pair.ring, []
    for _ in range(2):
        for _ in range(4):
            ring.add(pair.buffer(7, False) * 3)
        tables = [formats.DESC.unpack_from(ring._bytes, 16 * n)[:2] for n in range(4)]
        assert [length for _, length in tables] == [48] * 4 and len(set(tables)) == 4
        with pytest.raises(OwnershipError):
            pair.memory.device_read(tables[0][0], 49)
        for address, _ in tables:
            pair.memory.device_read(address, 48)
            with pytest.raises(OwnershipError):
                pair.memory.device_write(address, b"x")
            pair.use_next()
        ring.collect()
        for address, _ in tables:
            with pytest.raises(OwnershipError):
                pair.memory.device_read(address, 1)
        places.append({address for address, _ in tables})
    assert places[0] == places[1]


def test_an_entry_of_a_table_has_no_flag_but_write():
    for ids, shown in ((True, 0), (False, 0xdead)):
        pair = RingPair(2, indirect=True, style=RingStyle(True, ids, "always", 3, True))
        pair.ring.add([(pair.room, 5, False), (pair.room + 9, 6, True)])
        address, length, buffer_id, flags = formats.DESC.unpack_from(pair.ring._bytes)
        assert (length, buffer_id, flags) == (32, 0, formats.DESC_INDIRECT | formats.DESC_WRITE | formats.AVAILABLE[1])
        assert address % 16 == 3
        entries = list(formats.DESC.iter_unpack(pair.memory.device_read(address, 32)))
        assert entries == [(pair.room, 5, shown, 0), (pair.room + 9, 6, shown, formats.DESC_WRITE)]


@pytest.mark.requirements("DRV-062", "DRV-064")
def test_tables_that_a_driver_may_not_build():
    with pytest.raises(DriverError, match="without VIRTIO_F_INDIRECT_DESC"):
        RingPair(4).ring.add([(0, 1, False)], indirect=True)
    pair = RingPair(4, indirect=True)
    with pytest.raises(DriverError, match="chain of 5 elements in a ring of 4"):
        pair.ring.add(pair.buffer() * 5)
    with pytest.raises(DriverError, match="not 'sometimes'"):
        RingStyle(indirect="sometimes")


# VIRTIO_F_IN_ORDER

@pytest.mark.parametrize("size", SIZES)
def test_a_used_descriptor_stands_for_all_before_it(size):
    """Batches of any length, over the ring's end, collected in any portions."""
    rng = random.Random(size)
    pair = RingPair(size, in_order=True, event_idx=True)
    ring, queue = pair.ring, pair.queue
    begun, expected, finished, longest = [], [], 0, 0
    while finished < 500:
        action = rng.choice(("add", "add many", "use", "collect"))
        if action == "add" and ring.free:
            elements = pair.elements(rng, rng.randint(1, min(ring.free, 4)))
            ring.add(elements, token := object())
            begun.append((token, queue.fetch()))
        elif action == "add many":
            tokens = [object() for _ in range(rng.randint(0, ring.free))]
            ring.add_batch([pair.room] * len(tokens), [9] * len(tokens), True, tokens)
            begun += [(token, queue.fetch()) for token in tokens]
        elif action == "use" and begun:
            count = rng.randint(1, len(begun))
            *skipped, (token, chain) = begun[:count]
            del begun[:count]
            written = rng.randint(0, chain.capacity)
            queue.use_batch([(before, before.capacity) for _, before in skipped] + [(chain, written)])
            expected += [(skip, before.capacity) for skip, before in skipped] + [(token, written)]
            longest = max(longest, count)
        elif action == "collect":
            assert ring.has_used() == bool(expected)
            limit = rng.choice((None, 1, 2))
            found = ring.collect(limit)
            assert found == expected[:limit]
            del expected[:limit]
            finished += len(found)
        assert ring.in_flight == len(begun) + len(expected)
    assert longest >= min(size, 7)
    ring.collect()
    assert (ring.used_index, ring.used_wrap) == queue.used


def test_buffers_of_a_batch_that_was_not_collected_are_in_flight_when_the_ring_closes():
    pair = RingPair(5, in_order=True)
    for token in "abcd":
        pair.ring.add(pair.buffer(), token)
    chains = [pair.queue.fetch() for _ in range(3)]
    pair.queue.use_batch([(chain, 10) for chain in chains])
    assert pair.ring.collect(1) == [("a", 10)]
    assert sorted(pair.ring.close()) == ["b", "c", "d"]
    assert not pair.memory._grants


def test_an_id_that_was_skipped_is_not_in_flight():
    pair = RingPair(4, in_order=True)
    for token in "ab":
        pair.ring.add(pair.buffer(), token)
    chains = [pair.queue.fetch() for _ in range(2)]
    pair.queue.use_batch([(chain, 10) for chain in chains])
    assert pair.ring.collect() == [("a", 10), ("b", 10)]
    pair.ring.add(pair.buffer())
    pair.queue.use(chains[0], 0)
    with pytest.raises(DeviceError, match="id 0, which is not in flight"):
        pair.ring.collect()
