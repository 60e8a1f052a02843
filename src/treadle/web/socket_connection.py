"""uvicorn's WebSocket protocol, with what it leaves open: who has left is told at once, nothing grows without a bound.

uvicorn pauses reading after each message, so a handler that only sends never hears of a leaving, and pongs that lie
behind an unread message look like silence. Here some messages may wait; a client counts as gone only when nothing was
heard from it and nothing was taken by it for a whole ping; and whoever does not read is cut, not closed politely.
"""

import asyncio
import random
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from treadle.web.asgi import Message
from treadle.web.sockets import LINE

PING_SECONDS = 20.0
PONG_SECONDS = 20.0
INBOX_MESSAGES = 32
INBOX_BYTES = 256 * 1024
"""When more than this waits for the handler, nothing more is read from the client."""
LINGER_SECONDS = 2.0
"""How long a client may take to answer a close frame."""
WRITE_SECONDS = 60.0
GOING_AWAY = 1001
_UNREADABLE = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class SocketConnection(WebSocketsSansIOProtocol):
    """One client's WebSocket connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = LINGER_SECONDS
        self.left: asyncio.Future[int] = self.loop.create_future()
        self._heard: asyncio.Future[None] | None = None
        self._received = 0
        self._at_ping = (0, 0)
        """What was received, and what was unsent, when the client was last pinged."""
        self._waiting = 0
        """Bytes of the messages that wait for the handler."""
        self._failed = False

    # what the socket asks of us

    def allow(self, size: int) -> None:
        self.conn.max_message_size = size

    def ping(self) -> asyncio.Future[None]:
        if self._heard is None or self._heard.done():
            self._heard = self.loop.create_future()
        if self.read_paused:
            self._heard.set_result(None)  # it has said more than was listened to
        elif not self.close_sent and not self.transport.is_closing():
            self.conn.send_ping(b"alive")
            self.transport.write(b"".join(self.conn.data_to_send()))
        return self._heard

    # what comes in

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)
        if self._failed:
            return
        super().data_received(data)
        if not self.handshake_initiated:
            # the whole head came with the first data, so it never will be a handshake
            self._failed = self.close_sent = self.handshake_complete = True
            self.transport.write(b"".join(self.conn.data_to_send()) or _UNREADABLE)
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        if not event.path.isascii():
            return
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][LINE] = self  # type: ignore[assignment]

    def send_receive_event_to_app(self) -> None:
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        message: Message = {"type": "websocket.receive", "bytes": data}
        if self.curr_msg_data_type == "text":
            try:
                message = {"type": "websocket.receive", "text": data.decode()}
            except UnicodeDecodeError:
                self.conn.fail(1007, "text is UTF-8")
                self.handle_parser_exception()
                return
        self._waiting += len(data)
        self.queue.put_nowait(message)  # type: ignore[arg-type]
        if self._waiting > INBOX_BYTES or self.queue.qsize() > INBOX_MESSAGES:
            self._pause()

    async def receive(self) -> Any:
        message = await self.queue.get()
        if message["type"] == "websocket.receive":
            text = message.get("text")
            # counted as it came in: the length in bytes of what is no ASCII is not worth encoding it again
            self._waiting -= len(message["bytes"] if text is None else text)  # type: ignore[arg-type]
            if self.queue.empty():
                self._waiting = 0
        if self.read_paused and self.queue.qsize() <= INBOX_MESSAGES // 2 and self._waiting <= INBOX_BYTES // 2:
            self._resume()
        return message

    def handle_ping(self) -> None:
        super().handle_ping()
        if not self.writable.is_set():
            self._pause()  # who pings without reading the answers is not listened to

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.read_paused and self.queue.qsize() <= INBOX_MESSAGES:
            self._resume()

    def _pause(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        self.read_paused = False
        if not self.transport.is_closing():
            self.transport.resume_reading()

    # what goes out

    async def send(self, message: Any) -> None:
        await self.writable.wait()
        if self.close_sent or self.disconnected:
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = self.close_sent  # an HTTP answer completes it too; uvicorn calls that an error

    # the end

    def _leave(self, code: int) -> None:
        if not self.left.done():
            self.left.set_result(code)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave(1006)
        super().connection_lost(exc)

    def handle_close(self, event: Any) -> None:
        received = self.conn.close_rcvd
        self._leave(received.code if received is not None else 1005)
        super().handle_close(event)

    def handle_parser_exception(self) -> None:
        """The client broke the protocol or sent too much: it is told, and the rest of what it sends is dropped.

        Closing at once would reset the connection while the client still sends, and it might never read why.
        """
        self._failed = True
        sent = self.conn.close_sent
        code = sent.code if sent is not None else 1002
        self._leave(code)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self._say_goodbye()

    def shutdown(self) -> None:
        """The server stops: 1001. A handshake under way is left to the application, which refuses it."""
        self.stop_keepalive()
        self._leave(GOING_AWAY)
        if not self.handshake_complete or self.transport.is_closing() or self.close_sent:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY})
        self.conn.send_close(GOING_AWAY, "the server is stopping")
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self._resume()
        if self.close_timer is None:
            self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def awaited(self) -> tuple[object, float] | None:
        """As for an HTTP connection; while the socket is open its pings do this."""
        if self.handshake_complete and not self.close_sent:
            return None
        unsent = self.transport.get_write_buffer_size()
        return (("write", unsent), WRITE_SECONDS) if unsent else None

    # pings

    def schedule_ping(self) -> None:
        assert self.ping_interval is not None
        # spread, or a thousand clients that came back together would be pinged together for ever
        delay = self.ping_interval * random.uniform(0.75, 1.0)
        self.ping_timer = self.loop.call_later(delay, self.send_keepalive_ping)

    def send_keepalive_ping(self) -> None:
        super().send_keepalive_ping()
        self._at_ping = (self._received, self.transport.get_write_buffer_size())

    def keepalive_timeout(self) -> None:
        self.pong_timer = None
        self.pending_ping_payload = None
        if self.close_sent or self.transport.is_closing():
            return
        received, unsent = self._at_ping
        moved = self._received != received or self.transport.get_write_buffer_size() < unsent
        if self.read_paused or moved:
            self.schedule_ping()
        else:
            self._leave(1006)
            self.transport.abort()
