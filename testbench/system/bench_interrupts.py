"""Interrupts as the host gets them: messages by vector, masks and pending bits, INTx, suppression by the driver."""

from collections import Counter
from itertools import permutations

from model import pci
from model.formats import ISR_CONFIG, ISR_QUEUE, NO_VECTOR
from testbench.system.case import system_test

STANDS_NS = 150_000     # in which something happens on a card with work to do
CONFIG, RECEIVE, TRANSMIT = 0, 1, 2     # vectors, as the driver assigns them


async def listening(bench, **options):
    """A driver that has asked for every used buffer notification, and goes on asking."""
    nic = await bench.nic(queue_size=16, **options)
    for queue in nic.receivers + nic.transmitters:
        queue.ring.enable_interrupts()
    return nic


async def pin(bench):
    """A driver without MSI-X that leaves INTA to the test; the levels that INTA takes come with it."""
    nic = await listening(bench, interrupts="none", polling=True)
    levels = []
    bench.host.on_intx.append(levels.append)
    await nic.function.set_command(clear=pci.Command.INTERRUPT_DISABLE)
    return nic, levels


async def frame_in(bench, nic):
    frame = bench.frame(longest=100)
    bench.mac.send(frame)
    await bench.settle()
    assert nic.receivers[0].collect() == [frame]


async def frame_out(bench, nic):
    frame = bench.frame(longest=100)
    await nic.send(frame)
    assert await bench.wire() == frame
    await bench.settle()
    nic.transmitters[0].reclaim()
    assert not nic.transmitters[0].ring.in_flight


async def link(bench, up):
    await bench.set_link(up)
    await bench.settle()


async def messages_of(nic, *events):
    """Messages that came while the coroutines `events` ran, by vector."""
    before = Counter(nic.messages.counts)
    for event in events:
        await event
    return dict(Counter(nic.messages.counts) - before)


async def map_vectors(nic, *, config, receive, transmit):
    """Write the vectors of the three events; what they read afterwards."""
    virtio = nic.virtio
    await virtio.write("config_msix_vector", config)
    got = [await virtio.read("config_msix_vector")]
    for index, vector in ((0, receive), (1, transmit)):
        await virtio.write("queue_select", index)
        await virtio.write("queue_msix_vector", vector)
        got.append(await virtio.read("queue_msix_vector"))
    return got


async def interrupt_status(nic):
    return bool(await nic.function.read(pci.PCI_HEADER, "status") & pci.STATUS_INTERRUPT)


@system_test("PCI-103", "PCI-105", "BAS-032", presets=("tiny", "default"))
async def a_message_per_event(bench):
    """Each used buffer and each change brings one message with the vector of its queue, or of the configuration."""
    nic = await listening(bench)
    assert await messages_of(nic, frame_in(bench, nic)) == {RECEIVE: 1}
    assert await messages_of(nic, frame_out(bench, nic)) == {TRANSMIT: 1}
    assert await messages_of(nic, link(bench, False)) == {CONFIG: 1}
    assert await messages_of(nic, frame_out(bench, nic), frame_in(bench, nic)) == {RECEIVE: 1, TRANSMIT: 1}
    assert not bench.host.intx


@system_test("PCI-093", "PCI-095", "PCI-097", timeout_us=4000)
async def any_event_to_any_vector(bench):
    """Vectors change while the queues are live; several events may share one."""
    nic = await listening(bench)
    up = False
    for config, receive, transmit in [*permutations(range(3)), (1, 1, 1), (2, 0, 0)]:
        vectors = [config, receive, transmit]
        assert await map_vectors(nic, config=config, receive=receive, transmit=transmit) == vectors
        got = await messages_of(nic, frame_in(bench, nic), frame_out(bench, nic), link(bench, up))
        assert got == dict(Counter(vectors)), vectors
        up = not up


