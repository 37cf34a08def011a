"""What the host's side of the link holds the device to: form of requests and of completions.

Source: PCI Express Base Specification, Revision 4.0, sections 2.2.2 to 2.2.9 and 2.3.
"""

from testbench.bfm.tlp import Kind, MessageCode, Status

__all__ = ["ProtocolError", "Rules"]

FIRST_ENABLES = (0b1000, 0b1100, 0b1110, 0b1111)
LAST_ENABLES = (0b0001, 0b0011, 0b0111, 0b1111)
CONTIGUOUS = {((1 << n) - 1 << at) & 0xf for n in range(5) for at in range(4)}
DEVICE_MESSAGES = {MessageCode.ASSERT_INTA, MessageCode.DEASSERT_INTA, MessageCode.ERR_COR, MessageCode.ERR_NONFATAL,
                   MessageCode.ERR_FATAL, MessageCode.PM_PME, MessageCode.PME_TO_ACK}
STRICT_LABELS = ("ring", "event", "msix")   # where Relaxed Ordering would let what follows overtake


class ProtocolError(AssertionError):
    """The device sent something that it may not send."""


class Rules:
    """What the function has been configured for. The driver keeps this up to date as it configures the function.

    Attributes (with their values after reset)
    ----------
    mps, mrrs : int
        Max_Payload_Size (128) and Max_Read_Request_Size (512) in bytes; `mps` also cuts the host's completions
    extended_tags, bus_master : bool
        Extended Tag Enable, Bus Master Enable (both off)
    requester : int
        bus, device and function that the function has learnt from configuration writes; None until the first
    """

    def __init__(self):
        self.reset()

    def reset(self):
        """As after a reset of the function."""
        self.mps = 128
        self.mrrs = 512
        self.extended_tags = False
        self.bus_master = False
        self.requester = None

    def check_request(self, tlp, label, outstanding):
        """A TLP on `rq`; `label` of its address, and the tags that are `outstanding`."""
        def demand(condition, what):
            if not condition:
                raise ProtocolError(f"{what}: {tlp}")
        demand(not tlp.poisoned and not tlp.digest, "poisoned, or with digest")
        demand(self.requester is None or tlp.requester == self.requester, f"requester id is not {self.requester}")
        if tlp.kind is Kind.MESSAGE:
            demand(tlp.code in DEVICE_MESSAGES, "a message that an endpoint doesn't send")
            return
        demand(tlp.kind in (Kind.MEMORY_READ, Kind.MEMORY_WRITE), "neither memory request nor message")
        demand(self.bus_master, "memory request while Bus Master Enable is 0 (rules.bus_master)")
        address, length = tlp.address, tlp.length
        demand(tlp.four_dw == (address >= 1 << 32), "4-DW header below, or 3-DW header for above 4 GiB")
        demand((address & 0xfff) + length <= 4096, "crosses 4 KiB")
        demand(not tlp.at, "AT is not 0")
        if length > 4:
            demand(tlp.first_be in FIRST_ENABLES and tlp.last_be in LAST_ENABLES, "byte enables with a gap")
        else:
            demand(not tlp.last_be and tlp.first_be in CONTIGUOUS, "byte enables of one DW")
        demand(label not in STRICT_LABELS or not tlp.attr & 2, f"Relaxed Ordering on {label}")
        if tlp.kind is Kind.MEMORY_WRITE:
            demand(length <= self.mps, f"longer than Max_Payload_Size, {self.mps} (rules.mps)")
            return
        demand(length <= self.mrrs, f"longer than Max_Read_Request_Size, {self.mrrs} (rules.mrrs)")
        demand(self.extended_tags or tlp.tag < 32, "tag above 31 without Extended Tag Enable (rules.extended_tags)")
        demand(tlp.tag not in outstanding, "tag is outstanding")

    def check_completion(self, tlp, request, received):
        """A TLP on `cc` for `request`, of which `received` bytes have come before."""
        def demand(condition, what):
            if not condition:
                raise ProtocolError(f"{what}: {tlp} for {request}")
        demand(not tlp.digest, "with digest")
        demand(tlp.requester == request.requester, "requester id is not the request's")
        demand(tlp.traffic_class == request.traffic_class and tlp.attr == request.attr, "traffic class or attributes")
        demand(self.requester is None or tlp.completer == self.requester, f"completer id is not {self.requester}")
        if tlp.status != Status.SUCCESS:
            demand(not tlp.with_data, "data with an error status")
            return
        first, end = request.enabled()
        if request.kind is Kind.MEMORY_READ:
            expected = max(1, end - first) - received
            address = request.address + first + received
            demand(tlp.byte_count == expected, f"byte count is not {expected}")
            demand(tlp.lower_address == address & 0x7f, f"lower address is not {address & 0x7f:#x}")
            demand(tlp.with_data and len(tlp.payload) <= self.mps, "no data, or too much")
        else:
            demand(tlp.with_data == (request.kind is Kind.CONFIG_READ), "data, or none, with a configuration request")
            demand(tlp.byte_count == 4 and not tlp.lower_address, "byte count 4 and lower address 0 expected")
