"""One part of a sweep: points in, rows of figures out. Runs in any process, on any machine that has this project."""

import numpy as np

from hdl.config import ConfigError, NicConfig
from model.perf import RESOURCES, simulate, steady_state

from .perf_cases import CardSetting
from .sweep_spec import CARD, SpecError, scenario_of_point

__all__ = ["FIGURES", "evaluate", "setting_of_point"]

FIGURES = ("mpps", "mpps_tx", "mpps_rx", "gbps", "steady_mpps", "bottleneck", "latency_tx_p50", "latency_tx_p99",
           "latency_rx_p50", "latency_rx_p99", *(f"use {name}" for name in RESOURCES))
POLICY_OF = {(False, False, False): "plain", (True, False, False): "notification", (False, True, False): "in-order",
             (False, False, True): "indirect"}


def evaluate(engine, packets, points):
    """Rows {figure: value} for a list of points, in their order. Latencies are ns."""
    scenarios = [scenario_of_point(point) for point in points]
    steady = steady_state(scenarios)
    if engine == "rtl":
        rows = [_measured(point) for point in points]
    else:
        rows = [_modelled(answer) for answer in simulate(scenarios, packets=packets)]
    for i, (row, scenario) in enumerate(zip(rows, scenarios)):
        row["mpps"] = min(value for name, value in row.items() if name.startswith("mpps_"))
        row["gbps"] = row["mpps"] * float(np.mean(scenario.pattern.lengths)) * 8 / 1e3
        row["steady_mpps"] = float(steady.mpps[i])
        row["bottleneck"] = steady.bottleneck[i]
        row |= {f"use {name}": float(use) for name, use in zip(RESOURCES, row["mpps"] / steady.capacity[i])}
    return rows


def _modelled(answer):
    row = {}
    cycle = answer.scenario.card.cycle_ns
    for name, mpps in answer.mpps.items():
        median, late = np.percentile(answer.latency(name), (50, 99)) * cycle
        row |= {f"mpps_{name}": float(mpps), f"latency_{name}_p50": float(median), f"latency_{name}_p99": float(late)}
    return row


def setting_of_point(point):
    """What the RTL can be run with. Raises `SpecError` for what only the model answers."""
    for name in ("capture", "gap_ns", "burst", "max_payload", "max_read_request"):
        if name in point:
            raise SpecError(f"{name} is for the model only, not for engine = \"rtl\"")
    features = tuple(bool(point.get(name)) for name in ("notification_data", "in_order", "indirect"))
    if features not in POLICY_OF:
        raise SpecError("the RTL is run with one of notification_data, in_order and indirect at a time")
    parameters = tuple(sorted((name, point[name]) for name in CARD if name in point))
    try:
        NicConfig(name="sweep", **dict(parameters))
    except ConfigError as error:
        raise SpecError(str(error)) from None
    known = {name: point[name] for name in ("frame", "link", "profile", "queues", "ring", "seed") if name in point}
    return CardSetting(build="sweep", direction=point.get("direction", "tx"), policy=POLICY_OF[features],
                       parameters=parameters, **known)


def _measured(point):
    from .perf_rtl import Runner  # the simulator only where it is needed
    result = Runner().measure(setting_of_point(point))
    row = {f"mpps_{name}": mpps for name, mpps in result["mpps"].items()}
    for name, cycles in result["latency"].items():
        row |= {f"latency_{name}_p50": cycles["median"] * 4.0, f"latency_{name}_p99": cycles["p99"] * 4.0}
    return row
