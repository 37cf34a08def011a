"""What the cycle-approximate card and its host consist of: one record of queues, registers and memories.

Sizes are the largest that are modelled, whatever the scenario: memory that is never touched costs nothing, and the
compiled code serves every scenario.
"""

import numpy as np

from model.link import NET_HEADER

from .draws import STATE

__all__ = ["CLIENTS", "DATA_ISSUED", "DATA_READS", "DATA_THERE", "DELIVERED", "DESCRIPTOR_THERE", "DOORBELL", "EVENTS",
           "FETCH_ISSUED", "FIRST_BEAT", "GROUPS", "HEADER", "LAST_BEAT", "LARGE", "LINE", "LOOKS", "MOST_ENTRIES",
           "MOST_LENGTHS", "MOST_PACKETS", "MOST_QUEUES", "MOST_RING", "MOST_TAGS", "MSIX", "OFFERED", "RX", "SEEN",
           "STAGE_NAMES", "STORES", "TABLES", "TX", "USED_WRITTEN", "WORLD"]

# Of each packet; the last one is when the driver made it available, or gave it to the wire.
STAGE_NAMES = ("doorbell", "fetch_issued", "descriptor_there", "data_issued", "data_there", "first_beat", "last_beat",
               "used_written", "msix", "seen", "offered")
(DOORBELL, FETCH_ISSUED, DESCRIPTOR_THERE, DATA_ISSUED, DATA_THERE, FIRST_BEAT, LAST_BEAT, USED_WRITTEN, MSIX, SEEN,
 OFFERED) = range(len(STAGE_NAMES))
RX, TX = range(2)           # directions
# Clients of the read engine: both directions' fetches are 0 and 1; the first of those that read event suppression
# structures, and tables; who reads data.
EVENTS, TABLES, DATA_READS = 2, 5, 7
HEADER = NET_HEADER
LINE = 64                   # bytes of memory that are looked at together
MOST_QUEUES, MOST_RING, MOST_TAGS, MOST_ENTRIES = 128, 4096, 256, 1024
MOST_LENGTHS = 1 << 14
MOST_FRAMES = 1 << 14
MOST_PACKETS = 1 << 17       # of each direction, whose times are kept
CLIENTS, GROUPS = 8, 4
STORES = 2                  # of `Narrow`: those of both directions' fetches are 0 and 1; the first of those of tables
DELIVERED = MOST_TAGS        # place of the transaction that is delivered
RUN_QUEUES = "looks", "published", "spaces", "turns", "rooms", "walks"
LOOKS, LINES = 2 * MOST_TAGS + 256, 12      # fetches that are remembered, and lines of memory that each touches


def _numbers(names, reals=""):
    return [(name, np.int64) for name in names.split()] + [(name, np.float64) for name in reals.split()]


def _queue(entries, fields, *leading):
    """See fifo.py."""
    return np.dtype([("at", np.int64), ("count", np.int64), ("rows", np.float64, (entries, fields))]), leading


def _each(shape, names, reals=""):
    return np.dtype(_numbers(names, reals)), shape


PARAMETERS = _numbers(
    "queues tx rx both paced told in_order indirect instant beat lanes max_payload read_bytes tags reserved_tags "
    "part_requests batch_level most_level descriptors elements used_batch used_timeout used_bytes run_rows ring burst "
    "packets taught refill under_way ahead lead lengths captured "
    "doorbell_delay offer_delay parse_delay wire_delay message_delay",
    "link cycle_ns per_byte after_write_least after_write_most gap span")
REGISTERS = _numbers(
    "open open_np parts sequence rc_bytes wakes loaded next_fed wire_last cq_last rc_last offer_at eth_last verdicts "
    "free last_client offered group alone within delivered_group reading reading_tag rows_left "
    "held late residue commanded complete opening opened newest_group walking here told taken requests_held "
    "last_source locked",
    "up_free down_free last_write cq_blocked rc_blocked due")
