"""A scenario followed cycle by cycle."""

import fcntl
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numba import config, int64, typeof

from model.moments import BEGIN, RESET, TEACH
from model.perf.parameters import ParameterError

from .compiled import compiled
from .deliver import choose
from .draws import begin_again, state_of
from .driver import feed, frame_left, pace, post, run, send_frames, transmit
from .fetch import fetch
from .fifo import ready
from .host import advance, answer, post_doorbell
from .merge import merge
from .order import append, retire
from .reads import issue
from .rest import active, following
from .state import LARGE, MOST_PACKETS, RX, STAGE_NAMES, TX, WORLD
from .supply import judge, store_tables, take_descriptors
from .used import ask_events, build_runs, collect, publish, suppress
from .walk import emit_reads, give_receipts, read_chains, take_frames
from .window import LEAST, LONG, SLACK, count_window
from .write import write_beats

__all__ = ["follow"]

ROOT = Path(__file__).parents[3]
PART_REQUESTS = 24      # of `hdl.config`: requests of a transaction, at most
MOMENTS = 0x5eed        # what `testbench.bfm` makes of a seed for the moments at which it looks at lines of memory
PATIENCE = 2_000_000    # cycles without a packet after which the card stands still


@compiled
def _due(w, d, now):
    """Whether anything may happen in a direction's engine."""
    return (w.moving[d] or w.collectors[d].expires <= now or ready(w.bells[d], now)) and active(w, d)


@compiled
def _cycle(w, now):
    """Everything that happens in the cycle that ends with edge `now`."""
    p = w.p
    merge(w, now)
    frame_left(w, now)
    advance(w, now)
    answer(w, now)
    send_frames(w, now)
    retire(w, now)
    for d in range(2):
        if _due(w, d, now):
            collect(w, d, now)
            build_runs(w, d, now)
            suppress(w, d, now)
            judge(w, d, now)
            fetch(w, d, now)
            publish(w, d, now)
            ask_events(w, d, now)
    # Who takes goes before who gives, so that a full register can be filled again.
    issue(w, now)
    for d in range(2):
        if _due(w, d, now):
            take_descriptors(w, d, now)
            if p.indirect:
                store_tables(w, d, now)
    if active(w, RX):
        write_beats(w, now)
        give_receipts(w, now)
        take_frames(w, now)
    if active(w, TX):
        emit_reads(w, now)
        read_chains(w, now)
    choose(w, now)
    append(w)
    count_window(w, now)
    run(w, now)


@compiled
def _pass_until(w, now, stop):
    """All cycles before `stop`."""
    w.moving[0] = w.moving[1] = 1
    while now < stop:
        _cycle(w, now)
        now = following(w, now, stop)
    _cycle(w, stop)
    begin_again(w.latencies, w.first_latencies)
    begin_again(w.moment_draws, w.first_moments)


@compiled
def _prepare(w):
    """The driver gives its receive buffers and, if there are several queues, sends a frame of each, so that the card
    knows their flows."""
    p = w.p
    for q in range(p.queues):
        w.posted[RX, q] = p.ring
        post_doorbell(w, RESET, RX, q, p.ring)
    now = RESET
    if p.taught:
        _pass_until(w, now, TEACH)
        for q in range(p.queues):
            post(w, TEACH, TX, q, p.taught)
        now = TEACH + 1
    _pass_until(w, now, BEGIN)


@compiled
def _load(w, packets, until):
    """Load the card until as many packets of each queue are through, or until a cycle. Returns the cycle."""
    s, p, now = w.s, w.p, BEGIN
    s.loaded = 1
    if p.paced:
        pace(w, now)
    else:
        if p.tx:
            for q in range(p.queues):
                transmit(w, now, q)
        if p.rx:
            feed(w, now)
    least, since, looked = 0, now, now
    w.moving[0] = w.moving[1] = 1
    now += 1
    while now <= until:
        _cycle(w, now)
        now = following(w, now, until + 1)
        if now < looked + 64:
            continue
        looked = now
        done = packets
        for q in range(p.queues):
            if p.tx:
                done = min(done, w.events[1, q].told - p.taught)
            if p.rx:
                done = min(done, w.events[0, q].told)
        if done >= packets:
            break
        if done > least:
            least, since = done, now
        elif now - since > PATIENCE:
            break
    return now


@compiled
def _follow(w, packets, until):
    _prepare(w)
    return _load(w, packets, BEGIN + until)


@contextmanager
def _compiling():
    """One process compiles, which takes minutes; the others wait, and take what it has left. It does nothing else: to
    whom has compiled the functions one by one they stay what they were before it was known who calls them, which takes
    half as long again."""
    if config.DISABLE_JIT or _follow.signatures:
        yield
        return
    folder = Path(config.CACHE_DIR)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not any(Path(_follow.stats.cache_path).glob("run._follow-*.nbi")):
            command = f"from {__name__} import compile_all; compile_all()"
            subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=False)      # else it is compiled here
        yield


def compile_all():
    """Compile, and leave it where other processes find it."""
    _follow.compile((typeof(np.zeros(1, WORLD).view(np.recarray)[0]), int64, int64))


def follow(scenario, packets, until, constants):
    """What became of a scenario until `packets` of each queue were through, or for `until` cycles.

    Returns (last cycle, times: (receive and transmit, stages, queues, packets)); the load begins with cycle `BEGIN`.
    """
    pattern = scenario.pattern
    kept = packets + pattern.begin
    if kept * pattern.queues > MOST_PACKETS:
        raise ParameterError(f"{kept * pattern.queues} packets are more than the {MOST_PACKETS} that can be followed")
    memory = _kept.clear(pattern.queues, kept * pattern.queues)
    _set_parameters({name: memory[name][0] for name in WORLD.names}, scenario, constants, kept)
    world = memory.view(np.recarray)[0]
    with _compiling():
        end = _follow(world, packets, until)
    times = world.times[:, :kept * pattern.queues].reshape(2, pattern.queues, kept, len(STAGE_NAMES))
    # Nothing is known of the others.
    return end, times[:, :, :int(max(world.posted[1].max(), world.fed.max()))].transpose(0, 3, 1, 2).copy()


