"""Who notifies whom, by position: the driver's ring against the device's side of the model."""

import random

import pytest

from model import formats
from model.virtqueue import Position
from testbench.driver.platform import DeviceError
from testbench.unit.ring_pair import SIZES, RingPair

# VIRTIO_F_EVENT_IDX

def positions(size):
    return [Position(index, wrap) for wrap in (1, 0) for index in range(size)]


@pytest.mark.requirements("DRV-067")
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_a_doorbell_for_the_descriptor_that_is_waited_for(size):
    """Every start, number of descriptors since the last decision, and position asked for."""
    wanted = 0
    for start in range(2 * size):
        pair = RingPair(size, event_idx=True)
        ring, queue = pair.ring, pair.queue
        for _ in range(start):
            ring.add(pair.buffer())
            pair.use_next()
            ring.collect()
        for added in range(1, 2 * size + 1):
            ring.decide_doorbell()
            passed = []
            for _ in range(added):
                passed.append(Position(ring.avail_index, ring.avail_wrap))
                ring.add(pair.buffer())
                pair.use_next()         # a device that looks by itself may be ahead of the doorbell
                ring.collect()
            for event in positions(size):
                pair.memory.device_write(ring.device, formats.EVENT.pack(
                    event.index | event.wrap << 15, formats.EVENT_DESC))
                assert ring.doorbell_wanted() == (event in passed), (start, added, event)
                wanted += event in passed
            assert queue.avail == (ring.avail_index, ring.avail_wrap)
    assert wanted == sum(range(1, 2 * size + 1)) * 2 * size


def test_what_was_decided_about_is_not_rung_for_again():
    pair = RingPair(5, event_idx=True)
    ring = pair.ring
    pair.queue.suppress_doorbells(False)
    assert not ring.doorbell_wanted()           # nothing was added
    ring.add(pair.buffer())
    assert ring.doorbell_wanted() and ring.doorbell_wanted()
    assert ring.decide_doorbell() and not ring.decide_doorbell()
    ring.add_batch([pair.room] * 3, [1] * 3, True, range(3))
    assert not ring.doorbell_wanted()
    pair.queue.fetch()
    pair.queue.suppress_doorbells(False)        # asks for the next, which is there already
    assert ring.doorbell_wanted()


@pytest.mark.parametrize("event, message", [
    ((0x8000, 3), "flags of 3"), ((0x8005, 2), "names descriptor 5 of 5")])
def test_requests_for_doorbells_that_no_device_may_make(event, message):
    pair = RingPair(5, event_idx=True)
    pair.memory.device_write(pair.ring.device, formats.EVENT.pack(*event))
    with pytest.raises(DeviceError, match=message):
        pair.ring.doorbell_wanted()


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_an_interrupt_after_as_many_buffers_as_asked_for(size, in_order):
    """With buffers of one descriptor, exactly then; if fewer are under way, with the last of them."""
    rng = random.Random(size)
    pair = RingPair(size, event_idx=True, in_order=in_order)
    ring, queue = pair.ring, pair.queue
    for _ in range(300):
        while ring.in_flight < rng.randint(1, size):
            ring.add(pair.buffer())
        after = rng.randint(1, size + 2)
        ring.enable_interrupts(after)
        assert not ring.has_used()
        queue.wants_interrupt()
        for used in range(1, ring.in_flight + 1):
            pair.use_next()
            assert queue.wants_interrupt() == (used == min(after, ring.in_flight)), (used, after)
            if rng.random() < 0.2:
                break
        ring.collect()


def test_interrupts_after_whole_chains_in_order():
    pair = RingPair(7, event_idx=True, in_order=True)
    for count in (3, 1, 2):
        pair.ring.add(pair.buffer() * count)
    for after, where in ((1, 0), (2, 3), (3, 4), (4, 5)):
        pair.ring.enable_interrupts(after)
        assert pair.memory.device_read(pair.ring.driver, 4) == formats.EVENT.pack(0x8000 | where, formats.EVENT_DESC)
    pair.ring.disable_interrupts()
    assert pair.memory.device_read(pair.ring.driver, 4) == bytes([0, 0, 1, 0])


# VIRTIO_F_NOTIFICATION_DATA: the device's side

@pytest.mark.parametrize("size", SIZES)
def test_the_device_fetches_what_the_doorbell_told(size):
    """Doorbells come late, twice, and one behind another."""
    rng = random.Random(size)
    pair = RingPair(size, notification_data=True)
    ring, queue = pair.ring, pair.queue
    doorbells, told, fetched, added = [], 0, 0, 0
    while fetched < 300:
        action = rng.choice(("add", "ring", "fetch"))
        if action == "add" and ring.free:
            ring.add(pair.buffer())
            added += 1
            doorbells.append((added, Position(ring.avail_index, ring.avail_wrap)))
        elif action == "ring" and doorbells:
            rung, position = doorbells.pop(rng.randrange(min(2, len(doorbells))))
            told = max(told, rung)
            for _ in range(rng.randint(1, 2)):
                queue.tell(position)
        elif action == "fetch":
            chain = queue.fetch()
            assert (chain is not None) == (fetched < told)
            if chain:
                fetched += 1
                doorbells = [bell for bell in doorbells if bell[0] > fetched - size]
                queue.use(chain, 0)
                ring.collect()
