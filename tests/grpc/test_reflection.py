"""grpcurl, which knows nothing but what the server tells of itself."""

import json
import os
import subprocess

from grpc_health.v1 import health_pb2, health_pb2_grpc
from porch import NOBODY, SERVICE, Caller, Case

# What each call is asked (a mask as the message that it is: older editions of grpcurl know no shorter form), by name; the rest is asked for the group alone.
ASKED = {
    "CreateGroup": {"group": "curled"},
    "ListGroups": {},
    "UpdateSettings": {"settings": {"graceSeconds": 4}, "updateMask": {"paths": ["grace_seconds"]}, "expectedVersion": "VERSION"},
    "CreateApiKey": {"label": "curl"},
    "RevokeApiKey": {"keyId": "KEY"},
    "UpsertAgent": {"agent": {"agentId": "curl", "address": "curl", "name": "Curl"}},
    "SetPermissions": {"agentId": "curl", "permissions": {"user": True}},
    "RemoveAssociation": {"agentId": "curl"},
    "RevokeTokens": {"agentId": "curl"},
    "DeleteAgent": {"agentId": "curl"},
    "LookupVisitors": {"visitorIds": ["R-1"]},
    "WatchPresence": {"visitorIds": ["R-1"]},
    "SignalVisitor": {"visitorId": "R-1", "name": "curl", "data": {"n": 1}},
    "DisconnectVisitor": {"visitorId": "R-1"},
    "GetSession": {"sessionId": "SESSION"},
    "EndSession": {"sessionId": "SESSION"},
    "ListSessionEvents": {"sessionId": "SESSION"},
    "GetSessionRecord": {"sessionId": "SESSION"},
    "GetConsentReceipt": {"receiptId": "RECEIPT"},
    "ListFeed": {"record": {"object": "Case", "id": "1"}},
    "PostFeed": {"record": {"object": "Case", "id": "1"}, "text": "curl"},
    "PutSink": {"sink": {"sinkId": "curl", "webhook": {"url": "https://192.0.2.1/"}, "sessionRecords": True}},
    "TestSink": {"sinkId": "curl"},
    "ReplayDeadLetters": {"sinkId": "curl"},
    "DeleteSink": {"sinkId": "curl"},
    "GetNode": {},
    "ListNodes": {},
    "SetLogFilter": {"filter": "info,porchlight::hub=debug", "seconds": 60},
    "Drain": {},
}
# These do not end by themselves.
ENDLESS = {"WatchPresence", "WatchSessions", "StreamEvents"}
# In this order: what is made first is asked for later, and the server ends last.
FIRST, LAST = ["CreateApiKey", "UpsertAgent"], ["DisconnectVisitor", "EndSession", "DeleteAgent", "DeleteSink", "Drain"]


class Reflection(Case):
    def curl(self, *words, key=None, asked=None):
        command = [os.environ["PORCHLIGHT_GRPCURL"], "-plaintext", "-max-time", "20"]
        if key:
            command += ["-H", f"authorization: Bearer {key}"]
        if asked is not None:
            command += ["-d", json.dumps(asked)]
        done = subprocess.run([*command, self.server.facts["admin"], *words], capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def told(self, *words):
        code, out, error = self.curl(*words)
        self.assertEqual(code, 0, error)
        return out

    def test_the_service_describes_itself(self):
        services = self.told("list").split()
        self.assertIn("porchlight.v1.Admin", services)
        self.assertIn("grpc.health.v1.Health", services)
        calls = self.told("list", "porchlight.v1.Admin").split()
        self.assertEqual(sorted(calls), sorted(method.full_name for method in SERVICE.methods))
        for method in SERVICE.methods:
            described = self.told("describe", f".{method.input_type.full_name}")
            for field in method.input_type.fields:
                self.assertIn(f" {field.name} = {field.number};", described)

    def test_health(self):
        stub = health_pb2_grpc.HealthStub(self.server.channel)
        for service in ["", "porchlight.v1.Admin"]:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)

    def test_a_refusal_is_told_with_its_details(self):
        code, _, error = self.curl("porchlight.v1.Admin/GetSettings", asked={"group": "demo"})
        self.assertNotEqual(code, 0)
        self.assertIn("Code: Unauthenticated", error)
        code, _, error = self.curl(
            "porchlight.v1.Admin/GetSettings", key=self.server.facts["adminKey"], asked={"group": "nowhere"}
        )
        self.assertIn("Code: NotFound", error)

    def test_zz_every_call_is_reached(self):
        session, visitor, _agent, _publisher, _viewer = self.server.engage("R-1")
        key = self.server.facts["adminKey"]
        names = [method.name for method in SERVICE.methods]
        middle = [name for name in names if name not in FIRST + LAST]
        known = {"SESSION": session}
        for name in FIRST + middle + LAST:
            asked = {field: known.get(value, value) if isinstance(value, str) else value
                     for field, value in ASKED.get(name, {}).items()}
            method = SERVICE.methods_by_name[name]
            if "group" in method.input_type.fields_by_name:
                asked.setdefault("group", "demo")
            if asked.get("expectedVersion") == "VERSION":
                asked["expectedVersion"] = str(Caller(self.server, key).GetSettings(group="demo").version)
            words = ["-max-time", "3"] if name in ENDLESS else []
            command = [os.environ["PORCHLIGHT_GRPCURL"], "-plaintext", "-max-time", "20", *words]
            command += ["-H", f"authorization: Bearer {key}", "-d", json.dumps(asked)]
            done = subprocess.run(
                [*command, self.server.facts["admin"], f"porchlight.v1.Admin/{name}"], capture_output=True, text=True
            )
            if name in ENDLESS:
                self.assertIn("DeadlineExceeded", done.stderr, name)
            else:
                self.assertEqual(done.returncode, 0, f"{name}: {done.stderr}")
            if name not in ("RevokeTokens", "DeleteAgent", "ListVisitors"):
                self.assertTrue(done.stdout.strip(), f"{name} answered")
            if name == "CreateApiKey":
                made = json.loads(done.stdout)
                known["KEY"] = made["apiKey"]["keyId"]
                self.server.secret(made["secret"])
            if name == "PutSink":
                self.server.secret(json.loads(done.stdout)["secret"])
            if name == "GetSessionRecord":
                known["RECEIPT"] = json.loads(done.stdout)["record"]["receiptId"]
        self.assertEqual(self.server.process.wait(30), 0, "the drain ended it")
