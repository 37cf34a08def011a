"""What the card says of the frames that it receives, and where it puts them by it."""

from collections import Counter

from model import formats
from model.formats import ControlClass, Feature, GuestOffloadsCommand, MqCommand, StatisticType, feature_set
from model.offloads_checksum import BAD, NONE, VALID, checksum_verdict
from model.offloads_config import pack_hash_config, pack_rss_config
from model.offloads_hash import HashConfig, frame_hash, scaled_queue
from testbench.driver.framing import Framing
from testbench.driver.options import WANTED
from testbench.driver.receive_header import ReceivedFrame
from testbench.system.case import system_test
from testbench.unit.traffic import mobile_frame, offload_frame

CHECKSUM = WANTED | feature_set(Feature.NET_GUEST_CSUM)
MULTIQUEUE = CHECKSUM | feature_set(Feature.NET_CTRL_VQ, Feature.NET_MQ)
SCALING = MULTIQUEUE | feature_set(Feature.NET_RSS, Feature.NET_HASH_REPORT)
ALL_TYPES = 0x1ff
REFUSED = formats.NET_ERR, b""


def some_frame(rng):
    return mobile_frame(rng) if rng.random() < 0.2 else offload_frame(rng)


@system_test("NET-056", "NET-085", "NET-086", presets=("tiny", "default"), timeout_us=4000)
async def tells_which_checksums_are_right(bench):
    """Bad frames come like all others, but without the flag; without the feature nothing is said, before or after."""
    for wanted in (WANTED, CHECKSUM, WANTED):
        nic = await bench.nic(wanted=wanted, queue_size=8)
        frames = [offload_frame(bench.random) for _ in range(60)]
        assert {checksum_verdict(frame) for frame in frames} == {NONE, VALID, BAD}
        for frame in frames:
            bench.mac.send(frame)
            received = await nic.receive(timeout_ns=50_000)
            assert received == frame
            assert isinstance(received, ReceivedFrame) == (wanted == CHECKSUM)
            if wanted == CHECKSUM:
                assert received.checksum_valid == (checksum_verdict(frame) == VALID), frame.hex()
        await nic.stop()


@system_test("NET-172", "NET-173", timeout_us=4000)
async def offloads_are_switched(bench):
    """All are on at first, and after a reset again; a command that is refused switches nothing."""
    async def told(nic, valid):
        for frame in [offload_frame(bench.random) for _ in range(20)]:
            bench.mac.send(frame)
            received = await nic.receive(timeout_ns=50_000)
            assert received == frame
            assert received.checksum_valid == (valid and checksum_verdict(frame) == VALID), frame.hex()

    async def refused(nic, mask, more=b""):
        data = mask.to_bytes(8, "little") + more
        assert await nic.control.execute(ControlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET, data) == REFUSED
    switched = CHECKSUM | feature_set(Feature.NET_CTRL_VQ, Feature.NET_CTRL_GUEST_OFFLOADS)
    for _ in range(2):
        nic = await bench.nic(wanted=switched, queue_size=8)
        await told(nic, True)
        for offloads in ((), (Feature.NET_GUEST_CSUM,), ()):
            await nic.control.set_guest_offloads(*offloads)
            await told(nic, bool(offloads))
            for mask in (1 << 0, 1 << 1 | 1 << 7, 1 << 63):     # none that was negotiated
                await refused(nic, mask)
            await refused(nic, 0 if offloads else 1 << 1, b"\0")
            await told(nic, bool(offloads))
        await nic.stop()
    for wanted in (switched & ~feature_set(Feature.NET_GUEST_CSUM),
                   switched & ~feature_set(Feature.NET_CTRL_GUEST_OFFLOADS)):
        nic = await bench.nic(wanted=wanted, queue_size=8)
        await refused(nic, 1 << 1)
        await nic.stop()


def random_config(rng, pairs):
    return HashConfig(rng.choice([ALL_TYPES, ALL_TYPES, rng.randrange(ALL_TYPES)]), rng.randbytes(40),
                      tuple(rng.randrange(pairs) for _ in range(1 << rng.randrange(8))), rng.randrange(pairs))


