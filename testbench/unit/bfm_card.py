"""The bench's side of the wires of `bfm_wires.v`: a card without anything inside, which the bench plays itself.

With `compiled` among the settings of the run, host and MAC are those of `CompiledEnvironment`.
"""


from cocotb.triggers import RisingEdge

from model.latency import fixed
from testbench.bfm import (
    Environment,
    EthSource,
    TlpMonitor,
    TlpSink,
    TlpSource,
)
from testbench.bfm.compiled import CompiledEnvironment
from testbench.bfm.loop import CycleLoop
from testbench.bfm.streams import EthSink
from testbench.system.case import settings

DEVICE = 0x3b00


class Card:
    """The bench's side of the wires: sources and sinks of TLPs and frames, and the environment around."""

    def __init__(self, dut, **options):
        dut.direct.value = 0
        self.dut = dut
        library = settings().get("compiled")
        if library:
            self.env = env = CompiledEnvironment(dut, library=library, **{"profile": fixed(400), **options})
        else:
            self.env = env = Environment(dut, **{"profile": fixed(400), **options})
        self.loop = loop = CycleLoop(dut.clk) if library else env.loop
        self.host = env.host
        self.memory = env.memory
        self.rq = TlpSource(dut, "dev_rq", dut.clk, loop)
        self.cc = TlpSource(dut, "dev_cc", dut.clk, loop)
        self.cq = TlpSink(dut, "dev_cq", dut.clk, loop)
        self.rc = TlpSink(dut, "dev_rc", dut.clk, loop)
        self.eth_tx = EthSource(dut, "dev_eth_tx", dut.clk, loop)
        self.eth_rx = EthSink(dut, "dev_eth_rx", dut.clk, loop, continuous=False)
        self.times = {}
        for name in ("rq", "rc"):
            TlpMonitor(dut, name, dut.clk, loop,
                       callback=lambda tlp, name=name: self.times.setdefault(name, []).append(env.now))

    async def start(self):
        await self.env.start()
        if self.loop is not self.env.loop:
            self.loop.start()
        rules = self.host.rules
        rules.mps, rules.bus_master, rules.extended_tags, rules.requester = 256, True, True, DEVICE
        self.base = self.memory.allocate(1 << 16, align=4096)
        self.memory.give(self.base, 1 << 16, "rw")
        return self

    def answer_with(self, make):
        """Answer each request on `cq` with what `make(tlp)` gives, if anything."""
        def answer(tlp):
            reply = make(tlp)
            if reply is not None:
                self.cc.append(reply)
        self.cq.add_callback(answer)

    async def until(self, condition, cycles=5000):
        edge = RisingEdge(self.dut.clk)
        for _ in range(cycles):
            if condition():
                return
            await edge
        raise AssertionError(f"nothing came in {cycles} cycles")
