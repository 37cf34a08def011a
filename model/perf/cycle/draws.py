"""The random numbers of `random.Random`, so that the host takes the same time for its reads as in the testbench, as
long as these come in the same order."""

import functools
import random

import numpy as np

from .compiled import compiled

__all__ = ["STATE", "begin_again", "draw", "skip", "state_of"]

WORDS, SHIFT = 624, 397
STATE = WORDS + 1       # words, and which is next
LOW, HIGH, TWIST = 0x7fffffff, 0x80000000, 0x9908b0df


@functools.lru_cache
def state_of(seed):
    """State of a generator that is seeded like `random.Random(seed)`."""
    return np.array(random.Random(seed).getstate()[1])


@compiled
def begin_again(state, first):
    """As if nothing had been drawn: back to the state `first`."""
    for word in range(STATE):
        state[word] = first[word]


@compiled
def draw(state):
    """The next number from 0 to 1: MT19937, 53 bits."""
    high, low = _word(state) >> 5, _word(state) >> 6
    return (high * 67108864.0 + low) / 9007199254740992.0


@compiled
def skip(state, count):
    """Pass so many numbers over."""
    at = state[WORDS] + 2 * count
    while at > WORDS:
        _refill(state)
        at -= WORDS
    state[WORDS] = at


@compiled
def _word(state):
    at = state[WORDS]
    if at >= WORDS:
        _refill(state)
        at = 0
    state[WORDS] = at + 1
    y = state[at]
    y ^= y >> 11
    y ^= (y << 7) & 0x9d2c5680
    y ^= (y << 15) & 0xefc60000
    return y ^ (y >> 18)


@compiled
def _refill(state):
    for i in range(WORDS):
        y = (state[i] & HIGH) | (state[(i + 1) % WORDS] & LOW)
        state[i] = state[(i + SHIFT) % WORDS] ^ (y >> 1) ^ (TWIST if y & 1 else 0)
