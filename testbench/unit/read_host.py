"""Completions as a host sends them, and as it should not. TLPs are decoded and built here from the specification."""

import random

__all__ = ["STATUS", "Completer", "Fault", "Request", "host_bytes"]


STATUS = {"ok": 0, "ur": 1, "ca": 2, "poisoned": 3, "timeout": 4, "discarded": 5}
_PATTERN = random.Random(99).randbytes(70_001) * 4


def host_bytes(address, length):
    start = (address + (address >> 20) * 7919) % 70_001
    return _PATTERN[start:start + length]


class Fault:
    """What the host does wrong with a request; `status` is how the read must end."""

    def __init__(self, kind):
        self.kind = kind
        self.status = STATUS[{"ur": "ur", "reserved": "ur", "poison": "poisoned", "never": "timeout", "late": "timeout",
                              "endless": "timeout", "dropped": "discarded"}.get(kind, "ca")]


class Request:
    """A memory read as it came out of the engine, checked and decoded."""

    def __init__(self, header, largest):
        dw = [header >> 32 * n & 0xffff_ffff for n in range(4)]
        assert dw[0] & ~0x2000_03ff == 0, f"not a plain memory read: DW0 {dw[0]:#010x}"
        self.dwords = (dw[0] & 0x3ff) or 1024
        self.tag = dw[1] >> 8 & 0xff
        first_be, last_be = dw[1] & 15, dw[1] >> 4 & 15
        assert dw[1] >> 16 == 0, "requester is not 0"
        if dw[0] >> 29 & 1:
            base = dw[2] << 32 | dw[3]
            assert dw[2], "4-DW header below 4 GiB"
        else:
            base = dw[2]
            assert dw[3] == 0
        assert base & 3 == 0
        assert first_be
        before = (first_be & -first_be).bit_length() - 1
        if self.dwords == 1:
            assert last_be == 0
            after = 4 - first_be.bit_length()
            assert first_be == 0xf << before & 0xf >> after, f"first BE {first_be:#x} is not contiguous"
        else:
            assert last_be
            after = 4 - last_be.bit_length()
            assert first_be == 0xf << before & 0xf and last_be == 0xf >> after
        self.address = base + before
        self.length = 4 * self.dwords - before - after
        assert self.dwords * 4 <= largest, f"request of {self.dwords} DWs"
        assert base >> 12 == (base + 4 * self.dwords - 1) >> 12, "request crosses 4 KiB"


class Completer:
    """Makes completions of `Request`s, with or without a `Fault`.

    Parameters
    ----------
    rng : random.Random
    rcb : bytes at whose multiples completions may be cut, or None: cut at 256 only
    bytes_per_beat : int
    """

    def __init__(self, rng, rcb, bytes_per_beat):
        self.rng, self.rcb, self.bytes_per_beat = rng, rcb, bytes_per_beat

    def completions(self, request, kind=None):
        """Completions of a request, each a list of beats."""
        rng, out = self.rng, []
        address, left = request.address, request.length
        if kind in ("ur", "ca", "reserved", "retry"):
            code = {"ur": 1, "ca": 4, "reserved": 3, "retry": 2}[kind]
            if rng.random() < 0.5 and left > 64:       # after a part has come
                cut = 64 - address % 64
                out.append(self.completion(request.tag, address, cut, left, host_bytes(address, cut)))
                left -= cut
            return [*out, self.completion(request.tag, 0, 0, left, b"", status=code)]
        while left:
            edge = 256 - address % 256
            if self.rcb:
                edge = rng.choice([edge, self.rcb * rng.randrange(1, 5) - address % self.rcb])
            size = min(left, edge)
            fields = {}
            if kind == "poison" and not out:
                fields["poison"] = 1
            if kind == "count" and left - 1 not in (0, size):
                fields["count_error"] = -1
                kind = None
            if kind == "endless" and size == left:
                fields["count_error"] = 8
            if kind in ("count", "lower"):
                fields["lower_error"] = rng.choice((4, 64))     # still the last, where it is
                kind = None
            if kind == "bare":
                return [*out, self.completion(request.tag, address, 0, left, b"")]
            out.append(self.completion(request.tag, address, size, left, host_bytes(address, size), **fields))
            if kind == "excess" and size == left:
                out[-1] = self.completion(request.tag, address, size + 4, left, host_bytes(address, size + 4))
            address, left = address + size, left - size
        return out

    def completion(self, tag, address, size, left, payload, *, status=0, poison=0, count_error=0, lower_error=0):
        """Beats of one completion. The bytes around the payload in its first and last DW are junk."""
        before = address % 4 if payload else 0
        dwords = -(-(before + size) // 4) if payload else 0
        junk = self.rng.randbytes(8)
        raw = (junk[:before] + payload + junk)[:4 * dwords]
        dw0 = (0x4a << 24 if payload else 0x0a << 24) | dwords & 0x3ff | poison << 14
        dw1 = 0x0100 << 16 | status << 13 | (left + count_error) & 0xfff
        dw2 = tag << 8 | (address + lower_error) & 0x7f
        return self.beats(dw0 | dw1 << 32 | dw2 << 64, raw)

    def beats(self, header, raw):
        full = self.bytes_per_beat
        pieces = [raw[at:at + full] for at in range(0, len(raw), full)] or [b""]
        return [{"first": n == 0, "last": n == len(pieces) - 1,
                 "header": header if n == 0 else self.rng.getrandbits(96), "data": int.from_bytes(piece, "little"),
                 "keep": (1 << len(piece) // 4) - 1}
                for n, piece in enumerate(pieces)]
