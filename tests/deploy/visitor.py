"""Pages as the server sees them, which notice the pings that libraries answer in silence, and read when they are told to."""

import json
import socket
import time

from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from stage import DEADLINE


class Page:
    """A WebSocket whose first message is this one. `room` is how much the system takes in that nobody reads."""

    def __init__(self, url, trust, hello, room=None):
        uri = parse_uri(url)
        if room is None:
            plain = socket.create_connection((uri.host, uri.port), DEADLINE)
        else:
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            plain.settimeout(DEADLINE)
            plain.connect((uri.host, uri.port))
        self.socket = trust.wrap_socket(plain, server_hostname=uri.host) if uri.secure else plain
        origin = f"{'https' if uri.secure else 'http'}://{uri.host}:{uri.port}"
        self.protocol = ClientProtocol(uri, origin=origin, subprotocols=["porchlight.v1"])
        self.protocol.send_request(self.protocol.connect())
        self.flush()
        self.pings = 0
        self.texts = []
        self.closed = False
        self.read_until(lambda: self.protocol.handshake_exc or self.protocol.state.name != "CONNECTING")
        if self.protocol.handshake_exc:
            raise self.protocol.handshake_exc
        self.say(hello)
        self.read_until(lambda: self.texts or self.closed)

    def say(self, message):
        self.protocol.send_text(json.dumps(message).encode())
        self.flush()

    def show(self, frame):
        """A frame of a picture."""
        self.socket.settimeout(DEADLINE)
        self.protocol.send_binary(frame)
        self.flush()

    def expect(self, kind):
        """The next message of a kind; those before it are dropped."""
        self.read_until(lambda: self.closed or any(text["type"] == kind for text in self.texts))
        while self.texts:
            text = self.texts.pop(0)
            if text["type"] == kind:
                return text
        raise AssertionError(f"closed before {kind}")

    def flush(self):
        for data in self.protocol.data_to_send():
            if data:
                self.socket.sendall(data)

    def read_until(self, done, deadline=DEADLINE):
        """Reads until something is so, or the connection is over."""
        end = time.monotonic() + deadline
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"nothing of it within {deadline} s; heard {self.texts}, {self.pings} pings")
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
                self.closed = True
            for event in self.protocol.events_received():
                opcode = getattr(event, "opcode", None)
                if opcode is Opcode.PING:
                    self.pings += 1
                elif opcode is Opcode.TEXT:
                    self.texts.append(json.loads(event.data))
                elif opcode is Opcode.CLOSE:
                    self.closed = True
            try:
                self.flush()
            except OSError:
                self.closed = True
            if self.closed:
                return

    def close(self):
        self.socket.close()


class Visitor(Page):
    """A page of the company's site."""

    def __init__(self, url, trust, visitor):
        super().__init__(url, trust, {"type": "connect", "group": "demo", "visitorId": visitor, "visibility": "visible"})
