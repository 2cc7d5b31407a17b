"""All nodes behind a HAProxy are replaced, one by one, under the load of `porchlight load`, whose ledger must be clean."""

import json
import os
import re
import signal
import sys
import unittest

from stage import BIN, DEPLOY, Place, fetch, free_port, master_secret, wait_for
from visitor import Visitor

VISITORS = 120
SESSIONS = 3
VIEWERS = 2
# Longer than both nodes take to be replaced, which is seen in the count of those who came back.
LOADED = "30s"


class Rolling(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.close)
        _, redis = self.place.redis()
        self.variables = {
            "PORCHLIGHT__REDIS__URL": redis,
            "PORCHLIGHT__AUTH__MASTER_SECRET": master_secret(),
            "PORCHLIGHT__PUBLIC__TRUSTED_PROXIES": "127.0.0.1/32",
            "PORCHLIGHT__LIMITS__DRAIN": "8s",
        }
        self.ports = {name: {which: free_port() for which in ("public", "ops", "admin")} for name in "ab"}
        self.nodes = {name: self.start_node(name) for name in "ab"}
        self.front = free_port()
        told = {"PORCHLIGHT_LISTEN": f"127.0.0.1:{self.front}"}
        for name, ports in self.ports.items():
            told |= {
                f"PORCHLIGHT_NODE_{name.upper()}": f"127.0.0.1:{ports['public']}",
                f"PORCHLIGHT_NODE_{name.upper()}_OPS": ports["ops"],
            }
        proxy = self.place.start("haproxy", "haproxy", "-f", DEPLOY / "cluster/haproxy.cfg", **told)
        self.place.listening("haproxy", proxy, self.front)
        wait_for("the proxy to find a node", lambda: fetch(f"http://127.0.0.1:{self.front}/readyz") == (200, "ok"))

    def start_node(self, name):
        """A node where it was before, with what it kept."""
        ports = self.ports[name]
        addresses = [word for which, port in ports.items() for word in (f"--{which}-addr", f"127.0.0.1:{port}")]
        node = self.place.start(name, BIN, "dev", "--data-dir", self.place.dir / f"data-{name}", *addresses, **self.variables)
        self.place.listening(name, node, ports["ops"])
        wait_for(f"{name} to be ready", lambda: fetch(f"http://127.0.0.1:{ports['ops']}/readyz") == (200, "ok"))
        return node

    def load(self, kind, *words):
        """A load through the proxy, in a group that agents of the first node's file sign in to."""
        where = ["--dev-json", self.place.dir / "data-a", "--url", f"ws://127.0.0.1:{self.front}", "--json"]
        return self.place.start(f"load-{kind}", BIN, "load", kind, *where, *words)

    def counted(self, metric):
        """The sum of a metric over both nodes."""
        total = 0
        for ports in self.ports.values():
            _, text = fetch(f"http://127.0.0.1:{ports['ops']}/metrics")
            total += sum(float(value) for value in re.findall(rf"(?m)^{metric}(?:{{[^}}]*}})? ([\d.]+)$", text))
        return total

    def report(self, kind, process):
        """What a load says at its end, which must be a success."""
        process.wait(90)
        told = self.place.log(f"load-{kind}")
        self.assertEqual(process.returncode, 0, f"{kind}: {told}")
        return json.loads(told.splitlines()[0])

    def test_nobody_notices_that_every_node_is_replaced(self):
        loads = {
            "visitors": self.load("visitors", "--count", VISITORS, "--rate", "100", "--hold", LOADED),
            "lamps": self.load("lamps", "--visitors", "30", "--agents", "3", "--changes-per-second", "30", "--duration", LOADED),
            "relay": self.load("relay", "--sessions", SESSIONS, "--viewers", VIEWERS, "--fps", "10", "--duration", LOADED),
        }

        def everybody():
            for kind, process in loads.items():
                if process.poll() is not None:
                    raise SystemError(f"load {kind} ended: {self.place.log(f'load-{kind}')}")
            present = self.counted("porchlight_visitors_present")
            return present >= VISITORS + 30 + SESSIONS and self.counted("porchlight_sessions_active") >= SESSIONS

        wait_for("all to be there", everybody)
        for name in "ab":
            before = self.nodes[name]
            os.kill(before.pid, signal.SIGTERM)
            self.assertEqual(before.wait(30), 0, self.place.log(name))
            self.nodes[name] = self.start_node(name)
            # The proxy looks at a node each second; the other may go when this one takes part.
            wait_for("the new node to be used", lambda: self.used(name))

        reports = {kind: self.report(kind, process) for kind, process in loads.items()}
        visitors, lamps, relay = (reports[kind] for kind in ("visitors", "lamps", "relay"))
        # Whoever was on a node had to leave it, so everybody came back at least once.
        self.assertGreaterEqual(sum(visitors["reconnects"].values()), VISITORS)
        self.assertEqual((visitors["stillConnected"], visitors["lost"], visitors["errors"]), (VISITORS, 0, {}))
        self.assertEqual((lamps["flickers"], lamps["missingFinal"], lamps["errors"]), (0, 0, {}))
        self.assertGreaterEqual(sum(lamps["reconnects"].values()), 30)
        heard = lamps["connectedLatency"]
        self.assertEqual(heard["count"], lamps["changeLatency"]["count"])
        self.assertGreater(heard["count"], 0)
        # How long that took depends on what else the machine does; the ledger says it, and asserts no time.
        millis = {name: heard[f"{name}Us"] // 1000 for name in ("p50", "p99", "max")}
        print(f"changes heard late while visitor and agent were connected, in ms of {heard['count']}: {millis}", file=sys.stderr)
        self.assertEqual((relay["sessionsLost"], relay["errors"]), (0, {}))
        self.assertGreaterEqual(sum(relay["reconnects"].values()), SESSIONS)
        self.assertEqual(len(relay["viewers"]), SESSIONS * VIEWERS)
        for viewer in relay["viewers"]:
            self.assertTrue(viewer["complete"], viewer)
            self.assertEqual((viewer["broken"], viewer["disordered"]), (0, 0), viewer)

    def used(self, name):
        """Whether the proxy sends newcomers to a node: nobody else is there, so one is enough to see."""
        visitor = Visitor(f"ws://127.0.0.1:{self.front}/v1/visitor", None, "C-newcomer")
        try:
            _, text = fetch(f"http://127.0.0.1:{self.ports[name]['ops']}/metrics")
        finally:
            visitor.close()
        return sum(map(float, re.findall(r"(?m)^porchlight_connections(?:{[^}]*})? ([\d.]+)$", text))) > 0
