"""Reads under way in the bench of the virtqueue engine."""

__all__ = ["Read"]


class Read:
    """A read of descriptors from a `bytearray`, each 64-byte line of which is sampled at a moment of its own."""

    def __init__(self, command, now, rng, latency, not_before):
        self.queue, self.address, self.length = command.queue, command.address, command.length
        self.context = command.context
        self.data = bytearray(self.length)
        self.sampled = 0
        self.ready = now + rng.randint(*latency)
        lines = range(self.address & ~63, self.address + self.length, 64)
        self.samples = sorted((max(not_before, rng.randint(now + 1, self.ready)), line) for line in lines)
        self.ready = max(self.ready, self.samples[-1][0])

    def sample(self, memory, now):
        while self.sampled < len(self.samples) and self.samples[self.sampled][0] <= now:
            line = self.samples[self.sampled][1]
            low, high = max(line, self.address), min(line + 64, self.address + self.length)
            self.data[low - self.address:high - self.address] = memory[low:high]
            self.sampled += 1
