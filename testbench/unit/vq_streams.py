"""Streams between a `virtqueue.Engine` and what plays its surroundings, cycle by cycle."""


class StreamSide:
    """Gives and takes with random stalls: `stall` is how often a stream is not ready or not valid, `rng` its dice."""

    def chance(self):
        return self.rng.random() >= self.stall

    def take(self, ctx, port):
        """Payload of an output stream, if it is transferred in this cycle."""
        ready = self.chance()
        ctx.set(port.ready, ready)
        return ctx.get(port.payload) if ready and ctx.get(port.valid) else None

    def give(self, ctx, port, queue):
        """Offers the first of `queue`; removes it when it is transferred."""
        if not queue:
            return None
        if not ctx.get(port.valid):
            if not self.chance():
                return None
            ctx.set(port.payload, queue[0])
            ctx.set(port.valid, 1)
        return port if ctx.get(port.ready) else None

    @staticmethod
    def _arrive(travelling, arrived, now):
        """Moves entries (time, payload) whose time has come."""
        for entry in [entry for entry in travelling if entry[0] <= now]:
            travelling.remove(entry)
            arrived.append(entry[1])
