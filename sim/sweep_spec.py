"""Specification of a sweep: a TOML file into points, or one line that says what is wrong with it.

    name = "tags"
    kind = "grid"               # or "random", with count = 100 and seed = 1
    engine = "model"            # or "rtl"
    packets = 4096              # that the model follows
    plot = ["tags", "frame"]    # parameters along the axes of the maps; by default the first two that vary

    [fixed]                     # any parameter of the card, of the host and of the traffic
    profile = "1us"

    [vary]
    tags = [32, 64, 128, 256]
    frame = [64, 512, 1518]
"""

import itertools
import random
import tomllib
from dataclasses import dataclass
from pathlib import Path

from model.perf import Card, Host, ParameterError, Pattern, Scenario

from .capture import CaptureError, read_capture

__all__ = ["PARAMETERS", "SpecError", "Sweep", "read_spec", "scenario_of_point"]

FCS = 4
TOP = {"name": str, "kind": str, "engine": str, "packets": int, "count": int, "seed": int, "plot": list, "fixed": dict,
       "vary": dict}
CARD = tuple(Card.names())
HOST = ("link", "profile", "max_payload", "max_read_request")
PATTERN = ("direction", "queues", "ring", "burst", "gap_ns", "notification_data", "in_order", "indirect")
# `frame` counts the FCS; `capture` names a file whose frames are sent; `pace`: when they were captured; `seed` of the
# host's latencies.
OTHER = ("frame", "capture", "pace", "seed")
PARAMETERS = CARD + HOST + PATTERN + OTHER
MOST_POINTS = 1_000_000


class SpecError(Exception):
    """What is wrong with a specification, in one line that names file and key."""


@dataclass(frozen=True)
class Sweep:
    """`points`: list of {parameter: value}, all with the same parameters; `varied`: those that differ."""
    name: str
    engine: str
    packets: int
    points: list
    varied: tuple
    plot: tuple


def read_spec(path):
    """`Sweep` of a file. Raises `SpecError`."""
    path = Path(path)
    try:
        spec = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path}: {error}") from None
    for key, value in spec.items():
        _check(path, key in TOP, key, f"unknown key; there are: {', '.join(TOP)}")
        _check(path, type(value) is TOP[key], key, f"must be of type {TOP[key].__name__}, not {value!r}")
    kind, engine = spec.get("kind", "grid"), spec.get("engine", "model")
    _check(path, kind in ("grid", "random"), "kind", f"must be grid or random, not {kind!r}")
    _check(path, engine in ("model", "rtl"), "engine", f"must be model or rtl, not {engine!r}")
    packets = spec.get("packets", 4096)
    _check(path, 256 <= packets <= 1 << 16, "packets", f"must be 256 to {1 << 16}, not {packets!r}")
    fixed, vary = spec.get("fixed", {}), spec.get("vary", {})
    _check_parameters(path, fixed, vary)
    points = _points(path, kind, spec, fixed, vary)
    varied = tuple(vary)
    plot = tuple(spec.get("plot", varied[:2]))
    _check(path, len(plot) <= 2 and all(name in varied for name in plot), "plot",
           f"must name one or two parameters that vary, not {list(plot)!r}")
    for point in points:
        scenario_of_point(point, path)
    return Sweep(spec.get("name", path.stem), engine, packets, points, varied, plot)


def _check(path, condition, key, message):
    if not condition:
        raise SpecError(f"{path}: {key}: {message}")


def _check_parameters(path, fixed, vary):
    for table, values in (("fixed", fixed), ("vary", vary)):
        for key in values:
            _check(path, key in PARAMETERS, f"{table}.{key}", f"unknown parameter; there are: {', '.join(PARAMETERS)}")
    for key, values in vary.items():
        _check(path, isinstance(values, list) and values, f"vary.{key}", f"must be a list of values, not {values!r}")
        _check(path, key not in fixed, f"vary.{key}", "is fixed as well")
        _check(path, len(set(map(repr, values))) == len(values), f"vary.{key}", "names a value twice")


def _points(path, kind, spec, fixed, vary):
    _check(path, vary, "vary", "nothing to sweep over")
    combinations = 1
    for values in vary.values():
        combinations *= len(values)
    if kind == "grid":
        for key in ("count", "seed"):
            _check(path, key not in spec, key, "belongs to kind = \"random\"")
        _check(path, combinations <= MOST_POINTS, "vary", f"makes {combinations} points, more than {MOST_POINTS}")
        chosen = itertools.product(*vary.values())
    else:
        count = spec.get("count", 0)
        _check(path, 1 <= count <= combinations, "count",
               f"must be 1 to {combinations}, as many as there are combinations, not {count!r}")
        rng = random.Random(spec.get("seed", 1))
        chosen = [_combination(number, vary) for number in rng.sample(range(combinations), count)]
    return [fixed | dict(zip(vary, values)) for values in chosen]


def _combination(number, vary):
    values = []
    for choices in vary.values():
        number, place = divmod(number, len(choices))
        values.append(choices[place])
    return values


def scenario_of_point(point, path="point"):
    """`Scenario` of {parameter: value}. Raises `SpecError`."""
    def pick(names):
        return {name: point[name] for name in names if name in point}
    traffic = {}
    if "capture" in point:
        _check(path, "frame" not in point, "capture", "stands in place of frame")
        traffic = _captured(path, point)
    else:
        _check(path, "pace" not in point, "pace", "needs a capture")
        frame = point.get("frame", 64)
        _check(path, type(frame) is int, "frame", f"must be an integer, not {frame!r}")
        traffic["lengths"] = (frame - FCS,)
    seed = point.get("seed", 1)
    _check(path, type(seed) is int and seed >= 0, "seed", f"must be an integer from 0 on, not {seed!r}")
    try:
        return Scenario(card=Card(**pick(CARD)), host=Host(**pick(HOST)), pattern=Pattern(**pick(PATTERN), **traffic),
                        seed=seed)
    except ParameterError as error:
        raise SpecError(f"{path}: {error}") from None
    except TypeError:
        named = ", ".join(f"{name} = {value!r}" for name, value in point.items())
        raise SpecError(f"{path}: a value is of the wrong type among {named}") from None


def _captured(path, point):
    try:
        frames = list(read_capture(point["capture"], mtu=9000))
    except CaptureError as error:
        raise SpecError(f"{path}: capture: {error}") from None
    except (OSError, TypeError):
        raise SpecError(f"{path}: capture: can't read {point['capture']!r}") from None
    _check(path, frames, "capture", f"no frame in {point['capture']!r}")
    traffic = {"lengths": tuple(len(frame.data) for frame in frames)}
    if point.get("pace"):
        first = frames[0].time_ns
        traffic["times_ns"] = tuple(float(max(0, frame.time_ns - first)) for frame in frames)
    return traffic
