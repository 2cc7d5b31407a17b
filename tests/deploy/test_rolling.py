"""All nodes are replaced, one by one, under the load of `porchlight load`, whose ledger must be clean: behind the HAProxy and the
nginx of deploy/proxy at once, which end TLS."""

import json
import os
import re
import signal
import sys
import unittest

import proxies
from stage import BIN, Place, fetch, free_port, good, master_secret, wait_for
from visitor import Visitor

# Of each proxy.
VISITORS = 60
WATCHED = 15
SESSIONS = 2
FPS = 10
VIEWERS = 2
PASSWORD = "a password for tests"
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
        self.place.certificates()
        nodes = [{which: f"127.0.0.1:{port}" for which, port in ports.items()} for ports in self.ports.values()]
        self.fronts = {start.__name__: start(self.place, *nodes)[0] for start in (proxies.haproxy, proxies.nginx)}
        for name, port in self.fronts.items():
            ready = lambda port=port: fetch(f"https://localhost:{port}/readyz", self.place.trust()) == (200, "ok")
            wait_for(f"{name} to find a node", ready)
            self.make_group(name)

    def start_node(self, name):
        """A node where it was before, with what it kept."""
        ports = self.ports[name]
        addresses = [word for which, port in ports.items() for word in (f"--{which}-addr", f"127.0.0.1:{port}")]
        node = self.place.start(name, BIN, "dev", "--data-dir", self.place.dir / f"data-{name}", *addresses, **self.variables)
        self.place.listening(name, node, ports["ops"])
        wait_for(f"{name} to be ready", lambda: fetch(f"http://127.0.0.1:{ports['ops']}/readyz") == (200, "ok"))
        return node

    def load(self, front, kind, *words):
        """A load through a proxy, in the group of that proxy: loads of one kind play the same visitors."""
        where = ["--group", front, "--agent-address", "alice", "--url", f"wss://localhost:{self.fronts[front]}", "--json"]
        trusted = ["--ca-file", self.place.dir / "ca.pem"]
        return self.place.start(f"{front}-{kind}", BIN, "load", kind, *where, *trusted, *words, PORCHLIGHT_AGENT_PASSWORD=PASSWORD)

    def make_group(self, name):
        """A group with an agent, whose visitors are taken at their word."""
        ask = [BIN, "admin", "--data-dir", self.place.dir / "data-a"]
        good(*ask, "create-group", name)
        ask += ["--group", name]
        good(*ask, "set", "presence_enabled=true", "visitor_identity=open", "loopback_origins=true", "show_terms=true",
             "terms.version=1", "terms.text=An agent will see this.", 'profiles=[{ name = "Support", join = true }]')  # fmt: skip
        good(*ask, "upsert-agent", "alice", "--address", "alice", "--profile", "Support", "--password-file", "-", input=PASSWORD)
        good(*ask, "set-permissions", "alice", "user")

    def counted(self, metric, label=""):
        """The sum of a metric over both nodes, or of its rows with a label."""
        total = 0
        for ports in self.ports.values():
            _, text = fetch(f"http://127.0.0.1:{ports['ops']}/metrics")
            rows = re.findall(rf"(?m)^{metric}(?:{{([^}}]*)}})? ([\d.]+)$", text)
            total += sum(float(value) for labels, value in rows if label in labels)
        return total

    def report(self, name, process):
        """What a load says at its end, which must be a success."""
        process.wait(90)
        told = self.place.log(name)
        self.assertEqual(process.returncode, 0, f"{name}: {told}")
        return json.loads(told.splitlines()[0])

    def test_nobody_notices_that_every_node_is_replaced(self):
        kinds = {
            "visitors": ["--count", VISITORS, "--rate", "100", "--hold", LOADED],
            "lamps": ["--visitors", WATCHED, "--agents", "3", "--changes-per-second", "15", "--duration", LOADED],
            "relay": ["--sessions", SESSIONS, "--viewers", VIEWERS, "--fps", FPS, "--duration", LOADED],
        }
        loads = {f"{front}-{kind}": self.load(front, kind, *words) for front in self.fronts for kind, words in kinds.items()}

        def everybody():
            for name, process in loads.items():
                if process.poll() is not None:
                    raise SystemError(f"load {name} ended: {self.place.log(name)}")
            return self.counted("porchlight_visitors_present") >= present and self.counted("porchlight_connections", 'kind="session"') >= sockets

        present = (VISITORS + WATCHED + SESSIONS) * len(self.fronts)
        sockets = SESSIONS * (1 + VIEWERS) * len(self.fronts)
        wait_for("all to be there", everybody)
        # A socket is counted before it is attached: the last one has the time of these pictures for that.
        begun = self.counted("porchlight_frames_in_total")
        wait_for("pictures", lambda: self.counted("porchlight_frames_in_total") >= begun + 2 * FPS * SESSIONS * len(self.fronts))
        for name in "ab":
            before = self.nodes[name]
            os.kill(before.pid, signal.SIGTERM)
            self.assertEqual(before.wait(30), 0, self.place.log(name))
            self.nodes[name] = self.start_node(name)
            # The proxies look at a node each second, or try it again after two; the other may go when this one takes part.
            for front in self.fronts:
                wait_for(f"{front} to use the new node", lambda front=front: self.used(name, front))

        reports = {name: self.report(name, process) for name, process in loads.items()}
        for front in self.fronts:
            with self.subTest(front):
                self.is_clean(front, *(reports[f"{front}-{kind}"] for kind in kinds))

    def is_clean(self, front, visitors, lamps, relay):
        # Whoever was on a node had to leave it, so everybody came back at least once.
        self.assertGreaterEqual(sum(visitors["reconnects"].values()), VISITORS)
        self.assertEqual((visitors["stillConnected"], visitors["lost"], visitors["errors"]), (VISITORS, 0, {}))
        self.assertEqual((lamps["flickers"], lamps["missingFinal"], lamps["errors"]), (0, 0, {}))
        self.assertGreaterEqual(sum(lamps["reconnects"].values()), WATCHED)
        heard = lamps["connectedLatency"]
        self.assertEqual(heard["count"], lamps["changeLatency"]["count"])
        self.assertGreater(heard["count"], 0)
        # How long that took depends on what else the machine does; the ledger says it, and asserts no time.
        millis = {name: heard[f"{name}Us"] // 1000 for name in ("p50", "p99", "max")}
        print(f"{front}: changes heard late while visitor and agent were connected, in ms of {heard['count']}: {millis}", file=sys.stderr)
        self.assertEqual((relay["sessionsLost"], relay["errors"]), (0, {}))
        self.assertGreaterEqual(sum(relay["reconnects"].values()), SESSIONS)
        self.assertEqual(len(relay["viewers"]), SESSIONS * VIEWERS)
        for viewer in relay["viewers"]:
            self.assertTrue(viewer["complete"], viewer)
            self.assertEqual((viewer["broken"], viewer["disordered"]), (0, 0), viewer)

    def connections(self, name):
        _, text = fetch(f"http://127.0.0.1:{self.ports[name]['ops']}/metrics")
        return sum(map(float, re.findall(r"(?m)^porchlight_connections(?:{[^}]*})? ([\d.]+)$", text)))

    def used(self, name, front):
        """Whether a proxy sends newcomers to a node, which has the fewest connections now that it is new."""
        before = self.connections(name)
        visitor = Visitor(f"wss://localhost:{self.fronts[front]}/v1/visitor", self.place.trust(), "C-newcomer")
        try:
            return self.connections(name) > before
        finally:
            visitor.close()
