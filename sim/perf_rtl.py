"""Runs of the RTL for calibration and validation: built once per card, each run kept until the RTL changes."""

import json
import os
import statistics

from model.latency import PROFILES
from model.link import Link, bound

from .bench_rows import POLICIES
from .compiled import environment_library
from .rtl import TOP, behaviour_digest, verilog_of
from .simulators import BUILD, build, run

__all__ = ["RunFailed", "Runner", "burst_of", "offered_mpps", "rate_of", "rtl_digest"]

RUNS = BUILD / "perf"
WARM_UP_NS, WINDOW_NS = 16_000, 20_000
PACKETS = 500           # where they take longer than the window, it is longer
BOTH_LONGER = 3         # times longer until neither way gains on the other
LONG_TAIL = 3           # times longer where rare reads are slow
STAGE_FRAMES = 12
CYCLE_NS = 4


class RunFailed(Exception):
    """A run found something wrong, or ended without a result."""


def rtl_digest():
    """What the cached runs, and the constants, hold for."""
    return behaviour_digest()[:16]


def offered_mpps(setting):
    """Packets per µs that are offered of a setting that has a `load`."""
    return setting.load * _bound(setting)


def _bound(setting):
    """Mpps per direction that link, bus, tags and ring allow; only to choose loads and windows by."""
    trip = PROFILES[setting.profile].median + 200
    card = setting.card
    return bound(Link(setting.link), setting.direction, setting.length, policy=POLICIES[setting.policy].cost,
                 width=card.width, tags=card.tags - card.reserved_tags, round_trip=trip, ring=setting.ring,
                 residence=2 * trip, queues=setting.queues).mpps


def _times_ns(setting):
    """(warm-up, window, from one burst to the next or None) of a run."""
    mpps = offered_mpps(setting) if setting.load else _bound(setting)
    longer = max(1, PACKETS * 1e3 / mpps / WINDOW_NS) * (LONG_TAIL if setting.profile == "iommu-4k" else 1)
    gap = None
    if setting.load:
        gap = 1e3 * burst_of(setting) * setting.queues / mpps
        longer = max(longer, 12 * gap / WINDOW_NS)
    warm_up = WARM_UP_NS * max(1, longer / 2) * (BOTH_LONGER if setting.direction == "both" else 1)
    return round(warm_up), round(WINDOW_NS * longer), gap


def window_of(setting):
    """(first cycle of a run that counts, first one that doesn't), from when the load begins."""
    warm_up, window, _ = _times_ns(setting)
    return warm_up / CYCLE_NS, (warm_up + window) / CYCLE_NS


def rate_of(result):
    """Packets per µs of a run; of both ways at once the mean: one may catch up with the other meanwhile."""
    return statistics.fmean(result["mpps"].values())


class Runner:
    """Runs settings on the RTL, or remembers how they ran: a result is kept until the RTL changes."""

    def __init__(self):
        self.digest = rtl_digest()
        self._built = {}

    def build(self, card):
        """(manifest, simulation) of a card."""
        if card.name not in self._built:
            verilog = verilog_of(card)
            self._built[card.name] = verilog.with_suffix(".json"), build(
                "verilator", TOP, [verilog], label=card.name)
        return self._built[card.name]

    def path(self, setting, job):
        return RUNS / self.digest / f"{job}-{setting.key}.json"

    def known(self, setting, job="job_perf"):
        """The result of an earlier run, or None."""
        path = self.path(setting, job)
        return json.loads(path.read_text()) if path.exists() else None

    def measure(self, setting):
        """Rates, latencies and counts of a loaded card. Raises `RunFailed` and `SimulatorError`."""
        return self.known(setting) or self._run(setting, "job_perf", self._load_job(setting), _summary)

    def packets(self, setting, window_ns):
        """{direction: [(cycle of the simulation, latency in cycles)]} of all packets of a load's first `window_ns`.
        Raises as `measure`."""
        job = self._load_job(setting) | {"warm_up_ns": 0, "window_ns": window_ns}
        return self._run(setting, "job_perf", job, lambda setting, result: result["through"])

    def stages(self, setting):
        """Events of lone packets. Raises `RunFailed` and `SimulatorError`."""
        return self.known(setting, "job_stages") or self._run(
            setting, "job_stages", {"frames": STAGE_FRAMES}, lambda setting, result: result)

    def _load_job(self, setting):
        warm_up, window, gap = _times_ns(setting)
        return {"direction": setting.direction, "warm_up_ns": warm_up, "window_ns": window, "gap_ns": gap}

    def _run(self, setting, module, job, summary):
        manifest, built = self.build(setting.card)
        path = self.path(setting, module)
        directory = path.with_suffix("")
        directory.mkdir(parents=True, exist_ok=True)
        raw = directory / "result.json"
        raw.unlink(missing_ok=True)
        policy = POLICIES[setting.policy]
        job = job | {"frame": setting.length, "ring": setting.ring, "queues": setting.queues,
                     "features": policy.features, "layout": policy.cost.layout, "result": str(raw)}
        settings = {"manifest": str(manifest), "link": setting.link, "profile": setting.profile, "seed": setting.seed,
                    "bench": job}
        if module == "job_perf":
            settings["compiled"] = str(environment_library("verilator"))
        outcome = run(built, f"testbench.system.{module}", environment={"NIC_RUN": json.dumps(settings)},
                      directory=directory, seed=setting.seed)
        if not outcome.ok or not raw.exists():
            raise RunFailed(f"{setting}: {outcome.summary()} (log: {outcome.log})")
        result = summary(setting, json.loads(raw.read_text()))
        written = path.with_suffix(f".{os.getpid()}")
        written.write_text(json.dumps(result))
        written.replace(path)       # whole or not at all
        raw.unlink()
        return result


def burst_of(setting):
    """Frames that a paced load offers at a time: what `PacedLoad.burst` is."""
    card = setting.card
    rows = card.rx_buffer // card.bytes_per_beat
    beats = -(-setting.length // card.bytes_per_beat)
    batch = min(32, setting.ring // 4)
    most = min(setting.ring - 2 * batch, max(1, rows // beats // setting.queues))
    return min(batch, max(1, most // 2))


def _summary(setting, result):
    """Per direction: packets per µs between the first and the last moment at which any were through, and latencies."""
    found = {name: result[name] for name in ("cpu_seconds", "cpu_whole", "cycles", "burst", "pcie")}
    found |= {"mpps": {}, "latency": {}}
    for name, events in result["through"].items():
        if not events:
            continue
        first, last = events[0][0], events[-1][0]
        later = sum(cycle > first for cycle, _ in events)
        found["mpps"][name] = later * 1e3 / CYCLE_NS / max(1, last - first)
        cuts = sorted(latency for _, latency in events)
        found["latency"][name] = {"median": statistics.median(cuts), "min": cuts[0], "p99": cuts[len(cuts) * 99 // 100],
                                  "packets": len(cuts)}
    return found
