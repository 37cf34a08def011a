"""Cycles of single stages, out of what passed the ports for lone packets."""

__all__ = ["stages_of"]


class _Events:
    """Events of one packet: (cycle, what, label, tag)."""

    def __init__(self, events):
        self._events = [tuple(event) for event in events]

    def cycles(self, what, label):
        return [cycle for cycle, name, of, _ in self._events if (name, of) == (what, label)]

    def reads(self, label):
        """(request, last answer) of each read with that label, in order."""
        found = []
        for cycle, what, of, tag in self._events:
            if (what, of) == ("read", label):
                answers = [at for at, name, _, its in self._events if name == "answer" and its == tag and at > cycle]
                later = [at for at, name, _, its in self._events if name == "read" and its == tag and at > cycle]
                answers = [at for at in answers if not later or at < later[0]]
                if answers:
                    found.append((cycle, max(answers)))
        return found


def stages_of(result):
    """{stage: [cycles]} of a run of job_stages; `trip`: from a read to its answer, of those of one completion."""
    found = {}

    def note(name, cycles):
        found.setdefault(name, []).append(cycles)
    for packet in result["transmitted"]:
        _transmitted(_Events(packet["events"]), packet["wire"][0], note)
    for packet in result["received"]:
        _received(_Events(packet["events"]), packet["wire"][1], note)
    return found


def _transmitted(events, wire, note):
    doorbells = events.cycles("doorbell", "")
    data = [read for read in events.reads("tx") if read[0] < wire]
    if not doorbells or not data:
        return
    first, answered = data[0][0], max(answer for _, answer in data)
    tables = [read for read in events.reads("table") if read[1] < first]
    before = tables[-1][0] if tables else first
    fetches = [read for read in events.reads("ring") if doorbells[0] <= read[0] and read[1] < before]
    if not fetches:
        return      # the card looked for itself
    note("doorbell_fetch", fetches[-1][0] - doorbells[0])
    if tables:
        note("fetch_table", tables[-1][0] - fetches[-1][1])
        note("table_data", first - tables[-1][1])
    else:
        note("fetch_data", first - fetches[-1][1])
    note("data_wire", wire - answered)
    note("trip", fetches[-1][1] - fetches[-1][0])
    note("idle tx", wire - doorbells[0])
    used = [cycle for cycle in events.cycles("write", "ring") if cycle > answered]
    if used:
        note("data_used", used[0] - answered)
        _after(events, used[0], note)


def _received(events, wire, note):
    written = [cycle for cycle in events.cycles("write", "rx") if cycle > wire]
    used = [cycle for cycle in events.cycles("write", "ring") if written and cycle > written[-1]]
    if not used:
        return
    note("wire_write", written[-1] - wire)
    note("write_used", used[0] - written[-1])
    note("idle rx", used[0] - wire)
    _after(events, used[0], note)


def _after(events, used, note):
    for request, answer in events.reads("event"):
        if request > used:
            note("used_event", request - used)
            messages = [cycle for cycle in events.cycles("write", "msix") if cycle > answer]
            if messages:
                note("event_message", messages[0] - answer)
            return
