"""The root complex of cocotbext-pcie in front of the card: an implementation of PCI Express by other hands.

The card appears to it as one of its devices. TLPs are exchanged packed, as bytes, so that both sides' ideas of every
header field are compared. `OtherEnvironment` is to be used in place of `Environment`; its host is what the reference
driver wants of one.
"""

import logging
from collections import deque
from types import SimpleNamespace

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import Event, RisingEdge
from cocotbext.axi.address_space import MemoryRegion
from cocotbext.pcie.core import Device, RootComplex
from cocotbext.pcie.core.tlp import Tlp as OtherTlp

from testbench.bfm.loop import DRIVE, CycleLoop
from testbench.bfm.mac import Mac
from testbench.bfm.streams import TlpSink, TlpSource
from testbench.bfm.tlp import Kind, Tlp

__all__ = ["OtherEnvironment"]

RESET_CYCLES = 4
MOST_WAITING = 16               # TLPs of the card that may wait for credits before `ready` drops
HIGH_POOL = 0x12_fe00_0000      # across a multiple of 4 GiB
POOL_BYTES = 128 << 20
ANSWER_NS = 100_000             # the most that a request of the host may take


def _to_ours(tlp):
    packed = tlp.pack_header()
    words = [int.from_bytes(packed[at:at + 4], "big") for at in range(0, len(packed), 4)]
    return Tlp(sum(word << 32 * i for i, word in enumerate(words)), bytes(tlp.data))


def _to_theirs(tlp):
    words = [tlp.header >> 32 * i & 0xffff_ffff for i in range(4 if tlp.four_dw else 3)]
    return OtherTlp.unpack(b"".join(word.to_bytes(4, "big") for word in words) + tlp.payload)


class CardDevice(Device):
    """The card as a device of the root complex, which hands it every TLP; it has no function in Python.

    Attributes
    ----------
    reads : set of tags
        of the card's reads that are outstanding
    messages : list of int
        codes of the messages received; the root complex takes none
    """

    def __init__(self, entity, clock, loop):
        super().__init__()
        self.reads = set()
        self.messages = []
        self._upstream = deque()
        self._news = Event()
        self.cq = TlpSource(entity, "cq", clock, loop)
        self.rc = TlpSource(entity, "rc", clock, loop)
        self.rq = TlpSink(entity, "rq", clock, loop, callback=self._request)
        self.cc = TlpSink(entity, "cc", clock, loop, callback=self._send)
        entity.rq_np_ready.value = 1
        loop.add(DRIVE, self._tick, quiet=self._quiet)

    def start(self):
        cocotb.start_soon(self._run())

    @property
    def idle(self):
        return not self._upstream and not self.reads and self.cq.idle and self.rc.idle

    async def upstream_recv(self, tlp):
        """From the root complex. Its credits are given back when the card has taken the TLP."""
        ours = _to_ours(tlp)
        if ours.kind is Kind.COMPLETION:
            self.rc.append(ours, callback=lambda _: self._completed(tlp))
        else:
            self.cq.append(ours, callback=lambda _: tlp.release_fc())

    def _completed(self, tlp):
        tlp.release_fc()
        if tlp.status or tlp.byte_count <= len(tlp.data) - (tlp.lower_address & 3):
            self.reads.remove(tlp.tag)

    def _request(self, tlp):
        if tlp.kind is Kind.MESSAGE:
            self.messages.append(tlp.code)
            return
        if tlp.kind is Kind.MEMORY_READ:
            assert tlp.tag not in self.reads, f"tag is outstanding: {tlp}"
            self.reads.add(tlp.tag)
        self._send(tlp)

    def _send(self, tlp):
        self._upstream.append(_to_theirs(tlp))
        self._news.set()

    async def _run(self):
        while True:
            self._news.clear()
            while self._upstream:
                await self.upstream_send(self._upstream[0])
                self._upstream.popleft()
            await self._news.wait()

    def _tick(self, cycle):
        self.rq.open = self.cc.open = len(self._upstream) < MOST_WAITING

    def _quiet(self):
        return 0 if self._upstream else float("inf")


class WatchedRegion(MemoryRegion):
    """Memory of the root complex that tells of the device's writes: `watchers` is a list of (first, end, callback)."""

    def __init__(self, size, **options):
        super().__init__(size, **options)
        self.watchers = []

    async def _write(self, address, data, **options):
        await super()._write(address, data, **options)
        for first, end, callback in list(self.watchers):
            if address < end and first < address + len(data):
                callback(self.get_absolute_address(address), bytes(data))


