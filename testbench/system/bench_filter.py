"""Receive filters as a driver uses them: modes, addresses, VLANs, and the card's own address."""

from model import formats
from model.filter import ReceiveFilter
from model.formats import Feature, RxCommand
from testbench.driver.control import CommandRefused
from testbench.driver.framing import Framing
from testbench.driver.options import WANTED
from testbench.system.case import system_test

FILTERS = WANTED | formats.FILTER_FEATURES
BROADCAST = b"\xff" * 6


def address(bench, group=0):
    return bytes([bench.random.randrange(256) & ~1 | group]) + bench.random.randbytes(5)


def frame_to(bench, destination, vlan=None):
    """A short frame to `destination`, in a VLAN if one is given."""
    tag = b"" if vlan is None else b"\x81\x00" + vlan.to_bytes(2, "big")
    return destination + bench.random.randbytes(6) + tag + b"\x88\xb5" + bench.random.randbytes(46)


def random_frames(bench, expected, pool, count=24):
    """Frames to the addresses of `pool` and others, tagged and not."""
    vlans = [None, None, *sorted(expected.vlans)[:3], bench.random.randrange(4096)]
    return [frame_to(bench, bench.random.choice([*pool, expected.mac, BROADCAST]), bench.random.choice(vlans))
            for _ in range(count)]


async def received(bench, nic, frames):
    """What of `frames` from the wire the driver gets."""
    for frame in frames:
        bench.mac.send(frame)
    await bench.settle()
    got = []
    while nic.receivers[0].ring.has_used():
        got += await nic.receive_many()
    return got


async def check(bench, nic, expected, frames):
    """That the driver gets what the model says, and the card counts the rest."""
    wanted = [frame for frame in frames if expected.wants(frame)]
    before = await bench.counter("receive.drop.filtered")
    assert await received(bench, nic, frames) == wanted
    assert await bench.counter("receive.drop.filtered") - before == len(frames) - len(wanted)
    return wanted


@system_test("NET-120", "NET-121", "NET-122", "NET-123", "NET-124", "NET-137", "NET-138", "NET-140", "NET-141",
             "NET-142", "NET-146", "NET-147", "NET-148", presets=("tiny", "default"), timeout_us=6000)
async def random_filters(bench):
    """Any state, set by commands, against the model; each in effect once its command is used. Reset forgets all."""
    for _ in range(2):
        nic = await bench.nic(wanted=FILTERS, queue_size=64)
        control, expected = nic.control, ReceiveFilter(nic.virtio.features, nic.mac)
        pool = [address(bench, n % 2) for n in range(20)]
        await check(bench, nic, expected, random_frames(bench, expected, pool))
        for _ in range(8):
            for _ in range(3):
                match bench.random.randrange(4):
                    case 0:
                        mode, on = bench.random.choice(list(RxCommand)), bench.random.random() < 0.5
                        await control.set_receive_mode(mode, on)
                        expected.set_mode(mode, on)
                    case 1:
                        tables = [bench.random.sample(pool[kind::2], bench.random.randrange(10)) for kind in (0, 1)]
                        for kind in range(2):
                            if bench.random.random() < 0.1:
                                tables[kind] = [address(bench, kind) for _ in range(65)]
                        data = formats.mac_table(*tables)
                        await control.set_addresses(*tables, framing=Framing.random(bench.random, 2 + len(data), 12))
                        expected.set_addresses(*tables)
                    case 2:
                        vlan, on = bench.random.randrange(4096), bench.random.random() < 0.8
                        await control.set_vlan(vlan, on)
                        (expected.vlans.add if on else expected.vlans.discard)(vlan)
                    case 3:
                        expected.mac = bench.random.choice([nic.mac, address(bench)])
                        await control.set_mac(expected.mac)
            await check(bench, nic, expected, random_frames(bench, expected, pool))
        await nic.stop()


@system_test("NET-125", "NET-126", "NET-127", "NET-128", "NET-129", "NET-130", "NET-131", "NET-132", "NET-133",
             "NET-134", "NET-135", "NET-136")
