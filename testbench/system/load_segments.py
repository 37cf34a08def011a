"""Packets that the card cuts in segments, as fast as it can."""

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from model.offload import frames_of
from testbench.driver.offload import prepare

__all__ = ["SegmentLoad"]

DISTINCT = 3
BATCH = 8       # packets per doorbell
HEADERS = {"tso4": (IP(src="10.0.0.1", dst="10.0.0.2"), TCP(sport=1000, dport=2000, flags="A")),
           "tso6": (IPv6(src="fd00::1", dst="fd00::2"), TCP(sport=1000, dport=2000, flags="A")),
           "uso": (IP(src="10.0.0.1", dst="10.0.0.2"), UDP(sport=1000, dport=2000))}


class SegmentLoad:
    """Keeps the transmit ring full of packets of `length` bytes, to be cut in segments of `segment` bytes of payload,
    and compares every frame that leaves. One pair.

    Parameters
    ----------
    bench, nic, length, paired : as for `Load`; `paired` is not for this
    kind : "tso4", "tso6" or "uso"
    segment : int

    Attributes
    ----------
    sent : list of one float
        packets on the wire, the last one as far as it has left
    received : list of one 0
    """

    def __init__(self, bench, nic, length, *, paired, kind, segment):
        assert not paired, "packets only leave"
        self._bench, self._nic, self._left = bench, nic, 0
        self.received = [0]
        headers = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
        for layer in HEADERS[kind]:
            headers = headers / layer
        packets = [bytes(headers / Raw(bench.random.randbytes(length - len(headers)))) for _ in range(DISTINCT)]
        features = nic.virtio.features
        self._packets = [prepare(packet, features, segment=segment) for packet in packets]
        self._segments = [frames_of(offload.header(12), packet, features, 1514) for offload, packet in self._packets]
        self._each = len(self._segments[0])
        bench.mac.on_frame.append(self._on_wire)

    @property
    def sent(self):
        return [self._left / self._each]

    async def set_up(self):
        """Nothing needs to be said."""

    async def transmit(self, pair):
        queue, posted = self._nic.transmitters[pair], 0
        while True:
            for _ in range(BATCH):
                offload, packet = self._packets[posted % DISTINCT]
                while not queue.post(packet, self._nic.options.framing, offload):
                    await queue.wait_used()
                posted += 1
            await queue.kick()

    def _on_wire(self, frame):
        packet, number = divmod(self._left, self._each)
        wanted = self._segments[packet % DISTINCT][number]
        assert frame.data == wanted, f"segment {number} of packet {packet} is different"
        self._left += 1
        self._bench.mac.captured.clear()