@system_test("PCI-094", "PCI-102", "PCI-104")
async def no_vector_means_no_interrupt(bench):
    """Neither message nor INTx, for each event by itself."""
    nic = await listening(bench)
    await nic.function.set_command(clear=pci.Command.INTERRUPT_DISABLE)
    up = False
    for silent in (RECEIVE, TRANSMIT, CONFIG):
        vectors = [NO_VECTOR if vector == silent else vector for vector in (CONFIG, RECEIVE, TRANSMIT)]
        assert await map_vectors(nic, config=vectors[0], receive=vectors[1], transmit=vectors[2]) == vectors
        got = await messages_of(nic, frame_in(bench, nic), frame_out(bench, nic), link(bench, up))
        assert got == {vector: 1 for vector in vectors if vector != NO_VECTOR}, vectors
        assert not bench.host.intx
        up = not up


@system_test("PCI-098")
async def a_vector_that_does_not_exist(bench):
    """It reads back as none, interrupts nobody, and leaves the queue working."""
    nic = await listening(bench)
    for wrong in (nic.msix.vectors, 0x7ff, 0x800, 0xfffe):
        assert await map_vectors(nic, config=wrong, receive=wrong, transmit=wrong) == [NO_VECTOR] * 3, hex(wrong)
    assert await messages_of(nic, frame_in(bench, nic), frame_out(bench, nic), link(bench, False)) == {}
    assert not bench.host.intx


async def _held_back(bench, nic, vector, event, mask, unmask):
    """While masked, events set the pending bit and nothing else; unmasking sends one message for all of them."""
    await mask(vector)
    assert not await nic.msix.is_pending(vector)
    assert await messages_of(nic, event(bench, nic), event(bench, nic), event(bench, nic)) == {}
    assert await nic.msix.is_pending(vector)
    assert await messages_of(nic, unmask(vector), bench.settle()) == {vector: 1}
    assert not await nic.msix.is_pending(vector)
    assert await messages_of(nic, event(bench, nic)) == {vector: 1}


@system_test("PCI-001", timeout_us=4000, icarus=("tiny",))
async def masked_vectors_wait(bench):
    nic = await listening(bench)
    for vector, event in ((RECEIVE, frame_in), (TRANSMIT, frame_out)):
        await _held_back(bench, nic, vector, event, nic.msix.mask, nic.msix.unmask)
        await _held_back(bench, nic, vector, event, lambda _: nic.msix.control(enable=True, function_mask=True),
                         lambda _: nic.msix.control(enable=True))


@system_test("PCI-001")
async def a_masked_vector_holds_up_no_other(bench):
    nic = await listening(bench)
    await nic.msix.mask(RECEIVE)
    assert await messages_of(nic, frame_in(bench, nic), frame_out(bench, nic), link(bench, False)) == {
        CONFIG: 1, TRANSMIT: 1}
    assert [await nic.msix.is_pending(vector) for vector in range(3)] == [False, True, False]


@system_test("PKD-036", "PKD-037")
async def the_driver_suppresses_interrupts(bench):
    """None after DISABLE, in either queue, without an effect on the other; again after ENABLE."""
    nic = await listening(bench)
    receiver, transmitter = nic.receivers[0].ring, nic.transmitters[0].ring

    async def both():
        return await messages_of(nic, frame_in(bench, nic), frame_out(bench, nic))
    for _ in range(2):
        receiver.disable_interrupts()
        assert await both() == {TRANSMIT: 1}
        transmitter.disable_interrupts()
        assert await both() == {}
        receiver.enable_interrupts()
        assert await both() == {RECEIVE: 1}
        transmitter.enable_interrupts()
        assert await both() == {RECEIVE: 1, TRANSMIT: 1}


