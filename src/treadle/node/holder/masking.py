"""A mask replaces secret values by `***` in a stream of bytes, wherever the stream happens to be cut."""

MASK = b"***"


class Mask:
    """Secret values never leave it; values that overlap become one mask.

    Bytes that may be the beginning of a value are held back until the next ones decide, however long that takes: a
    secret typed one key at a time is masked too.
    """

    def __init__(self, values: list[bytes], *, terminal: bool = False) -> None:
        known = {form for value in values for form in (value, value.strip()) if form}
        if terminal:  # which writes a line's end as two bytes
            known |= {value.replace(b"\n", b"\r\n") for value in known}
        self._values = sorted(known)
        self._tail = b""  # what is held back
        self._covered = 0  # how much of it lies under a mask that was given out already

    def feed(self, data: bytes) -> bytes:
        """What can be shown now."""
        return self._pass(data, end=False) if self._values else data

    def flush(self) -> bytes:
        """The rest, at the end of the stream."""
        return self._pass(b"", end=True) if self._tail else b""

    def _pass(self, data: bytes, *, end: bool) -> bytes:
        text = self._tail + data
        decided = len(text) if end else self._undecided(text)
        shown, done = [], self._covered
        for start, stop in sorted(self._found(text)):
            if start >= decided:
                break
            if start >= done:
                shown += [text[done:start], MASK]
            done = max(done, stop)
        if done < decided:
            shown.append(text[done:decided])
        self._tail, self._covered = text[decided:], max(done - decided, 0)
        return b"".join(shown)

    def _found(self, text: bytes) -> list[tuple[int, int]]:
        places = []
        for value in self._values:
            at = text.find(value)
            while at >= 0:
                places.append((at, at + len(value)))
                at = text.find(value, at + 1)
        return places

    def _undecided(self, text: bytes) -> int:
        """Where the longest end of the text begins that may turn out to be the beginning of a value."""
        first = len(text)
        for value in self._values:
            at = text.find(value[:1], max(len(text) - len(value) + 1, 0))
            while 0 <= at < first:
                if value.startswith(text[at:]):
                    first = at
                at = text.find(value[:1], at + 1)
        return first
