"""Sums of many terms, for 250 MHz."""

from amaranth import *

__all__ = ["add_up", "fold16"]


def add_up(m, terms, name):
    """The sum of `terms`, added up in pairs.

    Each sum is kept as it is: synthesis would add all of the terms up at once, bit by bit, which is deeper.
    """
    terms = list(terms)
    while len(terms) > 1:
        pairs = [terms[n:n + 2] for n in range(0, len(terms), 2)]
        width = max(len(term) for term in terms) + 1
        sums = [Signal(width, name=f"{name}{len(pairs)}_{n}", attrs={"keep": 1}) for n in range(len(pairs))]
        m.d.comb += [total.eq(sum(pair, C(0))) for total, pair in zip(sums, pairs)]
        terms = sums
    return terms[0]


def fold16(total):
    """A number of up to 32 bits whose remainder by 65535 is that of `total`, in 17 bits: a carry of ones' complement
    arithmetic (RFC 1071) comes back at the lower end."""
    return (total[:16] + total[16:])[:17]
