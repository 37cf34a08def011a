"""How long hosts take to answer a DMA read: seeded samplers of measured latency profiles.

A profile is the unloaded time from the device's last request beat to the first completion beat of a 64-byte read.
Queueing on the link adds to it. Between the published percentiles the inverse of the distribution is drawn as straight
lines of the logarithm of time.
"""

import bisect
import math
import random
from dataclasses import dataclass

__all__ = ["PROFILES", "Latency", "Profile", "fixed"]

QUANTILES = (0.0, 0.5, 0.95, 0.99, 0.999, 1.0)
NS_PER_BYTE = 0.29                  # beyond the first 64 bytes
AFTER_WRITE = (107.0, 160.0)        # what a read that follows a write to the same host costs more


@dataclass(frozen=True)
class Profile:
    """`points`: ns at min, p50, p95, p99, p99.9 and max; `per_byte`: ns for each byte beyond 64; `after_write`: range
    of what a read pays that follows a write at once."""
    name: str
    points: tuple
    per_byte: float = NS_PER_BYTE
    after_write: tuple = AFTER_WRITE

    @property
    def median(self):
        return self.points[1]


def fixed(nanoseconds, name=None):
    """A profile without any spread: every read takes `nanoseconds`, whatever its length."""
    return Profile(name or f"fixed-{nanoseconds:g}", (float(nanoseconds),) * 6, 0.0, (0.0, 0.0))


PROFILES = {profile.name: profile for profile in (
    Profile("e5-warm", (520, 550, 560, 575, 600, 1000)),
    Profile("e5-dram", (587, 605, 620, 800, 900, 2000)),
    Profile("e5-remote", (640, 665, 780, 850, 920, 2400)),
    Profile("iommu-4k", (560, 880, 1000, 1100, 1300, 5000)),
    Profile("e3-tail", (493, 1213, 3000, 4700, 10000, 50000)),
    fixed(1000, "1us"),
    fixed(2000, "2us"),
    fixed(0, "zero"),
)}


class Latency:
    """Draws round trips of a profile; the same seed gives the same sequence.

    Parameters
    ----------
    profile : str or Profile
        a name of `PROFILES`, or one's own
    seed : int
    """

    def __init__(self, profile, seed=1):
        if not isinstance(profile, Profile):
            if profile not in PROFILES:
                raise ValueError(f"unknown latency profile {profile!r}; there are: {', '.join(PROFILES)}")
            profile = PROFILES[profile]
        self.profile = profile
        self.seed(seed)
        self._logs = [math.log(point) for point in profile.points] if profile.points[0] else None

    def seed(self, seed):
        """Draw from here on as from the beginning with that seed."""
        self._random = random.Random(seed)

    def round_trip(self, length=64, *, since_write=math.inf):
        """ns from the request to its completion, for a read of `length` bytes.

        The host settles a write before it serves a read behind it. That costs what `after_write` of the profile says
        if the read follows at once, and less by the `since_write` ns that have passed since.
        """
        time = self._draw()
        if length > 64:
            time += (length - 64) * self.profile.per_byte
        if since_write < self.profile.after_write[1]:
            time += max(0.0, self._random.uniform(*self.profile.after_write) - since_write)
        return time

    def _draw(self):
        if self._logs is None:
            return 0.0
        u = self._random.random()
        i = bisect.bisect_right(QUANTILES, u) - 1
        low, high = QUANTILES[i], QUANTILES[i + 1]
        return math.exp(self._logs[i] + (self._logs[i + 1] - self._logs[i]) * (u - low) / (high - low))
