"""The envelope around everything that went well (contract 2)."""

from typing import Any

from treadle.core.clock import Clock
from treadle.faces.taskdriver.spelling import instant
from treadle.faces.taskdriver.wire import Message, Success
from treadle.web.call import Reply, json_reply


class Envelope:
    """Wraps data with `success` and the time of the answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, data: Any, status: int = 200) -> Reply:
        return json_reply(Success(data=data, timestamp=instant(self._clock())), status)

    def message(self, text: str) -> Reply:
        return self(Message(text))

    def now(self) -> str:
        return instant(self._clock())
