"""The simulated card between host and MAC, as a system test sees it."""

import json
import random
from pathlib import Path

import numpy as np

from testbench.bfm.compiled import CompiledEnvironment
from testbench.bfm.environment import Environment
from testbench.driver.cocotb_platform import CocotbPlatform
from testbench.driver.net import Nic

from .tap_recorder import TapRecorder

__all__ = ["Bench"]

SETTLE_NS = 2_000
QUIET_NS = 200_000      # in which a card without work must come to rest


class Bench:
    """
        async def test(bench):
            nic = await bench.nic(queue_size=8)
            await nic.send(frame)
            assert await bench.wire() == frame

    Parameters
    ----------
    dut : handle of the top level with its `sim_` ports
    settings : dict
        circumstances of the run: link, profile, seed, manifest, ...; `compiled`, the path of the library, for
        `CompiledEnvironment`; `taps`, the path of an npz file for what the event taps
        tell
    options : dict
        of the `Environment`, from the test itself; they win. `environment` names another class in its place

    Attributes
    ----------
    env, host, mac, memory : what is around the card
    platform : the driver's clock
    random : random.Random
        seeded; all that a test draws comes from here
    manifest : dict
        of the build that runs
    settings : dict
    """

    def __init__(self, dut, settings, options):
        self.dut = dut
        self.settings = settings
        self.seed = settings.get("seed", 1)
        self.manifest = json.loads(Path(settings["manifest"]).read_text())
        environment = options.get("environment", Environment)
        options = {name: value for name, value in options.items() if name != "environment"}
        if library := settings.get("compiled"):
            environment, options["library"] = CompiledEnvironment, library
        self.env = environment(dut, **{"link": settings.get("link", "gen3x8"), "seed": self.seed,
                                       "profile": settings.get("profile", "e5-warm"), **options})
        self.host, self.mac, self.memory = self.env.host, self.env.mac, self.env.memory
        self.platform = CocotbPlatform()
        self.random = random.Random(self.seed)
        self._captured = 0
        self._nics = []
        self._taps = TapRecorder(self) if "taps" in settings else None

    async def start(self):
        if self._taps:
            self._taps.start()
        await self.env.start()

    def save_events(self):
        """Write what the event taps told, and what they are called, if the run is asked for it."""
        if self._taps:
            np.savez(self.settings["taps"], events=self._taps.events(), taps=json.dumps(self.manifest["taps"]))

    async def nic(self, driver=Nic, **options):
        """A driver that has started the card; options are those of `NicOptions`."""
        nic = driver(self.host, self.platform, **options)
        self._nics.append(nic)
        await nic.start()
        await self.platform.sleep(SETTLE_NS)    # the doorbell of the receive buffers arrives, and they are fetched
        await self.settle()
        return nic

    def parameter(self, name):
        """Parameter of the build, e.g. `tags`."""
        return self.manifest["parameters"][name]

    def frame(self, length=None, *, shortest=60, longest=1514):
        """A frame of random bytes."""
        return self.random.randbytes(length or self.random.randint(shortest, longest))

    async def wire(self, timeout_ns=100_000):
        """The next frame that comes out of `eth_tx`. Raises `TimeoutError`."""
        deadline = self.platform.now() + timeout_ns
        while len(self.mac.captured) <= self._captured:
            if self.platform.now() > deadline:
                raise TimeoutError(f"no frame on the wire within {timeout_ns} ns")
            await self.clocks(8)
        self._captured += 1
        return self.mac.captured[self._captured - 1].data

    def forget_wire(self):
        """Frames that have come out of `eth_tx` so far are nobody's business; returns how many nobody asked for."""
        forgotten = len(self.mac.captured) - self._captured
        self._captured = len(self.mac.captured)
        return forgotten

    def requests(self):
        """TLPs that the card has sent so far as a requester: reads, writes and messages."""
        return sum(count.tlps for (what, _), count in self.host.statistics.up.items() if what != "completion")

    async def clocks(self, count):
        await self.env.clocks(count)

    async def set_link(self, up):
        """Drive the strap `link_up`, in step with the clock: it is no asynchronous input."""
        await self.clocks(1)
        self.dut.link_up.value = int(up)

    def counter_address(self, name):
        """Where an event counter of the card is, 64 bits."""
        entry, = (c for c in self.manifest["counters"] if c["name"] == name)
        region, = (r for r in self.manifest["bar0"]["regions"] if r["name"] == "counters")
        return self._nics[-1].function.bars[0].address + region["offset"] + entry["offset"]

    async def counter(self, name):
        """Value of one of the card's event counters."""
        at = self.counter_address(name)
        low = await self.host.mmio_read(at, 4)
        return low | await self.host.mmio_read(at + 4, 4) << 32

    async def quiet(self):
        """Wait until nothing is under way, and check that the card and the host agree that there isn't."""
        deadline = self.platform.now() + QUIET_NS
        while not int(self.dut.sim_idle.value) or not self.host.core.idle:
            assert self.platform.now() < deadline, (
                f"not quiet after {QUIET_NS} ns: idle {self.dut.sim_idle.value}, "
                f"{int(self.dut.sim_tags_outstanding.value)} tags outstanding, the host counts "
                f"{self.host.core.reads.outstanding}")
            await self.clocks(16)
        assert int(self.dut.sim_tags_outstanding.value) == 0 == len(self.host.core.reads.outstanding)

    async def settle(self):
        """Wait until all that was begun has had its consequences, interrupts included."""
        for _ in range(2):      # between two stages the card may look idle for a moment
            await self.clocks(64)
            while not self.mac.idle:
                await self.clocks(16)
            await self.quiet()

    async def finish(self):
        """What every test ends with: the driver stops, and no tag, no grant and no buffer is left behind."""
        for nic in self._nics:
            if nic.receivers:
                await nic.stop()
        await self.quiet()
