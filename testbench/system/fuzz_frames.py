"""Frames from the wire as nobody should send them, and others."""

from model.filter import MAC_ENTRIES
from testbench.unit.traffic import mobile_frame, offload_frame

__all__ = ["WireFrames"]

BROADCAST = b"\xff" * 6
JUMBO = 9100
TAGS = (b"\x81\x00", b"\x88\xa8")
TYPES = (b"\x08\x00", b"\x86\xdd", *TAGS, b"\x08\x06")


class WireFrames:
    """
    Parameters
    ----------
    rng : random.Random
    mtu : bytes

    Attributes
    ----------
    addresses : list of 6 bytes, to most of which frames go; half of them of groups
    vlans : list of identifiers that most tags have
    known : list of frames whose flows come again
    """

    def __init__(self, rng, mtu):
        self._rng, self._mtu = rng, mtu
        self.addresses = [self.address(group) for group in (0, 1) * 6]
        self.vlans = [rng.randrange(4096) for _ in range(8)]
        self.known = []

    def address(self, group):
        return bytes([self._rng.randrange(256) & ~1 | group]) + self._rng.randbytes(5)

    def many_addresses(self, group):
        """More than the card tells apart."""
        return [self.address(group) for _ in range(MAC_ENTRIES + 1)]

    def next(self, own):
        """(frame, whether the MAC marks it bad); `own` is the card's address."""
        rng = self._rng
        frame = bytearray(rng.choice(self.known) if self.known and rng.random() < 0.15 else self._make())
        if len(frame) >= 14:
            self._address(frame, own)
        return bytes(self._resize(frame)), rng.random() < 0.04

    def _make(self):
        rng = self._rng
        kind = rng.random()
        if kind < 0.55:
            frame = offload_frame(rng, longest=rng.choice((100, 300, 300, 1400)))
        elif kind < 0.65:
            frame = mobile_frame(rng)
        else:
            return self._noise()
        if rng.random() < 0.2:
            frame = bytearray(frame)
            for _ in range(rng.choice((1, 1, 2, 3))):
                frame[rng.randrange(12, min(len(frame), 90))] = rng.choice((0, 0xff, rng.randrange(256)))
        return frame

    def _noise(self):
        """Anything behind an EtherType that makes the card look further; sometimes a first byte of IP."""
        rng = self._rng
        tags = b"".join(rng.choice(TAGS) + rng.randbytes(2) for _ in range(rng.choice((0, 0, 1, 2, 3))))
        head = rng.randbytes(12) + tags + rng.choice((*TYPES, rng.randbytes(2)))
        first = rng.choice((b"", b"\x45", b"\x4f", b"\x60", b"\x44"))
        return head + first + rng.randbytes(rng.choice((0, rng.randrange(60), rng.randrange(60), rng.randrange(1500))))

    def _address(self, frame, own):
        rng = self._rng
        if rng.random() < 0.8:
            frame[:6] = rng.choice((own, own, own, BROADCAST, *self.addresses))
        if frame[12:14] in TAGS and len(frame) >= 16 and rng.random() < 0.8:
            vlan = rng.choice(self.vlans) | rng.randrange(16) << 12
            frame[14:16] = vlan.to_bytes(2, "big")

    def _resize(self, frame):
        """Most stay as they are; others end where it matters."""
        rng, tags = self._rng, 0
        while tags < 2 and frame[12 + 4 * tags:14 + 4 * tags] in TAGS:
            tags += 1
        limit = self._mtu + 14 + 4 * tags
        kind = rng.random()
        if kind < 0.03:
            return frame[:rng.randrange(1, 15)]
        if kind < 0.06:
            return frame[:rng.randrange(1, len(frame) + 1)]
        if kind < 0.11:
            length = limit + rng.choice((-1, 0, 0, 1, 2, 4, 8))
        elif kind < 0.12:
            length = rng.randint(limit, JUMBO)
        else:
            return frame
        return frame[:length] + rng.randbytes(max(0, length - len(frame)))
