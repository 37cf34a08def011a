"""The hash of receive side scaling.

Source: VIRTIO 1.4, section "Processing of Incoming Packets / Hash calculation"; the Toeplitz hash is defined there.
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..config import KEY_BYTES

__all__ = ["INPUT_BITS", "Toeplitz", "first_bit_first"]


KEY_BITS = 8 * KEY_BYTES
HASH_BITS = 32
# Two IPv6 addresses and two ports.
INPUT_BITS = 2 * 128 + 2 * 16
GROUP_BITS = 24     # of the input: added up within a stage


def first_bit_first(octets):
    """Bytes in the order of the wire, the first lowest, with the bits of each turned around: bit 0 is the first one."""
    return Cat(octets[n:n + 8][::-1] for n in range(0, len(octets), 8))


class Toeplitz(wiring.Component):
    """For every bit of the input that is set, the 32 bits of the key that begin at the same place are added up without
    carry. An input each cycle; latency 2 cycles.

    Attributes
    ----------
    input : In(INPUT_BITS); key : In(KEY_BITS)
        bit 0 is the most significant bit of the first byte, see `first_bit_first`; unused bits of the input are 0
    hash : Out(32)
        a number
    """

    input: In(INPUT_BITS)
    key: In(KEY_BITS)
    hash: Out(HASH_BITS)

    def elaborate(self, platform):
        m = Module()
        starts = range(0, INPUT_BITS, GROUP_BITS)
        groups = [Signal(HASH_BITS, name=f"group{n}", reset_less=True) for n in range(len(starts))]
        for group, start in zip(groups, starts):
            m.d.sync += group.eq(Cat(
                (self.input[start:start + GROUP_BITS] & self.key[start + place:start + place + GROUP_BITS]).xor()
                for place in reversed(range(HASH_BITS))))
        m.d.sync += self.hash.eq(Cat(Cat(group[bit] for group in groups).xor() for bit in range(HASH_BITS)))
        return m