async def _busy_both_ways(bench, nic, count):
    """Frames in and out at random times, while the driver sleeps by interrupts alone: a lost one stops it for ever."""
    rng, sleep = bench.random, bench.platform.sleep
    incoming = [bench.frame(longest=150) for _ in range(count)]
    outgoing = [bench.frame(longest=150) for _ in range(count)]
    received = []

    async def wire():
        for number, frame in enumerate(incoming):
            while number - len(received) >= 6:      # the driver keeps back up to two of its eight buffers
                await sleep(200)
            bench.mac.send(frame)
            await sleep(rng.choice((0, 100, 400, 1500)))

    async def reader():
        while len(received) < count:
            received.extend(await nic.receive_many())
            await sleep(rng.choice((0, 0, 50, 300, 1000)))

    async def writer():
        for frame in outgoing:
            await nic.send(frame)
            if rng.random() < 0.3:
                await nic.flush()
            await sleep(rng.choice((0, 0, 200, 1000)))
        await nic.flush()
    tasks, before = [bench.platform.spawn(part()) for part in (wire, reader, writer)], None
    while not all(task.done() for task in tasks):
        progress = len(received), nic.statistics["used"], nic.statistics["tx_frames"]
        assert progress != before, (f"nobody woke up: {progress}, "
                                    f"{await bench.counter('receive.drop.no_buffer')} frames without a buffer")
        before = progress
        await sleep(STANDS_NS)
    assert received == incoming
    assert [await bench.wire() for _ in outgoing] == outgoing


@system_test("PKD-039", timeout_us=5000)
async def no_wake_up_is_lost(bench):
    nic = await bench.nic(queue_size=8)
    await _busy_both_ways(bench, nic, 150)
    assert nic.statistics["waits"] > 60


@system_test("PCI-064", timeout_us=5000)
async def no_wake_up_is_lost_by_pin(bench):
    nic = await bench.nic(queue_size=8, interrupts="intx")
    await _busy_both_ways(bench, nic, 100)
    assert nic.statistics["waits"] > 40


@system_test("PCI-064", "PCI-065", "PCI-066", "PCI-068", "PCI-103", presets=("tiny", "default"))
async def the_pin_follows_isr_status(bench):
    nic, levels = await pin(bench)
    assert not await interrupt_status(nic)
    for event in (frame_in, frame_out):
        await event(bench, nic)
        await event(bench, nic)
        assert levels == [True] and await interrupt_status(nic)
        assert await nic.virtio.read_isr() == ISR_QUEUE
        await bench.settle()
        assert levels == [True, False] and not await interrupt_status(nic)
        assert await nic.virtio.read_isr() == 0
        levels.clear()


@system_test("PCI-065", "PCI-068")
async def the_pin_can_be_disabled(bench):
    """Interrupt Disable takes INTA back and keeps it away; Interrupt Status shows what is pending all the same."""
    nic, levels = await pin(bench)
    await frame_in(bench, nic)
    await nic.function.set_command(set=pci.Command.INTERRUPT_DISABLE)
    await bench.settle()
    assert levels == [True, False] and await interrupt_status(nic)
    await nic.function.set_command(clear=pci.Command.INTERRUPT_DISABLE)
    await bench.settle()
    assert levels == [True, False, True]
    await nic.virtio.read_isr()
    await nic.function.set_command(set=pci.Command.INTERRUPT_DISABLE)
    await frame_out(bench, nic)
    assert levels == [True, False, True, False] and await interrupt_status(nic)
    assert await nic.virtio.read_isr() == ISR_QUEUE
    assert not await interrupt_status(nic)


@system_test("PCI-063", "PCI-105", "PCI-099", "BAS-032")
async def isr_status_tells_of_changes(bench):
    """The configuration bit is set with MSI-X and without, the queues' bit only without."""
    nic = await listening(bench)
    await frame_in(bench, nic)
    assert await nic.virtio.read_isr() == 0
    seen = []

    async def ask():
        seen.append(await nic.virtio.read_isr())
    nic.messages.connect(CONFIG, lambda: bench.platform.spawn(ask()))
    await link(bench, False)
    assert seen == [ISR_CONFIG] and not bench.host.intx
    await nic.stop()
    nic, levels = await pin(bench)
    await link(bench, True)
    assert levels == [True]
    await frame_in(bench, nic)
    assert await nic.virtio.read_isr() == ISR_CONFIG | ISR_QUEUE
    await bench.settle()
    assert levels == [True, False]
