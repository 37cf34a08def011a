"""Any subset of the features: what was negotiated works beside everything else, and what was not is as if it weren't
there. The subsets are those of `feature_cover`, one test each."""

from model import formats
from model.filter import ReceiveFilter
from model.formats import (
    AnnounceCommand,
    ControlClass,
    Feature,
    GsoType,
    GuestOffloadsCommand,
    MacCommand,
    MqCommand,
    NotfCoalCommand,
    RxCommand,
    StatsCommand,
    VlanCommand,
)
from model.offload import MalformedPacket, frames_of
from model.offloads_checksum import VALID, checksum_verdict
from model.offloads_config import pack_hash_config, pack_rss_config
from model.offloads_hash import HashConfig, frame_hash, scaled_queue
from testbench.driver.framing import Framing
from testbench.driver.offload import NO_OFFLOAD, Offload
from testbench.driver.options import REQUIRED, WANTED_ALL
from testbench.system.case import system_test
from testbench.system.feature_cover import cover
from testbench.unit.offload_packets import random_packet
from testbench.unit.traffic import offload_frame

PAIRS = 4
ALL_TYPES = 0x1ff
MAC = bytes.fromhex("020000000001")     # the strap's
KINDS = (GsoType.TCPV4, GsoType.TCPV6, GsoType.UDP_L4)
SMALL_BUFFER = 100


