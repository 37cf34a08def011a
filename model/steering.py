"""Which queue pair a received packet goes to: automatically, the one that last sent a packet of the same flow; with
receive side scaling, the one that its hash names.

Source: VIRTIO Version 1.4, section "Automatic receive steering in multiqueue mode". A flow is named by its addresses,
its protocol and its ports, whichever end sends. Only IP packets belong to one; ports count in TCP and UDP that isn't
fragmented, and behind IPv6 extension headers they are not looked for.
"""

from model.offloads_hash import HashConfig, scaled_queue
from model.offloads_parse import TCP, UDP

__all__ = ["Steering", "flow_of"]

_VLAN = (b"\x81\x00", b"\x88\xa8")
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_WITH_PORTS = (TCP, UDP)


def flow_of(frame):
    """What names the flow of an Ethernet frame, the same for both directions; None if it belongs to none."""
    at = 12
    while frame[at:at + 2] in _VLAN and at < 20:
        at += 4
    kind, packet = frame[at:at + 2], frame[at + 2:]
    if kind == _IPV4 and len(packet) >= 20:
        protocol, addresses, payload = packet[9], (packet[12:16], packet[16:20]), packet[4 * (packet[0] & 15):]
        whole = not int.from_bytes(packet[6:8], "big") & 0x3fff       # neither More Fragments nor an offset
    elif kind == _IPV6 and len(packet) >= 40:
        protocol, addresses, payload, whole = packet[6], (packet[8:24], packet[24:40]), packet[40:], True
    else:
        return None
    ports = (b"", b"")
    if whole and protocol in _WITH_PORTS and len(payload) >= 4:
        ports = payload[0:2], payload[2:4]
    return bytes([protocol]), frozenset(zip(addresses, ports)), bool(ports[0])


class Steering:
    """Which pair a received frame may go to. Pairs count from 0.

    Parameters
    ----------
    most_pairs : of the card

    Attributes
    ----------
    pairs : active ones, set by the control queue; 1 at first
    hashes : HashConfig that the control queue has set
    scaling : its table decides
    """

    def __init__(self, most_pairs):
        self.most_pairs = most_pairs
        self.pairs = 1
        self.hashes, self.scaling = HashConfig(), False
        self._sender = {}

    def set_pairs(self, pairs):
        self.pairs, self.scaling = pairs, False

    def set_scaling(self, hashes):
        self.hashes, self.scaling, self.pairs = hashes, True, self.most_pairs

    def transmitted(self, frame, pair):
        """`frame` was sent on `pair`."""
        flow = flow_of(frame)
        if flow is not None:
            self._sender[flow] = pair

    def legal(self, frame, usable=None):
        """Pairs that `frame` may be received on: the one that last sent a frame of its flow, else any active one.
        `usable`, if given, are the pairs whose receive queue is enabled: of the others none is chosen."""
        if self.scaling:
            pair = scaled_queue(frame, self.hashes)
            return {pair} if usable is None or pair in usable else set()
        pairs = {pair for pair in range(self.pairs) if usable is None or pair in usable}
        sender = self._sender.get(flow_of(frame))
        return {sender} if sender in pairs else pairs

    def choose(self, frame, usable):
        """One of the legal pairs, for frames of a flow always the same; None if there is none."""
        legal = sorted(self.legal(frame, usable))
        if not legal:
            return None
        flow = flow_of(frame)
        return legal[sum(sum(address) + sum(port) for address, port in flow[1]) % len(legal)] if flow else legal[0]
