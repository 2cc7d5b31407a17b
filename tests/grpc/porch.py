"""What the tests of the operators' service stand on: a server, callers with credentials, visitors and agents.

Nothing here knows more of the service than its proto files and what they say of errors.
"""

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

import grpc
import websocket
from google.protobuf import json_format, message_factory
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from porchlight.v1 import admin_pb2, admin_pb2_grpc

SERVICE = admin_pb2.DESCRIPTOR.services_by_name["Admin"]
NOBODY = "00000000-0000-0000-0000-000000000000"
PATIENCE = 30

# Which calls were answered, and which were refused, in the whole run; the last test asks.
ANSWERED, REFUSED = set(), set()


class Refused(Exception):
    """A call that was refused, with everything a program may branch on."""

    def __init__(self, name, error):
        self.code = error.code().name
        self.message = error.details()
        self.reason, self.metadata, self.fields = None, {}, []
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
                assert info.domain == "porchlight", info
                self.reason, self.metadata = info.reason, dict(info.metadata)
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest()
                detail.Unpack(bad)
                self.fields = [one.field for one in bad.field_violations]
                assert all(one.description for one in bad.field_violations), bad
        super().__init__(f"{name}: {self.code} {self.reason} {self.fields} {self.message}")


class Caller:
    """Makes calls with one credential: `caller.GetSettings(group="demo")`."""

    def __init__(self, server, credential, scheme="Bearer"):
        self.stub = admin_pb2_grpc.AdminStub(server.channel)
        self.metadata = [("authorization", f"{scheme} {credential}")] if credential is not None else []

    def __getattr__(self, name):
        method = SERVICE.methods_by_name[name]
        make = message_factory.GetMessageClass(method.input_type)

        def call(message=None, timeout=PATIENCE, **fields):
            if message is None:
                message = json_format.ParseDict(fields, make())
            answer = getattr(self.stub, name)(message, metadata=self.metadata, timeout=timeout)
            return Stream(name, answer) if method.server_streaming else answer

        def checked(*args, **kwargs):
            try:
                answer = call(*args, **kwargs)
            except grpc.RpcError as error:
                REFUSED.add(name)
                raise Refused(name, error) from None
            if not isinstance(answer, Stream):
                ANSWERED.add(name)
            return answer

        return checked


class Stream:
    """The messages of a stream, with a deadline for each."""

    def __init__(self, name, call):
        self.name, self.call = name, call

    def __iter__(self):
        return self

    def __next__(self):
        try:
            message = next(self.call)
        except StopIteration:
            ANSWERED.add(self.name)
            raise
        except grpc.RpcError as error:
            REFUSED.add(self.name)
            raise Refused(self.name, error) from None
        ANSWERED.add(self.name)
        return message

    def until(self, fits):
        for message in self:
            if fits(message):
                return message
        raise AssertionError(f"{self.name} ended before what was waited for")

    def cancel(self):
        self.call.cancel()


class Socket:
    """One of the three WebSockets."""

    def __init__(self, server, path, hello=None, answer=None):
        url = f"ws://{server.facts['public']}{path}"
        self.socket = websocket.create_connection(
            url, subprotocols=["porchlight.v1"], timeout=PATIENCE, suppress_origin=True
        )
        self.closed = None
        server.sockets.append(self)
        if hello:
            self.send(hello)
            self.hello = self.expect(answer)

    def send(self, message):
        self.socket.send(json.dumps(message))

    def hear(self):
        opcode, data = self.socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self.closed = int.from_bytes(data[:2], "big")
            self.socket.shutdown()
            return None
        return json.loads(data)

    def expect(self, kind):
        while (message := self.hear()) is not None:
            if message["type"] == kind:
                return message
        raise AssertionError(f"closed with {self.closed} while waiting for {kind}")

    def expect_close(self):
        while self.closed is None:
            self.hear()
        return self.closed

    def close(self):
        self.socket.close()


