"""Stream kit: beats, queues, register slices, arbiters. Everything between blocks is a valid/ready stream."""

from .arbiter import Arbiter, rotate_priority
from .beat import PacketBeat, TlpBeat
from .connect import connect_stream, stream_shape
from .queue import Queue, RegisterSlice, Skid

__all__ = ["Arbiter", "PacketBeat", "Queue", "RegisterSlice", "Skid", "TlpBeat", "connect_stream",
           "rotate_priority", "stream_shape"]
