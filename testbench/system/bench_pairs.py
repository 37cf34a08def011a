"""More than one queue pair. Without MQ, receive goes by pair 0; a driver may set up the others nonetheless."""

from testbench.system.case import system_test


@system_test("PCI-036", "PCI-044", "PCI-060", "NET-001", several_pairs=True, timeout_us=4000)
async def transmits_on_every_pair(bench):
    """Both transmit queues at once; each keeps its own order, and interrupts by its own vector."""
    nic = await bench.nic(pairs=2, queue_size=8)
    frames = {pair: [bytes([pair]) + bench.frame() for _ in range(40)] for pair in (0, 1)}
    tasks = [bench.platform.spawn(nic.send_many(frames[pair], pair=pair, batch=3)) for pair in frames]
    for task in tasks:
        await task
    got = {0: [], 1: []}
    for _ in range(80):
        frame = await bench.wire()
        got[frame[0]].append(frame)
    assert got == frames
    for pair in frames:
        await nic.flush(pair=pair, timeout_ns=50_000)
    await bench.settle()
    for ring in (transmitter.ring for transmitter in nic.transmitters):
        ring.enable_interrupts()
    before = dict(nic.messages.counts)
    await nic.send(bench.frame(), pair=1)
    await bench.settle()
    assert {vector: n - before.get(vector, 0) for vector, n in nic.messages.counts.items()
            if n != before.get(vector, 0)} == {4: 1}


@system_test("NET-001", several_pairs=True, timeout_us=4000)
async def receives_on_the_first_pair(bench):
    """Nothing is steered to another pair, though its queues are set up and filled; restarted, it is the same."""
    for size in (8, 5):
        nic = await bench.nic(pairs=2, queue_size=size)
        for _ in range(20):
            incoming, outgoing = bench.frame(longest=300), bench.frame(longest=300)
            bench.mac.send(incoming)
            await nic.send(outgoing, pair=1)
            assert await nic.receive(timeout_ns=50_000) == incoming
            assert await bench.wire() == outgoing
        assert not nic.receivers[1].ring.has_used()
        await nic.stop()


@system_test("BAS-011", several_pairs=True, timeout_us=4000)
async def resets_with_every_pair_busy(bench):
    for _ in range(4):
        nic = await bench.nic(pairs=2, queue_size=8)
        tasks = [bench.platform.spawn(nic.send_many([bench.frame() for _ in range(100)], pair=pair, batch=2))
                 for pair in (0, 1)]
        await bench.platform.sleep(bench.random.uniform(1000, 8000))
        for task in tasks:
            task.cancel()
        await nic.stop()
        bench.forget_wire()
        requests = bench.requests()
        await bench.clocks(300)
        assert not bench.forget_wire() and bench.requests() == requests
