"""Everything around the card: clock, reset, straps, host and MAC."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from model.memory import HostMemory
from testbench.bfm.host import Host
from testbench.bfm.host_reads import moments_seed
from testbench.bfm.loop import CycleLoop
from testbench.bfm.mac import Mac

__all__ = ["Environment"]

RESET_CYCLES = 4


class Environment:
    """
        env = Environment(dut, link="gen3x16", profile="e5-warm", seed=7)
        await env.start()
        await env.host.config_read(0)

    Parameters
    ----------
    dut : handle of the generated top level
    link, profile, rcb64, seed
        of the host, see `HostCore`
    gbps, loopback
        of the MAC, see `Mac`
    mac, mtu, speed : int
        straps; `speed` in Mb/s
    period_ns : float

    Attributes
    ----------
    loop : CycleLoop
    memory : HostMemory
    host : Host
    mac : Mac
    """

    def __init__(self, dut, *, link="gen3x8", profile="e5-warm", rcb64=False, seed=1, gbps=None, loopback=False,
                 mac=0x02_00_00_00_00_01, mtu=1500, speed=100_000, period_ns=4.0, memory=None):
        self.dut = dut
        self.period_ns = period_ns
        self._surround(link=link, profile=profile, rcb64=rcb64, seed=seed, gbps=gbps, loopback=loopback,
                       memory=memory)
        dut.rst.value = 1
        dut.link_up.value = 1
        dut.cfg_mac.value = mac
        dut.cfg_mtu.value = mtu
        dut.cfg_speed.value = speed

    def _surround(self, *, gbps, loopback, memory, **options):
        """Set up `memory`, `loop`, `host` and `mac`."""
        dut = self.dut
        self.memory = memory or HostMemory()
        self.loop = CycleLoop(dut.clk, self.period_ns)
        self.loop.held = True
        self.host = Host(dut, dut.clk, self.loop, self.memory, **options)
        self.mac = Mac(dut, dut.clk, self.loop, gbps=gbps, loopback=loopback)

    @property
    def now(self):
        """Cycle number."""
        return self.loop.cycle

    async def start(self):
        """Start the clock and take the card out of its first reset."""
        self._start_clock()
        self.loop.start()
        await self.reset()

    def _start_clock(self):
        cocotb.start_soon(Clock(self.dut.clk, self.period_ns, "ns").start())

    async def reset(self):
        """Reset the card, and forget what was under way on every stream."""
        self.loop.held = True
        self.loop.wake()
        self.dut.rst.value = 1
        self.host.clear()
        self.mac.clear()
        await self.clocks(RESET_CYCLES)
        self.dut.rst.value = 0
        await self.clocks(1)
        self.loop.held = False

    def seed(self, seed):
        """The host draws latencies and moments from here on as from the beginning with that seed."""
        core = self.host.core
        core.latency.seed(seed)
        core.reads.seed(moments_seed(seed))

    async def clocks(self, count):
        """Wait for `count` rising edges."""
        edge = RisingEdge(self.dut.clk)
        for _ in range(count):
            await edge
