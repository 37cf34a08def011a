"""`Environment` with host and MAC of the compiled library."""

import ctypes
from types import SimpleNamespace

import cocotb
from cocotb import _event_loop
from cocotb.triggers import Event as Signal
from cocotb.utils import get_sim_steps

from model.latency import Latency
from model.link import Link
from testbench.bfm.compiled.library import Event, Fault, Hear, RulesEntry, SettingsEntry, load
from testbench.bfm.compiled.memory import WatchedMemory
from testbench.bfm.compiled.statistics import CompiledStatistics
from testbench.bfm.environment import Environment
from testbench.bfm.host import Host
from testbench.bfm.host_core import SLACK
from testbench.bfm.host_reads import moments_seed
from testbench.bfm.host_requests import Requester
from testbench.bfm.host_rules import ProtocolError, Rules
from testbench.bfm.mac import Mac
from testbench.bfm.pacing import LinkBudgetError
from testbench.bfm.stream_base import StreamError
from testbench.bfm.streams import Frame
from testbench.bfm.tlp import Kind, Tlp

__all__ = ["CompiledEnvironment"]

_ERRORS = {Fault.STREAM: StreamError, Fault.PROTOCOL: ProtocolError, Fault.BUDGET: LinkBudgetError}
FRAME, ARRIVED, WRITTEN, FAILED, RUN = map(int, Event)     # comparing numbers is cheaper
HOST_IDLE, CQ_IDLE, RC_IDLE, MAC_IDLE, RQ_FREE = (1 << bit for bit in range(5))


class CompiledLoop:
    """What `CycleLoop` is to others; the library goes round by itself."""

    def __init__(self, library, period_ns):
        self.period_ns = period_ns
        self._library = library
        self._held = True

    cycle = property(lambda self: self._library.card_cycle())

    @property
    def held(self):
        return self._held

    @held.setter
    def held(self, held):
        self._held = held
        self._library.card_hold(held)

    def wake(self):
        """It never sleeps."""

    def start(self):
        self._library.card_start()


class CompiledRules(Rules):
    """Tells the library what the function is configured for."""

    def __init__(self, library):
        object.__setattr__(self, "_library", library)
        super().__init__()

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        if name == "requester" or hasattr(self, "requester"):
            self._library.card_rules(RulesEntry(self.mps, self.mrrs, self.extended_tags, self.bus_master,
                                                -1 if self.requester is None else self.requester))


class _Counted:
    """Something of which only the number is known here."""

    def __init__(self, count):
        self._count = count

    def __len__(self):
        return self._count()


class CompiledCore:
    """The library as `HostCore`."""

    def __init__(self, library, link):
        self._library = library
        self.link = link
        self.rules = CompiledRules(library)
        self.statistics = CompiledStatistics(library)
        self.on_message = []
        self.requester = Requester(self.post, self.rules)
        self.requests = _Counted(library.card_waiting)
        self.reads = SimpleNamespace(outstanding=_Counted(library.card_outstanding))
        self._np_hold = False

    @property
    def np_hold(self):
        return self._np_hold

    @np_hold.setter
    def np_hold(self, held):
        self._np_hold = held
        self._library.card_hold_reads(held)

    @property
    def idle(self):
        return bool(self._library.card_idle() & HOST_IDLE) and not self.requester.outstanding

    def post(self, cycle, tlp):
        self._library.card_post(cycle, tlp.header.to_bytes(16, "little"), tlp.payload, len(tlp.payload))

    def request(self, cycle, make, done):
        self.requester.request(cycle, make, done)

    def arrived(self, arrival, tlp):
        if tlp.kind is Kind.COMPLETION:
            self.requester.complete(arrival, tlp)
        else:
            for callback in self.on_message:
                callback(tlp)

    def inject(self, action, when=None, *, count=1, delay=0.0):
        raise NotImplementedError("reads that go wrong are served by HostCore alone")

    def forget_lost_tags(self):
        """No read is lost here."""

    def reset(self, cycle):
        self._library.card_clear_host()
        self.requester.forget()
        self.rules.reset()


class _Stream:
    """What is left of a stream here: whether it rests, and a switch for back-pressure."""

    def __init__(self, environment, idle_bit=0):
        self._environment = environment
        self._idle_bit = idle_bit
        self._paused = False

    @property
    def idle(self):
        return bool(self._environment.library.card_idle() & self._idle_bit)

    @property
    def busy(self):
        return not self.idle

    @property
    def paused(self):
        return self._paused

    @paused.setter
    def paused(self, value):
        self._paused = value
        self._environment.pause()

    def clear(self):
        """With the host, or with the MAC."""


