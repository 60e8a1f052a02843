"""The fabric face: Treadle's own API. It opens with the queue; what else a fabric can do joins here."""

from .face import NAME, Options, make

__all__ = ["NAME", "Options", "make"]