class _Kept(threading.local):
    """A thread's memory of a card: clearing what a load has used of it costs less than to have it anew."""

    memory = None
    queues = packets = 0

    def clear(self, queues, packets):
        if self.memory is None:
            self.memory = np.zeros(1, WORLD)
        else:
            self.memory.view(np.uint8)[:WORLD.fields[LARGE[0]][1]] = 0
            for name in LARGE:
                self.memory[name][0][:, :self.packets if name == "times" else self.queues] = 0
        self.queues, self.packets = queues, packets
        return self.memory


_kept = _Kept()


def _set_parameters(w, scenario, constants, packets):
    pattern, card, host = scenario.pattern, scenario.card, scenario.host
    latency, cycle = host.latency, card.cycle_ns
    queues, ring = pattern.queues, pattern.ring
    mean = sum(pattern.lengths) / len(pattern.lengths)
    lanes = max(1, card.width // 128)
    beats = -(-min(pattern.lengths) // card.bytes_per_beat)
    fifo = max(1, card.rx_buffer // card.bytes_per_beat // beats // queues)
    burst = 1 if pattern.times_ns else pattern.doorbell
    values = {
        "queues": queues, "tx": pattern.direction != "rx", "rx": pattern.direction != "tx",
        "both": pattern.direction == "both" and pattern.saturated, "paced": not pattern.saturated,
        "told": pattern.notification_data, "in_order": pattern.in_order, "indirect": pattern.indirect,
        "instant": latency.points[-1] == 0, "beat": card.bytes_per_beat, "lanes": lanes,
        "max_payload": host.max_payload, "read_bytes": min(card.read_bytes, host.max_read_request),
        "tags": card.tags, "reserved_tags": card.reserved_tags,
        "part_requests": min(PART_REQUESTS, max(2, card.tags // 4)),
        "batch_level": card.fetch_batch.bit_length() - 1,
        "most_level": min(card.fetch_batch.bit_length() + 3, card.cache_descriptors.bit_length() - 1),
        "descriptors": card.cache_descriptors, "elements": card.cache_elements,
        "used_batch": min(card.used_batch, host.max_payload // 16), "used_timeout": card.used_timeout,
        "used_bytes": card.used_bytes, "run_rows": max(4, 2 * max(1, card.used_batch // lanes)), "ring": ring,
        "packets": packets, "taught": pattern.begin,
        "burst": burst, "refill": max(1, min(32, ring // 4)),
        "under_way": max(1, min(ring - 2 * min(32, ring // 4), fifo)),
        "ahead": int(max(32, min(256, 48 + (32 << 10) // mean) // queues)),
        "lead": int(min(512, 96 + (64 << 10) // mean)),
        "link": host.bytes_per_ns * cycle, "cycle_ns": cycle, "per_byte": latency.per_byte / cycle,
        "after_write_least": latency.after_write[0] / cycle, "after_write_most": latency.after_write[1] / cycle,
        "gap": pattern.gap_ns / cycle, "lengths": len(pattern.lengths), "captured": len(pattern.times_ns),
    } | constants.delays
    p = w["p"]
    for name, value in values.items():
        p[name] = value
    if latency.points[0]:
        w["logs"][:] = np.log(latency.points)
    if pattern.times_ns:
        captured = np.array(pattern.times_ns) / cycle
        w["captured"][:len(captured)] = captured
        p["span"] = captured[-1] + (captured[-1] - captured[0]) / max(1, len(captured) - 1)
        w["due"][:queues] = BEGIN + np.resize(captured, queues)
    elif not pattern.saturated:
        w["due"][:queues] = BEGIN + np.arange(queues) / queues * p["gap"]
    _rest(w, scenario)


def _rest(w, scenario):
    """Counters of a card that has done nothing yet."""
    pattern, card, p = scenario.pattern, scenario.card, w["p"]
    s, window = w["s"], w["window"]
    s["open"], s["open_np"], s["free"], s["reading"], s["last_write"] = 1, 1, card.tags, -1, -1e18
    s["opening"] = s["opened"] = -1
    s["wire_last"], s["cq_last"], s["rc_last"] = -1, -1, -1
    window["open"], window["probe"], window["limit"] = 1, 1, LEAST
    window["left"], window["least"], window["fastest"] = 9 * SLACK, LONG, 4 * SLACK
    w["fetchers"]["room_first"] = 1
    w["fetching"]["level"] = 2
    w["wanted"][:] = 1
    w["collectors"]["expires"] = w["collectors"]["oldest"] = 1 << 60
    w["open_reads"][:] = -1
    table, fetch = card.read_bytes // 16, card.fetch_batch
    w["credit"][:] = [max(1, -(-fetch // p["lanes"]))] * 2 + [1] * 3 + [max(1, -(-table // p["lanes"]))] * 2 + [1 << 40]
    for direction, name in enumerate(("rx", "tx")):
        w["rings"][direction, :pattern.queues] = pattern.rings(name)
    w["lengths"][:len(pattern.lengths)] = pattern.lengths
    w["latencies"][:] = w["first_latencies"][:] = state_of(scenario.seed)
    w["moment_draws"][:] = w["first_moments"][:] = state_of(scenario.seed ^ MOMENTS)
    w["free_tags"][:card.tags] = np.arange(card.tags)
