"""The model's answer for what the RTL was asked: one setting of sim/perf_cases.py as a `Scenario`."""

from dataclasses import asdict

from model.perf import Card, Host, Pattern, Scenario

from .bench_rows import POLICIES
from .perf_places import ring_places
from .perf_rtl import burst_of, offered_mpps

__all__ = ["idle_scenario", "scenario_of"]


def scenario_of(setting):
    """The same card, host and traffic."""
    features = POLICIES[setting.policy].features
    paced = {}
    # A load of several queues teaches the card their flows first, by a frame of each.
    begin = int(setting.queues > 1)
    if setting.load:
        burst = burst_of(setting)
        paced = {"burst": burst, "gap_ns": 1e3 * burst * setting.queues / offered_mpps(setting)}
    indirect = "INDIRECT_DESC" in features
    rx_rings, tx_rings = ring_places(setting.length, setting.ring, setting.queues, indirect)
    return Scenario(
        card=Card.of(asdict(setting.card)), host=Host(link=setting.link, profile=setting.profile), seed=setting.seed,
        pattern=Pattern(begin=begin, direction=setting.direction, lengths=(setting.length,), queues=setting.queues,
                        ring=setting.ring, notification_data="NOTIFICATION_DATA" in features,
                        in_order="IN_ORDER" in features, indirect=indirect, rx_rings=rx_rings,
                        tx_rings=tx_rings, **paced))


def idle_scenario(setting, direction):
    """Lone packets of that setting, far apart."""
    scenario = scenario_of(setting)
    pattern = Pattern(**vars(scenario.pattern) | {"direction": direction, "burst": 1, "gap_ns": 40_000.0})
    return scenario.with_(pattern=pattern)
