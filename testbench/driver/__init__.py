"""The reference driver, in layers; each knows only those below it, and none knows `hdl`.

    net           Nic: start, send, receive, stop
    queues        receive and transmit queues: doorbells, waiting, buffers
    ring          PackedRing: descriptors, wrap counters, used buffers, event suppression
    virtio_pci    VirtioPci: structures, negotiation, queue set-up, device configuration
    pci           PciFunction, MsixTable: enumeration, BARs, capabilities, control registers
    interrupts    MSI-X messages and INTA as they arrive
    framing       how frames are cut into elements
    area          host memory with a name and a grant
    platform      what all of it stands on, as protocols: Host, Memory, Platform

Platforms are `cocotb_platform` and `virtual_time`; `direct` is a host for the functional card.
"""