class Subset:
    """One negotiated subset: what the card has to do with it."""

    def __init__(self, bench, taken):
        self.bench, self.random, self.taken = bench, bench.random, taken
        self.several = self.has("NET_MQ") or self.has("NET_RSS")
        self.hashes = HashConfig()

    def has(self, name):
        return Feature[name] in self.taken

    async def start(self):
        features = REQUIRED | formats.feature_set(*self.taken)
        options = {"receive_buffer_bytes": SMALL_BUFFER} if self.has("NET_MRG_RXBUF") else {}
        self.nic = await self.bench.nic(wanted=features, queue_size=32, pairs=PAIRS if self.several else 1, **options)
        assert self.nic.virtio.features == features
        assert (self.nic.mac, self.nic.mtu) == (MAC if self.has("NET_MAC") else None,
                                                1500 if self.has("NET_MTU") else None)
        self.filter = ReceiveFilter(features, MAC)

    async def give_commands(self):
        """Each is carried out if its feature was negotiated, and refused if not; last of all those that say where
        frames go."""
        assert (self.nic.control is None) == (not self.has("NET_CTRL_VQ"))
        if self.nic.control is None:
            return
        key = self.random.randbytes(40)
        table = tuple(self.random.randrange(PAIRS) for _ in range(16)) if self.has("NET_RSS") else (0,)
        offloads = formats.guest_offloads(self.nic.virtio.features)
        for name, kind, command, data in (
                ("NET_CTRL_RX", ControlClass.RX, RxCommand.PROMISC, b"\0"),
                ("NET_CTRL_RX_EXTRA", ControlClass.RX, RxCommand.NOBCAST, b"\0"),
                ("NET_CTRL_MAC_ADDR", ControlClass.MAC, MacCommand.ADDR_SET, MAC),
                ("NET_CTRL_VLAN", ControlClass.VLAN, VlanCommand.DEL, b"\5\0"),
                ("NET_GUEST_ANNOUNCE", ControlClass.ANNOUNCE, AnnounceCommand.ACK, b""),
                ("NET_CTRL_GUEST_OFFLOADS", ControlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET,
                 offloads.to_bytes(8, "little")),
                ("NET_NOTF_COAL", ControlClass.NOTF_COAL, NotfCoalCommand.RX_SET, formats.COAL.pack(0, 0)),
                ("NET_VQ_NOTF_COAL", ControlClass.NOTF_COAL, NotfCoalCommand.VQ_SET, formats.COAL_VQ.pack(0, 0, 0, 0)),
                ("NET_DEVICE_STATS", ControlClass.STATS, StatsCommand.QUERY, b""),
                ("NET_MQ", ControlClass.MQ, MqCommand.VQ_PAIRS_SET, PAIRS.to_bytes(2, "little")),
                ("NET_HASH_REPORT", ControlClass.MQ, MqCommand.HASH_CONFIG, pack_hash_config(ALL_TYPES, key)),
                ("NET_RSS", ControlClass.MQ, MqCommand.RSS_CONFIG, pack_rss_config(ALL_TYPES, key, table, 0, 1))):
            room = {"result_bytes": 8} if kind == ControlClass.STATS else {}
            ack, _ = await self.nic.control.execute(kind, command, data, **room)
            assert ack == (formats.NET_OK if self.has(name) else formats.NET_ERR), (name, ack)
        if self.has("NET_HASH_REPORT") or self.has("NET_RSS"):
            self.hashes = HashConfig(ALL_TYPES, key, table)

    async def transmit(self, count):
        """Frames that ask for nothing, for a checksum or for segments, whether that was negotiated or not."""
        most, dropped, features = self.bench.parameter("max_mtu") + 22, 0, self.nic.virtio.features
        for number in range(count):
            offload, frame = NO_OFFLOAD, self.bench.frame(longest=300)
            if number % 2:
                segment = (0, 300)[number % 4 == 3]
                header, frame = random_packet(self.random, self.random.choice(KINDS), self.random.randbytes(900),
                                              segment)
                offload = Offload(header[0], header[1],
                                  *(int.from_bytes(header[at:at + 2], "little") for at in (2, 4, 6, 8)))
            framing = Framing.random(self.random, formats.net_header_bytes(features) + len(frame))
            await self.nic.transmitters[0].send(frame, framing, offload)
            try:
                for wanted in frames_of(offload.header(12), frame, features, most):
                    assert await self.bench.wire() == wanted
            except MalformedPacket:
                dropped += 1
        await self.nic.flush(timeout_ns=100_000)
        assert await self.bench.counter("transmit.drop.malformed") == dropped
        assert dropped or all(self.has(name) for name in ("NET_HOST_TSO4", "NET_HOST_TSO6", "NET_HOST_USO"))

    async def receive(self, count):
        """Frames to many addresses come where they belong, with what is known of them, unless they are filtered."""
        filtered = 0
        for _ in range(count):
            destination = self.random.choice([MAC, MAC, MAC, b"\xff" * 6, b"\2" + self.random.randbytes(5),
                                              b"\3" + self.random.randbytes(5)])
            frame = destination + offload_frame(self.random)[6:]
            self.bench.mac.send(frame)
            if self.filter.wants(frame):
                (pair, received), = await self.nic.receive_any(timeout_ns=50_000)
                self._check(frame, pair, received)
            else:
                filtered += 1
                await self.bench.settle()
                assert not any(receiver.ring.has_used() for receiver in self.nic.receivers)
        assert await self.bench.counter("receive.drop.filtered") == filtered
        assert (filtered > 0) == (self.has("NET_CTRL_RX") or self.has("NET_CTRL_VLAN"))

    def _check(self, frame, pair, received):
        assert received == frame
        if self.has("NET_RSS"):
            assert pair == scaled_queue(frame, self.hashes), frame.hex()
        valid = self.has("NET_GUEST_CSUM") and checksum_verdict(frame) == VALID
        assert getattr(received, "checksum_valid", False) == valid, frame.hex()
        wanted = frame_hash(frame, self.hashes) if self.has("NET_HASH_REPORT") else (0, 0)
        assert (getattr(received, "hash_value", 0), getattr(received, "hash_report", 0)) == wanted, frame.hex()

    async def reset_a_queue(self):
        if self.has("RING_RESET"):
            await self.nic.stop_queue(1)
            await self.nic.start_queue(1)
            return
        await self.nic.virtio.write("queue_select", 1)
        await self.nic.virtio.write("queue_reset", 1)
        assert [await self.nic.virtio.read(name) for name in ("queue_reset", "queue_enable")] == [0, 1]


def _subset(number, taken):
    @system_test(name=f"features_{number:02}", several_pairs=True, long=True, once=True, timeout_us=8000)
    async def run(bench):
        assert WANTED_ALL == sum(1 << feature["bit"] for feature in bench.manifest["features"]), "others are offered"
        subset = Subset(bench, taken)
        await subset.start()
        await subset.give_commands()
        await subset.transmit(24)
        await subset.receive(40)
        await subset.reset_a_queue()
        frame = bench.frame()
        await subset.nic.send(frame)
        assert await bench.wire() == frame
    return run


globals().update({f"features_{number:02}": _subset(number, taken) for number, taken in enumerate(cover())})
