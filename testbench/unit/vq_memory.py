"""The host's memory as a `virtqueue.Engine` sees it, through the read engine and posted writes."""

from testbench.unit.vq_read import Read
from testbench.unit.vq_streams import StreamSide

DRIVER_AREAS = 0x2000       # event suppression structures of drivers


class MemorySide(StreamSide):
    """Answers fetches, reads of tables and of event suppression, and takes what is posted; see `vq_host.Host`."""

    def _memory(self, now):
        while self.invisible and self.invisible[0][0] <= now:
            _, address, content = self.invisible.pop(0)
            self.memory[address:address + len(content)] = content
        for fetches in self.fetches + self.tables:
            for fetch in fetches:
                fetch.sample(self.memory, now)

    def _fetches(self, ctx, now, taken):
        dut = self.dut
        command = self.take(ctx, dut.fetch_reads)
        if command is not None:
            self._check_fetch(command)
            self.fetches[command.queue].append(Read(command, now, self.rng, self.latency, self.visible_at))
            self.fetch_count += 1
            self.fetched += command.length // 16
            self.log.append(("fetch", now, command.queue, command.length // 16))
        if not self.beats and ctx.get(dut.fetch_room):
            self.beats += self._answer(self.fetches, self.fetch_status, now)
        if self.give(ctx, dut.fetch_beats, self.beats):
            taken.append(dut.fetch_beats)
            if self.beats.pop(0)["last"]:
                self.log.append(("fetched", now))

    def _answer(self, reads, status, now):
        """Beats of a read that is complete and the oldest of its queue; none if there is no such read."""
        heads = [f[0] for f in reads if f and f[0].ready < now]
        if not heads:
            return []
        read = self.rng.choice(heads)
        reads[read.queue].pop(0)
        behind = bool(reads[read.queue])
        beat_bytes, status = self.config.bytes_per_beat, status(read.queue)
        pieces = range(0, read.length, beat_bytes)
        contents = [bytes(read.data[at:at + beat_bytes]) for at in pieces]
        return [{"data": int.from_bytes(content, "little"), "bytes": len(content), "first": at == 0,
                 "last": at == pieces[-1], "queue": read.queue, "status": status, "behind": behind,
                 "context": read.context}
                for at, content in zip(pieces, contents)]

    def _tables(self, ctx, now, taken):
        dut = self.dut
        command = self.take(ctx, dut.table_reads)
        if command is not None:
            self._check_table(command)
            self.tables[command.queue].append(Read(command, now, self.rng, self.latency, self.visible_at))
            self.log.append(("table", now, command.queue, command.length // 16))
        if not self.table_beats and ctx.get(dut.table_room):
            self.table_beats += self._answer(self.tables, self.table_status, now)
        if self.give(ctx, dut.table_beats, self.table_beats):
            taken.append(dut.table_beats)
            if self.table_beats.pop(0)["last"]:
                self.log.append(("tabled", now))

    def _check_table(self, command):
        """Within a table of an outstanding buffer, and not beyond a multiple of the largest read."""
        end, most = command.address + command.length, self.config.read_bytes
        assert command.length and command.length % 16 == 0 and command.last and not command.more
        assert (command.address & ~15) // most == ((end - 1) & ~15) // most or command.address % 16
        assert command.length <= most
        ring = self.rings[command.queue]
        assert self.quiesced or any(
            table <= command.address and end <= table + 16 * len(buffer.segments)
            for buffer in ring.outstanding.values() for table in [buffer.table] if table is not None)

    def _check_fetch(self, command):
        ring = self.rings[command.queue]
        assert command.length and command.last and not command.more
        assert ring.base <= command.address and command.address + command.length <= ring.base + 16 * ring.size
        assert command.length <= 16 * self.config.fetch_batch

    def _used(self, ctx, now):
        """Posted writes, one beat or more, accepted in order and visible later."""
        dut = self.dut
        ctx.set(dut.used_accepted, 0)
        if self.posted and self.posted[0][0] <= now:
            _, address, content = self.posted.pop(0)
            ctx.set(dut.used_accepted, 1)
            self.visible_at = max(self.visible_at, now + self.rng.randint(1, 30))
            self.invisible.append((self.visible_at, address, content))
            self.visible_at += 1
        beat = self.take(ctx, dut.used)
        if beat is not None:
            if beat.first:
                header = beat.header
                assert header >> 24 & 0xff == 0x40, "a memory write with 3 DWs of header"
                self._address, self._length, self._content = header >> 64 & 0xffff_ffff, 4 * (header & 0x3ff), b""
            self._content += beat.data.to_bytes(self.config.bytes_per_beat, "little")[:4 * beat.keep.bit_count()]
            if beat.last:
                assert len(self._content) == self._length
                if self._length == 4 and self._address < 0x4000:
                    self.events.append((now, self._address, self._content))
                self.posted.append((now + self.rng.randint(1, 10), self._address, self._content))

    def _event(self, ctx, now, taken):
        """Driver Event Suppression: interrupts are wanted unless a test writes there."""
        dut = self.dut
        command = self.take(ctx, dut.event_reads)
        if command is not None:
            assert (command.address, command.length) == (DRIVER_AREAS + 4 * command.queue, 4)
            self.asked.append((max(self.visible_at, now + self.rng.randint(*self.event_latency)), command.queue))
        self._arrive(self.asked, self.answering, now)
        answers = [{"data": int.from_bytes(self.memory[at:at + 4], "little"), "bytes": 4, "first": 1, "last": 1,
                    "queue": queue} for queue in self.answering[:1] for at in [DRIVER_AREAS + 4 * queue]]
        if self.give(ctx, dut.event_beats, answers):
            taken.append(dut.event_beats)
            self.answering.pop(0)
        interrupt = self.take(ctx, dut.interrupts)
        if interrupt is not None:
            assert interrupt.vector == interrupt.queue + 1
            self.interrupts[interrupt.queue] += 1
