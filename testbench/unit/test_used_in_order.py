"""VIRTIO_F_IN_ORDER: one used descriptor for many buffers, and only where the driver may believe that they are full."""

import random

import pytest

from testbench.unit.few import few
from testbench.unit.used_bench import AVAIL, USED, Rig, burst, completion, make_config, sizes


@pytest.mark.requirements("FEA-011", "PKD-011", "PKD-017", "PKD-026", "PKD-032", "PKD-033", "PKD-034", "PKD-042")
@pytest.mark.parametrize("width, seed", few(2, [(128, 0), (512, 2), (256, 1), (512, 3)]))
def test_random(width, seed):
    rng = random.Random(f"{width} {seed}")
    config = make_config(width, pairs=5, batch=rng.choice([4, 8]), timeout=20)
    ring_sizes = [*rng.sample([1, 2, 3, 5, 7, 13, 64, 300], 4), 32768]
    rig = Rig(config, [(0x10000 * (n + 1) + 0xf80, size) for n, size in enumerate(ring_sizes[:4])]
              + [(1 << 40, 32768)], seed=seed, stall=rng.choice([0, 0.3, 0.7]),
              accept_delay=lambda: rng.choice([0, 0, 1, 20]), max_payload=rng.choice([0, 1, 2]), in_order=1)
    items = []
    for id in range(400):
        queue = rng.choice([0, 1, 2, 3, 3, 3, 4, 4, 4, 4])
        size = ring_sizes[queue]
        slots = min(size, rng.choice([1, 1, 1, 1, 2, 3, rng.randint(1, size)]))
        items.append(completion(queue, id, length=rng.getrandbits(rng.choice([0, 9, 9, 9, 32])), slots=slots,
                                behind=rng.random() < 0.95, filled=rng.random() < [0.9, 0.5, 1, 0.8, 0.9][queue]))
    rig.put(items, stall=rng.choice([0, 0, 0.5]))
    rig.run()
    assert max(rig.check(items)) > 4


@pytest.mark.parametrize("size, expected", [(1024, [64, 36]), (256, [64, 36]), (64, [17] * 5 + [15]), (7, [2] * 50),
                                            (3, [1] * 100), (1, [1] * 100)])
def test_merged_runs(size, expected):
    """As many as 64 buffers, but a quarter of the ring at a time; each run is a write of 8 bytes."""
    rig = Rig(make_config(timeout=400), [(0x10000, size)], in_order=1)
    items = burst(100, filled=1)
    rig.put(items)
    tlps = rig.run()
    assert rig.check(items) == expected and {tlp.bytes for tlp in tlps} == {8}


@pytest.mark.parametrize("length, expected", [(10, [64, 36]), (1000, [5] * 20), (4096, [1] * 100)])
def test_bytes_end_a_merged_run(length, expected):
    rig = Rig(make_config(timeout=400, most_bytes=4096), [(0x10000, 1024)], in_order=1)
    items = [completion(0, n, length=length, behind=n != 99, filled=1) for n in range(100)]
    rig.put(items)
    rig.run()
    assert rig.check(items) == expected


@pytest.mark.requirements("PKD-033")
def test_chains_over_the_ring_end():
    """The descriptor is at the first slot, with the flags of its pass, and the next one beyond all that was skipped."""
    rig = Rig(make_config(), [(0x10000, 40)], in_order=1)
    items = [completion(0, 1, slots=36, filled=1)] \
        + [completion(0, id, slots=3, filled=1, behind=id != 4) for id in (2, 3, 4)] + [completion(0, 5, filled=1)]
    rig.put(items)
    tlps = rig.run()
    assert [(tlp.address - 0x10008) // 16 for tlp in tlps] == [0, 36, 5]
    assert [tlp.slots[0].flags for tlp in tlps] == [AVAIL | USED, AVAIL | USED, 0]
    assert rig.check(items) == [1, 3, 1]


@pytest.mark.requirements("PKD-034")
def test_partly_filled_buffers():
    """One that isn't filled ends a merged run. A run that it begins has a descriptor for each, filled or not."""
    rig = Rig(make_config(), [(0x10000, 64)], in_order=1)
    filled = [1, 1, 0,  0, 1, 0, 0, 1, 1, 1, 1]
    items = [completion(0, id, length=60 + id, filled=full, behind=id != 10) for id, full in enumerate(filled)]
    rig.put(items)
    assert sizes(rig.run()) == [1, 8]
    assert rig.check(items) == [3] + [1] * 8


def test_timer_flushes_merged_runs():
    rig = Rig(make_config(timeout=40), [(0x10000, 64), (0x20000, 64)], in_order=1)
    items = [completion(queue, id, filled=1, behind=1) for id in range(3) for queue in (0, 1)]
    rig.put(items)
    rig.run()
    assert rig.check(items) == [3, 3]
    assert 40 <= rig.first_beat[0] - rig.taken[0] <= 46


def test_latency_and_throughput():
    """As without the feature: a completion every 2 cycles, and 4 cycles for the last one."""
    rig = Rig(make_config(pairs=1, batch=16), [(0x10000, 256)], in_order=1)
    items = [completion(0, n, filled=1, slots=1 + n % 3, behind=n % 7 != 0) for n in range(200)]
    rig.put(items)
    rig.run()
    rig.check(items)
    assert rig.taken[-1] - rig.taken[0] == 2 * 199
    assert rig.first_beat[0] - rig.taken[0] == 4


def test_without_the_feature_nothing_is_skipped():
    rig = Rig(make_config(), [(0x10000, 64)])
    items = burst(20, filled=1)
    rig.put(items)
    assert sizes(rig.run()) == [8, 8, 4]
    rig.check(items)