async def scale(nic, config):
    await nic.set_scaling(config.table, types=config.types, key=config.key, unclassified=config.unclassified)


async def expect(bench, nic, frames, config, scaling=True):
    """Each frame comes where it belongs, with what is known of it."""
    reports = formats.has_feature(nic.virtio.features, Feature.NET_HASH_REPORT)
    for frame in frames:
        bench.mac.send(frame)
        (pair, received), = await nic.receive_any(timeout_ns=50_000)
        assert received == frame
        if scaling:
            assert pair == scaled_queue(frame, config), frame.hex()
        assert received.checksum_valid == (checksum_verdict(frame) == VALID)
        assert (received.hash_value, received.hash_report) == (frame_hash(frame, config) if reports else (0, 0))


@system_test("NET-011", "NET-012", "NET-100", "NET-102", "NET-103", "NET-104", "NET-105", "NET-106", "NET-107",
             "NET-108", "NET-162", "NET-163", "NET-164", "NET-166", "NET-167", several_pairs=True, timeout_us=8000)
async def scales_over_several_pairs(bench):
    """Any table, any key, types that change; a configuration that is refused changes nothing."""
    nic = await bench.nic(wanted=SCALING, pairs=4, queue_size=8)
    assert await nic.virtio.read_config("rss_max_key_size") == 40
    assert await nic.virtio.read_config("rss_max_indirection_table_length") == 128
    assert await nic.virtio.read_config("supported_hash_types") == ALL_TYPES
    for _ in range(4):
        config = random_config(bench.random, 4)
        await scale(nic, config)
        await expect(bench, nic, [some_frame(bench.random) for _ in range(15)], config)
        other = random_config(bench.random, 4)
        for data in (pack_rss_config(other.types, other.key, [4], 0, 1),
                     pack_rss_config(1 << 9, other.key, other.table, other.unclassified, 1),
                     pack_rss_config(other.types, other.key, other.table, other.unclassified, 4)[:-1]):
            assert await nic.control.execute(ControlClass.MQ, MqCommand.RSS_CONFIG, data) == (formats.NET_ERR, b"")
        await expect(bench, nic, [some_frame(bench.random) for _ in range(5)], config)


@system_test("NET-152", "NET-153", "NET-156", "NET-161", several_pairs=True, timeout_us=8000)
async def scaling_ends_with_automatic_steering_and_with_a_reset(bench):
    """The last of VQ_PAIRS_SET and RSS_CONFIG is in force; after a reset neither is, nor any hash type."""
    config = HashConfig(ALL_TYPES, bench.random.randbytes(40), (3,), 2)
    for wanted in (SCALING, SCALING & ~feature_set(Feature.NET_MQ)):
        nic = await bench.nic(wanted=wanted, pairs=4, queue_size=8)
        frames = [some_frame(bench.random) for _ in range(8)]
        if not formats.has_feature(wanted, Feature.NET_MQ):
            for frame in frames:        # nothing is steered before a command says so
                bench.mac.send(frame)
                (pair, received), = await nic.receive_any(timeout_ns=50_000)
                assert (pair, received, received.hash_report) == (0, frame, 0)
        await scale(nic, config)
        await expect(bench, nic, frames, config)
        if formats.has_feature(wanted, Feature.NET_MQ):
            await nic.set_pairs(1)
            for frame in frames:
                bench.mac.send(frame)
                (pair, received), = await nic.receive_any(timeout_ns=50_000)
                assert (pair, received) == (0, frame)
        await nic.stop()