async def modes_against_each_other(bench):
    """What is not to come goes before what is to come, and promiscuous before everything."""
    nic = await bench.nic(wanted=FILTERS, queue_size=16)
    own, other, group = (frame_to(bench, to) for to in (nic.mac, address(bench), address(bench, 1)))
    everyone = frame_to(bench, BROADCAST)
    frames = [own, other, group, everyone]
    on = set()
    for change, passed in [
            ((), [own, everyone]), ((RxCommand.ALLUNI,), [own, other, everyone]),
            ((RxCommand.NOUNI,), [everyone]), ((RxCommand.ALLMULTI,), [group, everyone]),
            ((RxCommand.NOBCAST,), [group]), ((RxCommand.NOMULTI,), []),
            ((RxCommand.NOBCAST,), [everyone]), ((RxCommand.PROMISC,), frames)]:
        for mode in change:
            on ^= {mode}
            await nic.control.set_receive_mode(mode, mode in on)
        assert await received(bench, nic, frames) == passed, sorted(on)


@system_test("NET-119", "NET-145")
async def no_filter_unless_negotiated(bench):
    """Without the features every frame passes, tagged or not, and their commands are refused."""
    for wanted in (WANTED, WANTED | formats.feature_set(Feature.NET_CTRL_VQ),
                   FILTERS & ~formats.feature_set(Feature.NET_CTRL_RX, Feature.NET_CTRL_VLAN)):
        nic = await bench.nic(wanted=wanted, queue_size=16)
        frames = [frame_to(bench, to, vlan) for to in (nic.mac, address(bench), address(bench, 1), BROADCAST)
                  for vlan in (None, 5)]
        if nic.control:
            for kind, command, data in ((0, 0, b"\1"), (1, 0, bytes(8)), (2, 0, b"\5\0")):
                assert await nic.control.execute(kind, command, data) == (formats.NET_ERR, b"")
        assert await received(bench, nic, frames) == frames
        await nic.stop()


@system_test("NET-139", "NET-143", "NET-137", presets=("tiny", "default"))
async def another_address(bench):
    """MAC_ADDR_SET shows in the configuration, with a new generation and no interrupt, until reset."""
    first = None
    for _ in range(2):
        nic = await bench.nic(wanted=FILTERS, queue_size=8)
        assert first in (None, nic.mac)
        first, second = nic.mac, address(bench)
        frames = [frame_to(bench, to) for to in (first, second, first)]
        assert await received(bench, nic, frames) == [frames[0], frames[2]]
        generation = await nic.virtio.read("config_generation")
        await nic.set_mac(second)
        assert nic.mac == second and await nic.virtio.read("config_generation") != generation
        assert 0 not in nic.messages.counts
        assert await received(bench, nic, frames) == [frames[1]]
        try:
            await nic.control.set_vlan(4096)
        except CommandRefused:
            await nic.stop()
            continue
        raise AssertionError("there are 4096 VLANs")


@system_test("NET-149", "BAS-015", "NET-119")
async def announcements(bench):
    """Asked for when the link comes up, by one interrupt, until the driver acknowledges or resets the card."""
    both = formats.NET_S_LINK_UP | formats.NET_S_ANNOUNCE
    for features in (0, formats.feature_set(Feature.NET_GUEST_ANNOUNCE)):
        nic = await bench.nic(wanted=FILTERS | features, queue_size=8)
        frames = [bench.frame() for _ in range(2)]
        assert not await nic.announce(frames)
        for n in range(2):
            for up in (False, True):
                await bench.set_link(up)
                await bench.settle()
            assert nic.messages.counts[0] == 2 * n + 2
            assert await nic.virtio.read_config("status") == (both if features else formats.NET_S_LINK_UP)
            if not features:
                assert await nic.control.execute(3, 0) == (formats.NET_ERR, b"")
                continue
            generation = await nic.virtio.read("config_generation")
            assert await nic.announce(frames)
            assert await nic.virtio.read_config("status") == formats.NET_S_LINK_UP
            assert await nic.virtio.read("config_generation") != generation
            assert [await bench.wire() for _ in frames] == frames and not await nic.announce(frames)
            assert nic.messages.counts[0] == 2 * n + 2, "the driver's own change"
        for up in (False, True):
            await bench.set_link(up)
        await bench.settle()
        await nic.stop()
        nic = await bench.nic(wanted=FILTERS | features, queue_size=8)
        assert await nic.virtio.read_config("status") == formats.NET_S_LINK_UP
        await nic.stop()