class CompiledHost(Host):
    def _surround(self, environment, clock, options):
        self.core = CompiledCore(environment.library, environment.link)
        self.rq, self.cc = _Stream(environment, RQ_FREE), _Stream(environment)
        self.cq, self.rc = _Stream(environment, CQ_IDLE), _Stream(environment, RC_IDLE)


class CompiledMac(Mac):
    def _connect(self, environment, clock):
        self._library = environment.library
        self.sink, self.source = _Stream(environment), _Stream(environment, MAC_IDLE)

    def set_rate(self, gbps):
        super().set_rate(gbps)
        self._library.card_rate(self._bytes_per_cycle)

    def send(self, data, *, bad=False):
        self._library.card_send(bytes(data), len(data), bad)

    @property
    def idle(self):
        return self.source.idle

    @property
    def frames_sent(self):
        return self._library.card_frames_sent()

    def clear(self):
        self._library.card_clear_mac()

    def captured_frame(self, frame):
        self.captured.append(frame)
        if self.loopback:
            self.send(frame.data)
        for callback in self.on_frame:
            callback(frame)


class CompiledEnvironment(Environment):
    """As `Environment`, with `library`: the path of the compiled library."""

    def __init__(self, dut, *, library, **options):
        self.library = load(library)
        self._failure = None
        self._failed = Signal()
        super().__init__(dut, **options)

    def _surround(self, *, link, profile, rcb64, seed, gbps, loopback, memory):
        memory = self.memory = memory or WatchedMemory()
        self.link = link = link if isinstance(link, Link) else Link(link)
        settings = SettingsEntry(cycle_ns=self.period_ns, spec=link.spec_bytes(self.period_ns),
                                 hard=link.hard_bytes(self.period_ns), slack=SLACK, rcb64=rcb64,
                                 half_period=get_sim_steps(self.period_ns / 2, "ns"))
        self._profile = profile
        settings.draw(Latency(profile, seed), moments_seed(seed))
        settings.see(memory)
        self._callback = Hear(self._hear)
        missing = self.library.card_open(self.dut._name.encode(), ctypes.byref(settings), self._callback)
        if missing:
            raise AttributeError(f"the card has no port {missing.decode()!r}")
        self.loop = CompiledLoop(self.library, self.period_ns)
        self.host = CompiledHost(self, None, self.loop, memory)
        self.mac = CompiledMac(self, None, self.loop, gbps=gbps, loopback=loopback)

    def seed(self, seed):
        settings = SettingsEntry()
        settings.draw(Latency(self._profile, seed), moments_seed(seed))
        self.library.card_seed(ctypes.byref(settings))

    def _start_clock(self):
        cocotb.start_soon(self._complain())

    def pause(self):
        """The streams' `paused` have changed."""
        self.library.card_pause(self.host.rq.paused, self.host.cc.paused, self.mac.sink.paused)

    async def _complain(self):
        try:
            await self._failed.wait()
            raise self._failure
        finally:        # at the end of the test, too: nothing of it may go on in the next one
            self.library.card_stop()

    def _hear(self, event, number, time, data, length):
        try:
            if event == RUN:
                _event_loop._inst.run()
            elif event == FRAME:
                self.mac.captured_frame(Frame(ctypes.string_at(data, length), False, number, int(time)))
            elif event == WRITTEN:
                self.memory.written(number, ctypes.string_at(data, length))
            elif event == ARRIVED:
                bytes_ = ctypes.string_at(data, length)
                self.host.core.arrived(time, Tlp(int.from_bytes(bytes_[:16], "little"), bytes_[16:]))
            else:
                self._refuse(Fault(number), ctypes.string_at(data, length))
        except BaseException as error:      # beyond is C++: it is raised where the simulator sees it
            self.library.card_hold(True)
            self._failure = self._failure or error
            self._failed.set()
        return bool(_event_loop._inst._callbacks)

    def _refuse(self, fault, said):
        if fault in _ERRORS:
            raise _ERRORS[fault](said.decode())
        address, length = int.from_bytes(said[:8], "little"), int.from_bytes(said[8:], "little")
        if fault == Fault.READ_OWNERSHIP:
            self.memory.device_read(address, length)
        else:
            self.memory.device_write(address, bytes(length))
