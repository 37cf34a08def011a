"""Where the testbench's driver puts its rings: on which line of memory a descriptor lies decides how many reads, and
completions, a fetch takes."""

from functools import lru_cache

from model.formats import DESC_BYTES, ETHERNET_HEADER, VLAN_TAG
from model.link import NET_HEADER
from model.memory import Arena
from testbench.driver.options import NicOptions
from testbench.system.job_bench import APART

__all__ = ["ring_places"]

EVENT_BYTES, TABLE_BYTES, SLAB_BYTES, PAGE = 4, 2 * DESC_BYTES, 4096, 4096
MEMORY = 1 << 30        # bytes, more than any driver takes; none of them is touched


@lru_cache
def ring_places(length, ring, queues, indirect):
    """(rings of the receive queues, of the transmit queues): addresses modulo a page, as `driver.net.Nic` sets them up
    for frames of `length` bytes."""
    memory, frame = Arena(0, MEMORY), max(1500, length - ETHERNET_HEADER) + ETHERNET_HEADER + 2 * VLAN_TAG
    gap = APART.gap if indirect else 0

    def allocate(size, align):
        address = memory.find(size, align)
        memory.reserve(address, size)
        return address

    def queue(frame_bytes):
        place = allocate(ring * DESC_BYTES, 16)
        for _ in range(2):
            allocate(EVENT_BYTES, 4)
        stride = -(-(NET_HEADER + frame_bytes + gap) // PAGE) * PAGE
        allocate(stride * ring, PAGE)
        return place % PAGE
    receive = []
    for _ in range(queues):
        receive.append(queue(frame))
        if indirect:
            for _ in range(-(-ring * TABLE_BYTES // SLAB_BYTES)):
                allocate(SLAB_BYTES, 16)
    transmit = [queue(max(frame, NicOptions.packet_bytes)) for _ in range(queues)]
    return tuple(receive), tuple(transmit)