@system_test("NET-099", "NET-115", "NET-116", "NET-160", "NET-161", presets=("tiny", "default"), timeout_us=6000)
async def reports_hashes(bench):
    """With a single pair, too; 20 bytes of header both ways, in any framing. No type is on at first, nor after a
    reset; a command that is refused changes none."""
    wanted = CHECKSUM | feature_set(Feature.NET_CTRL_VQ, Feature.NET_HASH_REPORT, Feature.NET_CSUM)
    for _ in range(2):
        nic = await bench.nic(wanted=wanted, queue_size=64)
        config = HashConfig()
        for types in (0, ALL_TYPES, bench.random.randrange(ALL_TYPES)):
            if types:
                config = HashConfig(types, bench.random.randbytes(40))
                await nic.control.set_hashes(config.types, config.key)
            await expect(bench, nic, [some_frame(bench.random) for _ in range(25)], config, scaling=False)
            for data in (pack_hash_config(1 << 9, config.key), pack_hash_config(ALL_TYPES, config.key)[:-1]):
                assert await nic.control.execute(ControlClass.MQ, MqCommand.HASH_CONFIG, data) == REFUSED
            await expect(bench, nic, [some_frame(bench.random) for _ in range(5)], config, scaling=False)
            for _ in range(8):
                frame = bench.frame()
                await nic.send(frame, framing=Framing.random(bench.random, 20 + len(frame)))
                assert await bench.wire() == frame
        await nic.stop()


@system_test("NET-119", several_pairs=True, timeout_us=4000)
async def no_scaling_unless_negotiated(bench):
    nic = await bench.nic(wanted=MULTIQUEUE, pairs=4, queue_size=8)
    config = random_config(bench.random, 4)
    data = pack_rss_config(config.types, config.key, config.table, config.unclassified, 4)
    for command in (MqCommand.RSS_CONFIG, MqCommand.HASH_CONFIG):
        assert await nic.control.execute(ControlClass.MQ, command, data) == (formats.NET_ERR, b"")
    await nic.set_pairs(1)
    for frame in [some_frame(bench.random) for _ in range(8)]:
        bench.mac.send(frame)
        (pair, received), = await nic.receive_any(timeout_ns=50_000)
        assert (pair, received, received.hash_report) == (0, frame, 0)


@system_test("NET-165", several_pairs=True, timeout_us=6000)
async def scaled_frames_of_a_queue_in_reset_are_dropped(bench):
    """They are counted, and no other queue gets them; the other queues go on."""
    wanted = SCALING | feature_set(Feature.RING_RESET)
    nic = await bench.nic(wanted=wanted, pairs=3, queue_size=8)
    config = HashConfig(ALL_TYPES, bench.random.randbytes(40), (0, 1, 2, 1), 2)
    await scale(nic, config)
    await nic.stop_queue(2)
    dropped = await bench.counter("receive.drop.disabled")
    for frame in [some_frame(bench.random) for _ in range(30)]:
        if scaled_queue(frame, config) == 1:
            bench.mac.send(frame)
            await bench.settle()
            dropped += 1
            assert await bench.counter("receive.drop.disabled") == dropped
            assert not any(receiver.ring.has_used() for receiver in nic.receivers if not receiver.closed)
        else:
            await expect(bench, nic, [frame], config)
    await nic.start_queue(2)
    await bench.settle()
    await expect(bench, nic, [some_frame(bench.random) for _ in range(20)], config)


@system_test("NET-200", "NET-201", timeout_us=4000)
async def verdicts_are_counted(bench):
    """rx_csum of the queue, with GUEST_CSUM; without it there is no such type."""
    wanted = CHECKSUM | feature_set(Feature.NET_CTRL_VQ, Feature.NET_DEVICE_STATS)
    nic = await bench.nic(wanted=wanted, queue_size=8)
    frames = [some_frame(bench.random) for _ in range(40)]
    await expect(bench, nic, frames, HashConfig(), scaling=False)
    verdicts = Counter(checksum_verdict(frame) for frame in frames)
    counts = await nic.control.statistics({0: [StatisticType.RX_CSUM]})
    assert counts[0] == {"rx_csum_valid": verdicts[VALID], "rx_needs_csum": 0, "rx_csum_none": verdicts[NONE],
                         "rx_csum_bad": verdicts[BAD]}
    await nic.stop()
    nic = await bench.nic(wanted=wanted & ~feature_set(Feature.NET_GUEST_CSUM), queue_size=8)
    assert StatisticType.RX_CSUM not in await nic.control.statistic_types()
