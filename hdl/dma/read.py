"""The read engine: read commands of all clients in, packed byte streams per client out."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.pcie.tags import TAGS_WITHOUT_EXTENDED, TagPool
from hdl.stream import Arbiter, Queue, RegisterSlice, TlpBeat, connect_stream

from .completions import Completions
from .deliver import DeliveryChoice
from .order import OrderLists
from .pack import Packer
from .read_issue import ReadIssue
from .read_records import READ_CLIENTS, DomainLayout
from .read_timeout import CompletionTimeout
from .rows import RowReader
from .slots import SlotMemory
from .spec import ReadBeat, ReadCommand
from .split import Splitter, request_shift

__all__ = ["ReadEngine"]


class ReadEngine(wiring.Component):
    """Reads host memory for many clients with up to as many requests outstanding as there are tags.

    What transactions, pieces and order domains are is told in `hdl.dma.spec`; here is how they are served.

    - Pieces are cut into requests at every aligned block of min(read_bytes, Max_Read_Request_Size). Descriptor and
      event clients, the prompt ones, go before bulk clients, which also leave them the reserved tags. While a bulk
      client's transaction is open, the others go on; the prompt ones wait for each other's last pieces.
    - A bulk client has no more under way than keeps the link busy, see `ReadWindow`.
    - Completions may come for different tags in any order, and in any portions.
    - A transaction is delivered when all of it and all older ones of its domain have ended, well or not, and its client
      has room. A transaction with `more` waits besides for every older one of its client, and those behind the part
      without `more` for that one.
    - A read that does not succeed is delivered with a status, as many bytes as asked for, and undefined data.
    - A transaction takes at most `part_requests` requests and `part_bytes` bytes, or it may never find tags enough.

    Latency: command to request 2 cycles (3 where clients share a splitter), last completion beat to first `ReadBeat`
    7 cycles, 8 where its bytes lie across two rows. One request, one completion, one row and one beat a cycle.

    Parameters
    ----------
    config : NicConfig

    Attributes
    ----------
    <client> : stream of `ReadCommand`, in, for each row of `READ_CLIENTS`; `client` is set here
    o_<client> : stream of `ReadBeat`, out
    room_<client> : In(1)
        the client takes, without waiting for anything, `room_beats` beats more than it was given up to 2 cycles ago:
        a whole transaction. One that refuses a beat after all holds up every other client
    requests : stream of `TlpBeat`, out
        memory reads, one beat each, requester 0
    rc : stream of `TlpBeat`, in
        completions; `ready` is constant 1
    dropped : stream of tags, in, always ready
        the request with this tag was taken from `requests` and thrown away; it retires DISCARDED
    max_read_request, extended_tag_enable, completion_timeout, completion_timeout_disable : In
        fields of Device Control and Device Control 2
    discard : In(1)
        requests are not sent any more but retire DISCARDED. What is offered on `requests` stays offered
    clear : In(1)
        pulse, while `idle`: every tag is free again, late or not. Only where no late completion can come any more,
        as after a Function Level Reset; a reset of the device alone leaves late tags alone
    request_shift : Out(4)
        log2 of the request size, for `requests_of`
    part_requests : Out
        most requests of a transaction: a quarter of the tags that may be used
    idle : Out(1)
        every command taken has been delivered in full, and no initialisation is under way
    outstanding : Out(range(tags + 1))
        requests sent whose tag has not retired
    quarantined : Out(range(tags + 1))
        tags that a timed-out request keeps out of use until its last completion comes
    unexpected_completion, timeout_error, poisoned_completion, unsupported_received, abort_received : Out(1), pulses
    completion_header : Out(128)
        of the completion that a pulse is about
    """

    def __init__(self, config):
        self.config = config
        self.part_bytes = config.part_bytes
        command, beat = ReadCommand(config.pair_bits), ReadBeat(config.width, config.pair_bits)
        count = Out(range(config.tags + 1))
        super().__init__({
            **{row.name: In(stream.Signature(command)) for row in READ_CLIENTS},
            **{f"o_{row.name}": Out(stream.Signature(beat)) for row in READ_CLIENTS},
            **{f"room_{row.name}": In(1) for row in READ_CLIENTS},
            "requests": Out(stream.Signature(TlpBeat(config.width))),
            "rc": In(stream.Signature(TlpBeat(config.width))),
            "dropped": In(stream.Signature(config.tag_bits, always_ready=True)),
            "max_read_request": In(3), "extended_tag_enable": In(1),
            "completion_timeout": In(4), "completion_timeout_disable": In(1),
            "discard": In(1), "clear": In(1),
            "request_shift": Out(4), "part_requests": Out(range(config.tags // 4 + 1)),
            "idle": Out(1), "outstanding": count, "quarantined": count,
            "unexpected_completion": Out(1), "timeout_error": Out(1), "poisoned_completion": Out(1),
            "unsupported_received": Out(1), "abort_received": Out(1), "completion_header": Out(128),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.tags = self._tags = TagPool(config.tags)
        m.submodules.issue = self._issue = ReadIssue(config)
        m.submodules.completions = self._completions = Completions(config)
        m.submodules.timeout = self._timeout = CompletionTimeout(config)
        m.submodules.slots = self._slots = SlotMemory(config.width, config.tags, config.read_bytes)
        m.submodules.order = self._order = OrderLists(config)
        m.submodules.choice = self._choice = DeliveryChoice(config)
        m.submodules.rows = self._rows = RowReader(config)
        m.submodules.packer = self._packer = Packer(config.width, config.pair_bits)

        splitting = [self._split(m, "prompt", [row for row in READ_CLIENTS if not row.bulk]),
                     self._split(m, "bulk", [row for row in READ_CLIENTS if row.bulk])]
        initialise = self._initialise(m)
        self._connect_requests(m)
        self._connect_completions(m)
        self._connect_delivery(m)
        self._report(m, Cat(splitting).any() | initialise)
        return m

    def _split(self, m, name, clients):
        """Splitter for `clients`; returns whether something is inside."""
        m.submodules[f"split_{name}"] = splitter = Splitter(self.config.pair_bits, self.config.read_bytes)
        m.d.comb += splitter.max_read_request.eq(self.max_read_request)
        connect_stream(m, splitter.o, getattr(self._issue, name))
        busy = splitter.busy
        inputs = [splitter.i]
        if len(clients) > 1:
            m.submodules[f"arbiter_{name}"] = arbiter = Arbiter(ReadCommand(self.config.pair_bits), len(clients))
            m.submodules[f"slice_{name}"] = behind = RegisterSlice(ReadCommand(self.config.pair_bits))
            connect_stream(m, arbiter.o, behind.i)
            connect_stream(m, behind.o, splitter.i)
            inputs = [getattr(arbiter, f"i{n}") for n in range(len(clients))]
            busy = splitter.busy | behind.o.valid
        for row, port in zip(clients, inputs):
            client = getattr(self, row.name)
            m.d.comb += [
                port.payload.eq(client.payload), port.payload.client.eq(row.client),
                port.valid.eq(client.valid), client.ready.eq(port.ready),
            ]
        return busy

    def _initialise(self, m):
        """After reset and `clear`, walk through all tags and domains once."""
        index = Signal(max(self.config.tag_bits, DomainLayout(self.config.pair_bits).size))
        running = Signal(init=1)
        with m.If(running):
            m.d.sync += index.eq(index + 1)
            with m.If(index.all()):
                m.d.sync += running.eq(0)
        with m.Elif(self.clear):
            m.d.sync += running.eq(1)
        for block in (self._tags, self._issue, self._completions, self._timeout, self._order):
            m.d.comb += [block.initialise.eq(running), block.index.eq(index)]
        return running

    def _connect_requests(self, m):
        tags, issue = self._tags, self._issue
        m.d.comb += [
            tags.extended.eq(self.extended_tag_enable), issue.extended.eq(self.extended_tag_enable),
            issue.usable.eq(tags.usable), issue.tag.eq(tags.tag), tags.take.eq(issue.take),
            issue.discard.eq(self.discard), issue.group.eq(self._choice.group),
            self.request_shift.eq(request_shift(self.config.read_bytes, self.max_read_request)),
            self.part_requests.eq(Mux(self.extended_tag_enable, self.config.tags,
                                      min(self.config.tags, TAGS_WITHOUT_EXTENDED)) >> 2),
        ]
        wiring.connect(m, issue.requests, wiring.flipped(self.requests))
        for block in (self._completions, self._timeout, self._order, self._choice, self._rows):
            connect_stream(m, issue.opened, block.opened)

    def _connect_completions(self, m):
        completions, timeout = self._completions, self._timeout
        wiring.connect(m, wiring.flipped(self.rc), completions.rc)
        # A tag is dropped at most once before it retires: this queue never overflows.
        m.submodules.dropped = dropped = Queue(self.config.tag_bits, self.config.tags, block=False)
        m.d.comb += [dropped.i.valid.eq(self.dropped.valid), dropped.i.payload.eq(self.dropped.payload)]
        connect_stream(m, dropped.o, completions.dropped)
        connect_stream(m, self._issue.unsent, completions.unsent)
        connect_stream(m, completions.write, self._slots.write)
        connect_stream(m, completions.late, self._tags.late)
        for block in (timeout, self._order, self._rows, self._issue):
            connect_stream(m, completions.retired, block.retired)
        m.d.comb += [
            timeout.value.eq(self.completion_timeout), timeout.disable.eq(self.completion_timeout_disable),
            completions.expired.eq(timeout.expired), completions.tag.eq(timeout.tag),
        ]

    def _connect_delivery(self, m):
        order, choice, rows, slots, packer = self._order, self._choice, self._rows, self._slots, self._packer
        connect_stream(m, order.ready, choice.ready)
        connect_stream(m, choice.chosen, rows.transactions)
        connect_stream(m, rows.release, self._tags.release)
        m.d.comb += [
            order.tag.eq(rows.slot), rows.following.eq(order.following),
            order.domain.eq(rows.domain), order.last_tag.eq(rows.last_tag), rows.behind.eq(order.behind),
            slots.tag.eq(rows.slot), slots.row.eq(rows.row), slots.enable.eq(rows.enable),
            packer.data.eq(slots.data), packer.valid.eq(rows.valid), packer.row.eq(rows.rows),
            rows.advance.eq(packer.advance),
        ]
        for row in READ_CLIENTS:
            wiring.connect(m, getattr(packer, f"o_{row.name}"), wiring.flipped(getattr(self, f"o_{row.name}")))
            m.d.comb += [
                getattr(choice, f"room_{row.name}").eq(getattr(self, f"room_{row.name}")),
                getattr(choice, f"taken_{row.name}").eq(getattr(packer, f"taken_{row.name}")),
            ]

    def _report(self, m, busy):
        issue, completions = self._issue, self._completions
        held = Signal(range(self.config.tags + 1))     # tags taken and not yet read out
        retired = completions.retired
        release = self._rows.release
        m.d.sync += [
            held.eq(held + issue.take - (release.valid & release.ready)),
            self.outstanding.eq(self.outstanding + (self.requests.valid & self.requests.ready)
                                - (retired.valid & retired.payload.sent)),
            self.quarantined.eq(Mux(self._tags.initialise, 0,
                                    self.quarantined + completions.timed_out - completions.late.valid)),
        ]
        m.d.comb += [
            self.idle.eq(~busy & (held == 0) & self._choice.idle),
            self.timeout_error.eq(completions.timed_out),
            self.unexpected_completion.eq(completions.unexpected_completion),
            self.poisoned_completion.eq(completions.poisoned_completion),
            self.unsupported_received.eq(completions.unsupported_received),
            self.abort_received.eq(completions.abort_received),
            self.completion_header.eq(completions.completion_header),
        ]
