"""Models of what surrounds the card: the host behind PCIe, and the MAC. See `Environment`.

`host_core` and what it uses know nothing of cocotb; it is imported only when something that needs it is asked for.
"""

import importlib

_HOMES = {
    "Environment": "environment", "Host": "host", "RequestFailed": "host", "HostCore": "host_core", "Mac": "mac",
    "CycleLoop": "loop", "TlpMonitor": "streams", "TlpSink": "streams", "TlpSource": "streams",
    "StreamError": "stream_base", "EthMonitor": "streams", "EthSink": "streams", "EthSource": "streams",
    "Frame": "streams", "Tlp": "tlp", "Kind": "tlp", "Status": "tlp", "MessageCode": "tlp",
    "ProtocolError": "host_rules", "LinkBudgetError": "pacing",
}

__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
