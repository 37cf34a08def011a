"""The reference driver, in layers; each knows only those below it, and none knows `hdl`.

    net                 Nic: start, send, receive, stop
    queue_builder       which queues there are, and with which vectors
    queues, control     receive and transmit queues with their buffers; the queue for commands
    virtqueue           a ring at work: doorbells, interrupts, waiting
    ring                PackedRing: descriptors, wrap counters, used buffers
    event_suppression, in_order, tables     what the ring does with EVENT_IDX, IN_ORDER and INDIRECT_DESC
    virtio_pci          VirtioPci: structures, negotiation, queue set-up and reset, device configuration, doorbells
    pci                 PciFunction, MsixTable: enumeration, BARs, capabilities, control registers
    interrupts          MSI-X messages and INTA as they arrive
    options, ring_options   everything that can be chosen
    framing             how frames are cut into elements
    naps                a driver that falls asleep
    area                host memory with a name and a grant
    platform            what all of it stands on, as protocols: Host, Memory, Platform

Platforms are `cocotb_platform` and `virtual_time`; `direct` is a host for the functional card.
"""