class Server:
    """`porchlight dev` on free ports, with all that it prints kept apart: to people, and to the log."""

    def __init__(self, **settings):
        self.dir = tempfile.mkdtemp(prefix="porchlight-grpc-")
        self.sockets = []
        free = "127.0.0.1:0"
        self.process = subprocess.Popen(
            [os.environ["PORCHLIGHT_BIN"], "dev", "--data-dir", self.dir]
            + ["--public-addr", free, "--ops-addr", free, "--admin-addr", free],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | settings,
        )
        atexit.register(self.process.kill)
        self.log = []
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()
        facts = os.path.join(self.dir, "dev.json")
        end = time.monotonic() + PATIENCE
        while not os.path.exists(facts):
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError("the server did not start:\n" + "".join(self.log))
            time.sleep(0.02)
        with open(facts) as file:
            self.facts = json.load(file)
        self.channel = grpc.insecure_channel(self.facts["admin"])
        self.operator = Caller(self, self.facts["adminKey"])
        key = self.facts["apiKey"]
        self.key = Caller(self, f"{key['id']}.{key['secret']}")
        self.secrets = {self.facts["adminKey"], key["secret"]}
        self.secrets |= {agent["password"] for agent in self.facts["agents"]}

    def secret(self, text):
        self.secrets.add(text)
        return text

    def sign_in(self, address, password=None, group="demo"):
        """An agent's token, or the status of the refusal."""
        if password is None:
            password = next(a["password"] for a in self.facts["agents"] if a["address"] == address)
        body = json.dumps({"group": group, "address": address, "password": password}).encode()
        request = urllib.request.Request(
            f"http://{self.facts['public']}/v1/auth/agent", body, {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return self.secret(json.load(answer)["token"])
        except urllib.error.HTTPError as error:
            return error.code

    def agent(self, address, **more):
        return Socket(self, "/v1/agent", {"type": "connect", "token": self.sign_in(address, **more)}, "connected")

    def visitor(self, name, **more):
        hello = {"type": "connect", "group": "demo", "visitorId": name, **more}
        return Socket(self, "/v1/visitor", hello, "connected")

    def engage(self, name):
        """A session of this visitor with Alice: page, agent, publisher, viewer."""
        visitor, agent = self.visitor(name), self.agent("alice")
        agent.send({"type": "join", "visitorId": name, "kind": "screen"})
        offer = visitor.expect("offer")
        for answer in ("offerDisplayed", "terms"):
            version = offer["terms"]["version"]
            asked = {"requestId": offer["requestId"], "accepted": True, "termsVersion": version}
            visitor.send({"type": answer, **asked})
        ready, ticket = visitor.expect("ready"), agent.expect("ready")
        attach = lambda of: Socket(self, "/v1/session", {"type": "attach", "ticket": self.secret(of["ticket"])}, "attached")
        return ready["sessionId"], visitor, agent, attach(ready), attach(ticket)

    def get(self, listener, path):
        with urllib.request.urlopen(f"http://{self.facts[listener]}{path}", timeout=PATIENCE) as answer:
            return answer.read().decode()

    def stop(self):
        """Ends the server, and looks through all that it told: no secret is in it."""
        if self.process.poll() is None:
            said = {"the metrics": self.get("ops", "/metrics")}
            self.process.send_signal(signal.SIGINT)
        else:
            said = {}
        for socket in self.sockets:
            socket.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.reader.join(PATIENCE)
        self.channel.close()
        shutil.rmtree(self.dir, ignore_errors=True)
        said["the log"] = "".join(self.log)
        for place, text in said.items():
            for line in text.splitlines():
                leak = re.search(r"plk_|pla_|whsec_|eyJ", line) or any(secret in line for secret in self.secrets)
                assert not leak, f"a secret is in {place}: {line}"


class Case(unittest.TestCase):
    """A test over a server that the tests of its class share."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.operator, cls.key = cls.server.operator, cls.server.key

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def refused(self, code, reason, call, *args, **fields):
        """The refusal of a call, which must be this one."""
        with self.assertRaises(Refused) as caught:
            answer = call(*args, **fields)
            if isinstance(answer, Stream):
                next(answer)
        self.assertEqual((caught.exception.code, caught.exception.reason), (code, reason), caught.exception)
        return caught.exception

    def bad(self, fields, call, *args, **values):
        """A refusal for these fields, by their paths."""
        refused = self.refused("INVALID_ARGUMENT", "BAD_FIELD", call, *args, **values)
        self.assertEqual(sorted(refused.fields), sorted(fields), refused)
        return refused

    def pages(self, call, field, size, **fields):
        """All items of a list, read page by page."""
        items, token, pages = [], "", 0
        while True:
            answer = call(pageSize=size, pageToken=token, **fields)
            page = list(getattr(answer, field))
            self.assertLessEqual(len(page), size)
            items, token, pages = items + page, answer.next_page_token, pages + 1
            if not token:
                return items, pages
