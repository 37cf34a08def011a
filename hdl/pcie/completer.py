"""The completer half of the transaction layer: what the host asks of us."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.regs import RegisterBus
from hdl.stream import Queue, TlpBeat, connect_stream

from .bar import BarLayout
from .bus_share import BusShare
from .completion import CompletionPacker
from .config_space import ConfigSpace
from .ingress import NonPostedRequest, RequestIngress
from .messages import MessageSender
from .nonposted import NonPostedExecutor

__all__ = ["Completer"]


class Completer(wiring.Component):
    """Executes the host's requests on BAR 0 and the configuration space, and answers them.

    ::

        cq ─► RequestIngress ─────── writes ──────────► BusShare ─► bus
                │      └─► Queue ─► NonPostedExecutor ────┘
                │ errors              │ │  completions, words
                ▼                     │ └──────────► CompletionPacker ─► cc
              ConfigSpace ◄───────────┘
                └─► MessageSender ─► messages

    Writes are executed as they arrive, one DW a cycle; requests that want a completion in order of arrival, never ahead
    of an earlier write. A write waits for nothing but the bus, except behind a request that finds `cq_np_depth` others
    waiting; nothing waits for `messages`. Latency from `cq` to `bus` for a write: 1 cycle.

    Parameters
    ----------
    config : NicConfig
    ids : dict
        `subsystem_vendor`, `subsystem_device`: as in `config_map`

    Attributes
    ----------
    cq : In(stream of TlpBeat); cc : Out(stream of TlpBeat)
        requests and completions
    bus : Out(RegisterBus())
        accesses to BAR 0; the address is an offset in it
    messages : Out(stream of TlpBeat)
        posted TLPs of one beat, requester id 0
    bus_master_enable, memory_space_enable : Out(1)
        in effect: 0 outside D0
    interrupt_disable, msix_enable, msix_function_mask, extended_tag_enable, relaxed_ordering_enable, no_snoop_enable,
    completion_timeout_disable : Out(1)
        control bits
    completion_timeout : Out(4)
        Completion Timeout Value of Device Control 2
    max_payload, max_read_request : Out(3)
        codes: 128 bytes << code
    requester_id : Out(16)
        bus, device and function number
    isr_pending : In(1)
        OR of the ISR status bits
    transactions_pending : In(1)
        requests of ours wait for completions
    unexpected_completion, completion_timeout_error, poisoned_completion : In(1)
        errors of our requests, each for one cycle
    unsupported_received, abort_received : In(1)
        completions with that status arrived, each for one cycle
    completion_header : In(128)
        with `unexpected_completion` or `poisoned_completion`
    flr : Out(1)
        function level reset, for one cycle; the write that asked for it has been answered
    flr_busy : In(1)
        the card is not yet quiet after `flr`: memory requests are Unsupported Requests
    """

    def __init__(self, config, **ids):
        self.config = config
        self.layout = BarLayout.of(config)
        self.ids = ids
        beats = stream.Signature(TlpBeat(config.width))
        outputs = {
            "bus_master_enable": 1, "memory_space_enable": 1, "interrupt_disable": 1, "msix_enable": 1,
            "msix_function_mask": 1, "extended_tag_enable": 1, "relaxed_ordering_enable": 1, "no_snoop_enable": 1,
            "completion_timeout": 4, "completion_timeout_disable": 1, "max_payload": 3, "max_read_request": 3,
            "requester_id": 16, "flr": 1,
        }
        inputs = {
            "isr_pending": 1, "transactions_pending": 1, "unexpected_completion": 1, "completion_timeout_error": 1,
            "poisoned_completion": 1, "unsupported_received": 1, "abort_received": 1, "completion_header": 128,
            "flr_busy": 1,
        }
        super().__init__({
            "cq": In(beats), "cc": Out(beats), "bus": Out(RegisterBus()), "messages": Out(beats),
            **{name: Out(width) for name, width in outputs.items()},
            **{name: In(width) for name, width in inputs.items()},
        })

    def elaborate(self, platform):
        m = Module()
        width, size_bits = self.config.width, self.layout.size_bits
        m.submodules.ingress = ingress = RequestIngress(width, size_bits)
        m.submodules.queue = queue = Queue(NonPostedRequest, self.config.cq_np_depth, block=False)
        m.submodules.executor = executor = NonPostedExecutor(size_bits)
        m.submodules.share = share = BusShare()
        m.submodules.packer = packer = CompletionPacker(width)
        m.submodules.space = space = ConfigSpace(self.layout, **self.ids)
        m.submodules.sender = sender = MessageSender(width)

        connect_stream(m, wiring.flipped(self.cq), ingress.cq)
        connect_stream(m, ingress.writes, share.posted)
        connect_stream(m, ingress.nonposted, queue.i)
        connect_stream(m, queue.o, executor.requests)
        wiring.connect(m, executor.bus, share.nonposted)
        wiring.connect(m, executor.config, space.bus)
        wiring.connect(m, share.bus, wiring.flipped(self.bus))
        connect_stream(m, executor.completions, packer.headers)
        connect_stream(m, executor.words, packer.words)
        connect_stream(m, packer.cc, wiring.flipped(self.cc))
        connect_stream(m, sender.messages, wiring.flipped(self.messages))
        m.d.comb += executor.packed.eq(packer.idle)
        self._connect_space(m, space, ingress, executor)
        m.d.comb += [
            sender.err_cor.eq(space.err_cor), sender.err_nonfatal.eq(space.err_nonfatal),
            sender.err_fatal.eq(space.err_fatal), sender.pme_to_ack.eq(ingress.turn_off),
            sender.interrupt.eq(space.interrupt),
        ]
        return m

    def _connect_space(self, m, space, ingress, executor):
        for part in (ingress, executor):
            m.d.comb += [
                part.base.eq(space.base), part.memory_enable.eq(space.memory_enable),
                part.max_payload.eq(space.max_payload),
            ]
        m.d.comb += [
            space.posted_errors.eq(ingress.errors), space.nonposted_errors.eq(executor.errors),
            space.clear.eq(executor.flr), self.flr.eq(executor.flr), executor.initiate_flr.eq(space.initiate_flr),
            self.requester_id.eq(executor.requester_id), self.memory_space_enable.eq(space.memory_enable),
            executor.window_bar.eq(space.window_bar), executor.window_offset.eq(space.window_offset),
            executor.window_length.eq(space.window_length),
        ]
        for name in ("bus_master_enable", "interrupt_disable", "msix_enable", "msix_function_mask",
                     "extended_tag_enable", "relaxed_ordering_enable", "no_snoop_enable", "completion_timeout",
                     "completion_timeout_disable", "max_payload", "max_read_request"):
            m.d.comb += getattr(self, name).eq(getattr(space, name))
        for name in ("isr_pending", "transactions_pending", "unexpected_completion", "completion_timeout_error",
                     "poisoned_completion", "unsupported_received", "abort_received", "completion_header", "flr_busy"):
            m.d.comb += getattr(space, name).eq(getattr(self, name))
