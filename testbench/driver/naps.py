"""A driver that is not always awake: it falls asleep at the worst moments, for random times from a seed.

What has to be right meanwhile: nothing that happens in its sleep is overlooked, and nobody waits for it with a clock.
"""

import random

__all__ = ["Naps"]


class Naps:
    """
    Parameters
    ----------
    platform : Platform
    seed : int
    mean_ns : of a nap's length
    chance : of falling asleep at each occasion
    """

    def __init__(self, platform, seed, mean_ns, chance=0.3):
        self._platform = platform
        self._rng = random.Random(seed)
        self._mean_ns = mean_ns
        self._chance = chance
        self.count = 0

    async def nap(self):
        """An occasion: sleep, or don't."""
        if self._rng.random() < self._chance:
            self.count += 1
            await self._platform.sleep(self._rng.expovariate(1 / self._mean_ns))
