"""What the card counts. Each pulse or amount comes from the block that the first part of its name tells."""

from amaranth import *

from .regs.counters import Counter
from .virtqueue.spec import DropCause

__all__ = ["COUNTERS", "count_events", "count_queues"]


def _counter(name, description, width=1):
    return Counter(name=name, description=description, width=width)


COUNTERS = (
    _counter("receive.frames", "frames whose buffer was published or is about to be"),
    _counter("receive.drop.no_buffer", "frames for which the driver had no buffer"),
    _counter("receive.drop.too_long_for_buffer", "frames longer than the next buffer"),
    _counter("receive.drop.bad", "frames that the MAC marked bad, and runts"),
    _counter("receive.drop.oversize", "frames longer than the mtu allows"),
    _counter("receive.drop.overflow", "frames for which the frame buffer had no room"),
    _counter("receive.drop.filtered", "frames that the driver's filters don't let pass"),
    _counter("receive.drop.disabled", "frames that came while the device was not live"),
    _counter("transmit.frames", "frames handed to the MAC"),
    _counter("transmit.bytes", "bytes of those, without FCS", 16),
    _counter("transmit.drop.malformed",
             "packets that don't make a frame: too short, too long, in a bad chain, or with a bad header", 2),
    _counter("transmit.drop.read_error", "packets with a read that failed"),
    _counter("read.unexpected_completion", "completions that answer no request"),
    _counter("read.timeout", "reads that were not answered in time"),
    _counter("read.poisoned", "completions marked poisoned"),
    _counter("read.unsupported", "reads answered with Unsupported Request"),
    _counter("read.aborted", "reads answered with Completer Abort"),
)


def count_events(m, counters, receive, transmit, reads, rx):
    """Every counter of `COUNTERS` to what it counts."""
    no_buffer = rx.verdicts.valid & rx.verdicts.ready & ~rx.verdicts.p.accept
    cause = rx.verdicts.p.cause
    amounts = {
        "receive_frames": rx.verdicts.valid & rx.verdicts.ready & rx.verdicts.p.accept,
        "receive_drop_no_buffer": no_buffer & (cause == DropCause.NO_BUFFER),
        "receive_drop_too_long_for_buffer": no_buffer & (cause == DropCause.TOO_LONG),
        "receive_drop_bad": receive.dropped_bad | receive.dropped_runt,
        "receive_drop_oversize": receive.dropped_oversize,
        "receive_drop_overflow": receive.dropped_overflow,
        "receive_drop_filtered": no_buffer & (cause == DropCause.FILTERED),
        "receive_drop_disabled": receive.dropped_disabled | (no_buffer & (cause == DropCause.DISABLED)),
        "transmit_frames": transmit.sent.valid,
        "transmit_bytes": Mux(transmit.sent.valid, transmit.sent.bytes, 0),
        "transmit_drop_malformed": transmit.dropped_malformed + transmit.refused,
        "transmit_drop_read_error": transmit.dropped_error,
        "read_unexpected_completion": reads.unexpected_completion,
        "read_timeout": reads.timeout_error,
        "read_poisoned": reads.poisoned_completion,
        "read_unsupported": reads.unsupported_received,
        "read_aborted": reads.abort_received,
    }
    m.d.comb += [getattr(counters, name).eq(amount) for name, amount in amounts.items()]


def count_queues(m, statistics, rx, tx, receive, transmit, interrupts):
    """What `Statistics` counts for each queue. Filtered frames are nobody's loss."""
    verdict, judged = rx.verdicts.p, rx.verdicts.valid & rx.verdicts.ready
    refused = ~verdict.accept & (verdict.cause != DropCause.FILTERED)
    dropped = transmit.dropped_malformed | transmit.dropped_error
    events = {
        "rx_received": (judged & verdict.accept, verdict.queue,
                        {"packets": 1, "bytes": verdict.length - rx.header_bytes}),
        "rx_checked": (receive.csum_valid | receive.csum_none | receive.csum_bad, receive.csum_queue,
                       {name: getattr(receive, f"csum_{name}") for name in ("valid", "none", "bad")}),
        "rx_refused": (judged & refused, verdict.queue,
                       {"drops": 1, "overruns": verdict.cause == DropCause.NO_BUFFER}),
        "tx_dropped": (dropped, transmit.dropped_queue, {"drops": 1, "malformed": transmit.dropped_malformed}),
        "tx_refused": (transmit.refused, transmit.refused_queue, {"malformed": 1}),
        **_frames_sent(transmit.sent),
    }
    for n, (engine, direction) in enumerate(((rx, "rx"), (tx, "tx"))):
        rung, told = engine.doorbells, engine.interrupts
        events[f"{direction}_notified"] = rung.valid & rung.ready, rung.p.queue, {"notifications": 1}
        events[f"{direction}_interrupted"] = interrupts.notified[n], told.p.queue, {"interrupts": 1}
    for name, (valid, queue, amounts) in events.items():
        event = getattr(statistics, name)
        m.d.comb += [event.valid.eq(valid), event.queue.eq(queue)]
        m.d.comb += [event.add[counter].eq(amount) for counter, amount in amounts.items()]
    m.d.comb += statistics.rx_lost.eq(receive.missed)


def _frames_sent(sent):
    """Packets are counted with their last frame; a packet that leaves as one frame has no segments."""
    whole, last = sent.first & sent.last, ~sent.segment | sent.last
    return {
        "tx_sent": (sent.valid, sent.queue, {"packets": 1, "bytes": sent.bytes}),
        "tx_checked": (sent.valid & last, sent.queue, {"none": ~sent.needs_csum, "needed": sent.needs_csum}),
        "tx_segmented": (sent.valid & sent.segment, sent.queue, {
            "packets": sent.last, "bytes": Mux(sent.last, sent.packet_bytes, 0),
            "segments": ~whole, "segments_bytes": Mux(whole, 0, sent.bytes),
            "packets_noseg": whole, "bytes_noseg": Mux(whole, sent.packet_bytes, 0),
        }),
    }
