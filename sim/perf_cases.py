"""What the model is calibrated and validated with: cards that are built, and circumstances that are drawn."""

import hashlib
import json
import random
from dataclasses import asdict, dataclass

from hdl.config import NicConfig
from model.link import LINKS

from .bench_rows import DIRECTIONS, FCS, FRAMES, POLLED

__all__ = ["BUILDS", "CardSetting", "Setting", "calibration_half", "draw_settings", "held_out_half"]


def _card(name, width=512, cache=256, fetch=16, used=16, tags=256, **others):
    return NicConfig(name=f"perf-{name}", pairs=4, width=width, cache_descriptors=cache, cache_elements=cache,
                     fetch_batch=fetch, used_batch=used, tags=tags, reserved_tags=min(16, tags // 4),
                     flow_entries=256, **others)


# A simulation takes a minute to build: few cards, each with everything that is chosen when it runs.
BUILDS = {"wide": NicConfig.preset("default")} | {card.name.removeprefix("perf-"): card for card in (
    _card("wide-64tags", tags=64, fetch=8, used=8),
    _card("wide-128tags", tags=128, cache=128, fetch=32, used=32),
    _card("wide-small-cache", cache=64),
    _card("wide-256reads", fetch=4, used=4, read_bytes=256),
    _card("middle", width=256),
    _card("middle-64tags", width=256, tags=64, cache=64, fetch=4, used=4),
    _card("middle-32tags", width=256, tags=32, cache=128, fetch=8, used=16),
    _card("narrow", width=128),
    _card("narrow-small", width=128, tags=64, cache=32, fetch=8, used=8, read_bytes=256),
)}
PROFILES = ("e5-warm", "e5-dram", "e5-remote", "iommu-4k", "1us", "2us")
RINGS = (64, 128, 256, 512, 1024)
QUEUES = (1, 1, 1, 2, 4)
LOADS = (None, None, None, 0.3, 0.6)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One run. `build` is a name of `BUILDS`; `frame` counts the FCS; `load` is a part of the bound of link and bus
    that is offered, None for as much as can be."""
    build: str
    direction: str
    frame: int = 64
    link: str = "gen3x8"
    profile: str = "e5-warm"
    policy: str = "plain"
    queues: int = 1
    ring: int = 1024
    load: float | None = None
    seed: int = 1

    @property
    def key(self):
        """Name of a file, the same for the same setting."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __str__(self):
        return " ".join(str(value) for name, value in asdict(self).items() if name != "seed")

    @property
    def length(self):
        return self.frame - FCS

    @property
    def card(self):
        return BUILDS[self.build]


@dataclass(frozen=True, kw_only=True)
class CardSetting(Setting):
    """A run on a card of its own: the default one with `parameters`, pairs of name and value."""
    parameters: tuple = ()

    @property
    def card(self):
        name = "sweep" + "".join(f"-{name}{value}" for name, value in self.parameters)
        return NicConfig(**dict(self.parameters) | {"name": name})


def draw_settings(count, seed=1):
    """`count` different settings; the first n of them are the same for every `count`."""
    rng, found = random.Random(seed), {}
    names = list(BUILDS)
    while len(found) < count:
        direction = rng.choice(DIRECTIONS)
        setting = Setting(
            build=names[len(found) % len(names)], direction=direction, frame=rng.choice(FRAMES), link=rng.choice(LINKS),
            profile=rng.choice(PROFILES), policy=rng.choice(POLLED), queues=rng.choice(QUEUES),
            ring=rng.choice(RINGS), load=rng.choice(LOADS) if direction != "both" else None,
            seed=rng.randrange(1, 1000))
        found.setdefault(setting.key, setting)
    return list(found.values())


def calibration_half(settings):
    """Every second of the drawn settings, of every build."""
    return [setting for place, setting in enumerate(settings) if place // len(BUILDS) % 2 == 0]


def held_out_half(settings):
    """The others: never used to calibrate."""
    return [setting for place, setting in enumerate(settings) if place // len(BUILDS) % 2]
