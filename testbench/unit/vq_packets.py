"""What a `virtqueue.Engine` asks for as packets: exactly the bytes of the buffers whose turn it is."""

from hdl.dma.spec import DataContext
from testbench.unit.vq_streams import StreamSide


class PacketSide(StreamSide):
    """Plays the transmit and the receive path, and checks what they are told; see `vq_host.Host`."""

    def _transmit(self, ctx, now, taken):
        dut = self.dut
        command = self.take(ctx, dut.data_reads)
        if command is not None:
            self.log.append(("data", now, command.queue))
            self.packets[command.queue].append(command)
            if command.last and not command.more:
                self._packet(command.queue, self.packets[command.queue], now)
                self.packets[command.queue] = []
        self._arrive(self.finishing, self.completions, now)
        if self.give(ctx, dut.completions, self.completions):
            taken.append(dut.completions)
            self.completions.pop(0)

    def _packet(self, queue, commands, now):
        """A packet was asked for: exactly the next buffer of that ring; it completes later."""
        context = DataContext().from_bits(commands[-1].context)
        # In order per queue, as the read engine delivers.
        self.finish_at[queue] = max(self.finish_at[queue], now + self.rng.randint(5, 60))
        self.finishing.append((self.finish_at[queue], {
            "queue": queue, "id": context.id, "slots": context.slots, "behind": self.rng.random() < self.follows,
            "filled": 1}))
        if self.quiesced:
            return
        buffer = self.rings[queue].order.pop(0)
        assert context.packet_last and (context.id, context.slots % 65536) == (buffer.id, buffer.slots)
        transaction = []
        for command in commands:
            transaction.append(command)
            if command.last:
                assert sum(requests(c.address, c.length, self.shift) for c in transaction) <= self.parts
                assert DataContext().from_bits(command.context).packet_last == (command is commands[-1])
                assert command.more == (command is not commands[-1])
                transaction = []
        asked = joined((c.address, c.length) for c in commands)
        segments = joined((address, length) for address, length, _ in buffer.segments)
        total = buffer.bytes_of(0)
        bad = buffer.bytes_of(1) or total not in self.packet_bytes \
            or any(write for *_, write in buffer.segments)
        assert context.drop == bool(bad)
        if not bad:
            assert asked == segments
        else:
            assert commands[-1].length == 0 and begins(segments, asked)
        buffer.dropped = bool(bad)

    def _receive(self, ctx, now, taken):
        dut = self.dut
        if self.give(ctx, dut.frames, self.frames):
            taken.append(dut.frames)
            self.log.append(("frame", now))
            self.asking.append(self.frames.pop(0))
        verdict = self.take(ctx, dut.verdicts)
        if verdict is not None:
            self.log.append(("verdict", now))
            frame = self.asking.pop(0)
            self.verdicts.append((verdict.accept, verdict.cause))
            self.judge(frame, verdict)
            if verdict.accept:
                self.writing.append((frame | {"buffers": verdict.buffers}, []))
        write = self.take(ctx, dut.writes)
        if write is not None:
            self.log.append(("write", now))
            self.early_writes.append((write.queue, write.address, write.length, write.last))
        while self.early_writes and self.writing:
            self._written(*self.early_writes.pop(0), now)
        ctx.set(dut.packet_sent, 0)
        if self.sent and self.sent[0] <= now:
            self.sent.pop(0)
            ctx.set(dut.packet_sent, 1)
        ctx.set(dut.frames_behind, self.rng.random() < self.follows)

    def judge(self, frame, verdict):
        """Hook for tests: called with each verdict."""

    def _written(self, queue, address, length, last, now):
        frame, pieces = self.writing[0]
        pieces.append((address, length))
        assert queue == frame["queue"] and length
        assert last == (sum(length for _, length in pieces) == frame["length"])
        if last:
            self.writing.pop(0)
            self._filled(frame, pieces, now)

    def _filled(self, frame, pieces, now):
        self.sent.append(max(now + self.rng.randint(1, 20), self.sent[-1] + 1 if self.sent else 0))
        order = self.rings[frame["queue"]].order
        buffers = [order.pop(0) for _ in range(frame["buffers"])]
        if self.quiesced:
            return
        expected, left = [], frame["length"]
        for buffer in buffers:
            assert left
            before = left
            for address, length, write in buffer.segments:
                if write and left:
                    expected.append((address, min(length, left)))
                    left -= expected[-1][1]
            buffer.filled, buffer.more = before - left, left > 0
        assert left == 0 and joined(pieces) == joined(expected)


def requests(address, length, shift):
    return max(1, ((address + length - 1) >> shift) - (address >> shift) + 1) if length else 1


def joined(pieces):
    """Pieces without empty ones, neighbours put together."""
    out = []
    for address, length in pieces:
        if out and sum(out[-1]) == address:
            out[-1] = (out[-1][0], out[-1][1] + length)
        elif length:
            out.append((address, length))
    return out


def begins(segments, asked):
    """Whether `asked` is the beginning of `segments`: all that may be read of a chain that turns out bad."""
    for (address, length), (at, most) in zip(asked[:-1], segments):
        if (address, length) != (at, most):
            return False
    if not asked:
        return True
    at, most = segments[len(asked) - 1]
    return asked[-1][0] == at and asked[-1][1] <= most
