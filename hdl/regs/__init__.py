"""Register kit: maps of fixed-offset fields with byte enables."""

from .bus import RegisterBus, RegisterRequest
from .counters import Counter, CounterBank
from .file import RegisterFile
from .map import Access, Field, RegisterMap

__all__ = ["Access", "Counter", "CounterBank", "Field", "RegisterBus", "RegisterFile", "RegisterMap", "RegisterRequest"]