HOST = [
    *((name, np.int64, STATE) for name in ("latencies", "moment_draws", "first_latencies", "first_moments")),
    ("logs", np.float64, 6), ("parts_due", np.float64, 4 * MOST_TAGS), ("parts", np.int64, 4 * MOST_TAGS),
    ("arrivals", *_queue(128, 6)), ("waiting", *_queue(128, 2)), ("waiting_np", *_queue(128, 2)),
    ("requests", *_queue(8192, 4)), ("cq", *_queue(32, 4)), ("rc", *_queue(512, 4)),
    ("moments", np.float64, (2 * LOOKS, LINES)), ("wire", *_queue(MOST_FRAMES, 3)), ("leaving", *_queue(8192, 2)),
]
DRIVER = [
    *((name, np.int64, (2, MOST_QUEUES)) for name in ("posted", "visible", "seen", "rung", "wanted", "wakes", "rings")),
    *((name, np.int64, MOST_QUEUES) for name in ("collected", "idle", "fed", "left", "late", "bursts")),
    ("due", np.float64, MOST_QUEUES),
    ("lengths", np.int64, MOST_LENGTHS), ("captured", np.float64, MOST_LENGTHS),
]
READ_ENGINE = [
    ("window", _numbers("open under_way probe limit following left got least fastest number came asked trip told "
                        "came_before asked_before trip_before told_before still")),
    ("tags", *_each(MOST_TAGS, "client queue address length following rows head ends retired watched look first_line "
                                "taken there")),
    ("reads", *_each(MOST_TAGS + 1, "client queue issued there beats a b bytes address last look group packet_ends")),
    ("free_tags", np.int64, MOST_TAGS), ("in_group", np.int64, GROUPS), ("beats_held", np.int64, 3),
    ("looks_made", np.int64, 2),
    ("open_reads", np.int64, CLIENTS), ("credit", np.int64, CLIENTS),
    *((name, np.int64, (CLIENTS, MOST_QUEUES)) for name in ("tails", "cursors")),
    ("waiting_cursors", *_queue(MOST_TAGS, 2)),
    ("commands", *_queue(4, 7, CLIENTS)), ("prompt", *_queue(4, 8)), ("requested", *_queue(4, 2)),
    ("ended", *_queue(MOST_TAGS, 2)), ("unsent", *_queue(MOST_TAGS, 2)),
    ("done", *_queue(MOST_TAGS, 2, CLIENTS + GROUPS - 1)), ("returned", *_queue(2 * MOST_TAGS, 2)),
    ("stored", *_queue(1024, 2, 4)), ("passed", *_queue(1024, 2, 4)), ("levels", np.int64, 4),
    ("sources", *_queue(8, 7, 3)), ("pipe", *_queue(4, 7)), ("writes", *_queue(8, 5)), ("sent", *_queue(128, 2)),
]
SUPPLY = [
    ("fetchers", *_each(2, "state pending yields woken event_last room_first room_last kind event_queue full position "
                           "count enable told queue aligned cut to_end window filled ahead")),
    ("fetching", *_each((2, MOST_QUEUES), "position epoch kick active blocked under_way level streak suppressed asked "
                                          "telling told")),
    ("judges", *_each(2, "busy free reports queue full position good left")),
    ("stores", *_each(2, "busy free")),
    ("takers", *_each(2, "state due next queue turn free waits waiting")),
    *((name, np.int64, (2, MOST_QUEUES)) for name in ("taken", "reserved", "emptied", "walked", "epochs")),
    ("bells", *_queue(8192, 3, 2)), ("reports", *_queue(64, 5, 2)), ("batches", *_queue(128, 10, 2)),
    ("tables", *_queue(128, 2, 2)),
    *((name, *_queue(MOST_QUEUES + 1, 2, 2)) for name in RUN_QUEUES),
    *((f"{name}_pulses", *_queue(256, 2, 2)) for name in RUN_QUEUES),
    *((f"in_{name}", np.int64, (2, MOST_QUEUES)) for name in RUN_QUEUES),
]
WALKERS = [
    ("reader", _numbers("state queue packets bytes second")),
    ("walker", _numbers("valid queue place left last offset asked")),
    ("writer", _numbers("held busy left queue place request request_left request_bytes request_queue request_place "
                        "plan plan_ends plan_bytes plan_queue plan_place merged merged_ends merged_bytes merged_queue "
                        "merged_place")),
    ("filler", _numbers("state queue place follows")),
    ("frames", *_queue(MOST_FRAMES, 3)), ("receipts", *_queue(68, 4)),
    ("inside", np.int64, MOST_QUEUES),
]
USED = [
    ("collectors", *_each(2, "busy queue bytes behind by_timer expires expiring oldest")),
    ("runs", *_each((2, MOST_QUEUES), "position packets bytes opened rows taken_rows")),
    ("builders", *_each(2, "beat flights")), ("mergers", *_each(2, "last held")),
    ("registers", np.float64, (2, 3, 7)), ("suppressors", *_each(2, "state queue enable accepted")),
    ("events", *_each((2, MOST_QUEUES), "reading again asked until told")),
    ("used", np.int64, (2, MOST_QUEUES)),
    ("completions", *_queue(2 * MOST_TAGS, 4, 2)), ("closed", *_queue(12, 5, 2)),
    ("opened_runs", *_queue(4 * MOST_QUEUES, 2, 2)), ("accepted", *_queue(64, 3, 2)), ("notices", *_queue(64, 3, 2)),
    ("answers", *_queue(MOST_QUEUES + 2, 3, 2)), ("switches", *_queue(2 * MOST_QUEUES + 4, 3, 2)),
    ("switched", *_queue(2 * MOST_QUEUES + 4, 3, 2)),
]
# By queue or packet, behind all the others: of these little is used, and cleared.
BY_QUEUE = [
    ("times", np.float64, (2, MOST_PACKETS, len(STAGE_NAMES))), ("posted_at", np.float64, (2, MOST_QUEUES, MOST_RING)),
    ("descriptors", *_queue(MOST_ENTRIES + 64, 2, 2, MOST_QUEUES)),
    ("chains", *_queue(MOST_ENTRIES, 2, 2, MOST_QUEUES)),
]
LARGE = [name for name, *_ in BY_QUEUE]
WORLD = np.dtype([("p", PARAMETERS), ("s", REGISTERS), ("moving", np.int64, 2), *HOST, *DRIVER, *READ_ENGINE, *SUPPLY,
                  *WALKERS, *USED, *BY_QUEUE])