class PoolMemory:
    """The driver's `Memory` in pools of the root complex. It aborts what no region answers for; within a region it does
    not check who owns a byte, so `give` and `take` do nothing."""

    def __init__(self, root):
        self._low = root.mem_pool
        self._high = root.mem_address_space.create_pool(HIGH_POOL, POOL_BYTES)
        self._regions = {}

    def allocate(self, length, align=64, *, low=False):
        region = (self._low if low else self._high).alloc_region(max(length, align), WatchedRegion)
        address = region.get_absolute_address(0)
        self._regions[address] = region
        return address

    def free(self, address):
        """The pools give nothing twice."""
        del self._regions[address]

    def view(self, address, length):
        region, at = self._find(address)
        return memoryview(region.mem)[at:at + length]

    def read(self, address, length):
        return bytes(self.view(address, length))

    def write(self, address, data):
        self.view(address, len(data))[:] = data

    def give(self, address, length, access):
        return None

    def take(self, grant):
        pass

    def watch(self, address, length, callback):
        region, at = self._find(address)
        entry = (at, at + length, callback)
        region.watchers.append(entry)
        return region, entry

    def unwatch(self, handle):
        region, entry = handle
        region.watchers.remove(entry)

    def _find(self, address):
        start = max(start for start in self._regions if start <= address)
        return self._regions[start], address - start


class RootHost:
    """What the reference driver asks of a host, by the root complex. Enumerate it first: `pci` is then the card.

    Attributes
    ----------
    root : RootComplex
    device : CardDevice
    pci : PciDevice
        how the root complex knows the card
    """

    def __init__(self, entity, clock, loop):
        self.root = RootComplex()
        self.root.max_payload_size = 1      # 256 bytes
        self.device = CardDevice(entity, clock, loop)
        self.root.make_port().connect(self.device)
        self.memory = PoolMemory(self.root)
        self.on_intx = []
        self.rules = SimpleNamespace()
        self.statistics = SimpleNamespace(label=lambda *_: None, unlabel=lambda *_: None)
        self.pci = None

    async def enumerate(self):
        await self.root.enumerate(timeout=ANSWER_NS)
        port, = self.root.host_bridge.bus.devices
        self.pci, = port.subordinate.devices

    @property
    def core(self):
        """As far as a `Bench` wants to know whether there is peace."""
        return SimpleNamespace(idle=self.device.idle, reads=SimpleNamespace(outstanding=self.device.reads))

    async def config_read(self, offset, size=4):
        return int.from_bytes(await self.pci.config_read(offset, size), "little")

    async def config_write(self, offset, value, size=4):
        await self.pci.config_write(offset, value.to_bytes(size, "little"))

    async def mmio_read(self, address, size=4):
        return int.from_bytes(await self.root.mem_read(address, size, ANSWER_NS), "little")

    async def mmio_write(self, address, value, size=4):
        await self.root.mem_write(address, value.to_bytes(size, "little"), ANSWER_NS)


class OtherEnvironment:
    """As `Environment`, around `RootHost`; the options that concern our own host are ignored."""

    def __init__(self, dut, *, mac=0x02_00_00_00_00_01, mtu=1500, speed=100_000, period_ns=4.0, **ignored):
        logging.getLogger("cocotb.pcie").setLevel(logging.ERROR)      # it warns of every device that is not there
        self.dut = dut
        self.period_ns = period_ns
        self.loop = CycleLoop(dut.clk, period_ns)
        self.loop.held = True
        self.host = RootHost(dut, dut.clk, self.loop)
        self.memory = self.host.memory
        self.mac = Mac(dut, dut.clk, self.loop)
        dut.rst.value = 1
        dut.link_up.value = 1
        dut.cfg_mac.value = mac
        dut.cfg_mtu.value = mtu
        dut.cfg_speed.value = speed

    async def start(self):
        cocotb.start_soon(Clock(self.dut.clk, self.period_ns, "ns").start())
        self.loop.start()
        await self.clocks(RESET_CYCLES)
        self.dut.rst.value = 0
        await self.clocks(1)
        self.loop.held = False
        self.host.device.start()

    async def clocks(self, count):
        edge = RisingEdge(self.dut.clk)
        for _ in range(count):
            await edge
