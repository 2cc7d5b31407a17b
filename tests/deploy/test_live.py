"""Two nodes on a Redis, behind the nginx and HAProxy that deploy/proxy describes, scraped by a Prometheus with the alerts
of deploy/prometheus and asked what the dashboard asks."""

import http.client
import json
import re
import shutil
import signal
import struct
import tomllib
import unittest
import urllib.parse
import urllib.request

import proxies
from proxies import replaced
from stage import BIN, DEADLINE, DEPLOY, Place, clean_environment, fetch, free_port, good, master_secret, metrics_in, run, wait_for
from test_rules import alerts, dashboard_expressions, panels
from visitor import Page, Visitor

# The heartbeat of the nodes here, in place of 25 s: every time in the proxies' files is shortened alike.
HEARTBEAT = 1.0
SHORTER = HEARTBEAT / 25


def shorten(text, factor=SHORTER):
    """A proxy's configuration with all its patience shortened."""
    units = {"s": 1, "m": 60, "h": 3600}

    def line(match):
        return f"{match[1]}{max(1, round(int(match[2]) * units[match[3]] * 1000 * factor))}ms"

    return re.sub(r"(?m)^(\s*(?:timeout [\w-]+|proxy_\w+_timeout|grpc_\w+_timeout) )(\d+)([smh])", line, text)


def frame(sequence, key, size=50_000):
    """A picture with the header of the wire contract: whole, or tiles of it."""
    kind, flags = (2, 1) if key else (3, 0)
    return struct.pack(">BBBBIIIQHHHH", 1, kind, flags, 0, 0, sequence, 1, sequence, 1280, 720, 0, 0) + bytes(size)


def guess(port, trust, source, told):
    """A guest's try with a key that nobody has, from an address of this machine that says whom it saw."""
    if trust:
        server = http.client.HTTPSConnection("127.0.0.1", port, timeout=DEADLINE, source_address=(source, 0), context=trust)
    else:
        server = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE, source_address=(source, 0))
    headers = {"content-type": "application/json"}
    if told is not None:
        headers |= {"X-Forwarded-For": told, "Forwarded": f"for={told}"}
    server.request("POST", "/v1/guest", json.dumps({"sessionKey": "123456789"}), headers)
    status = server.getresponse().status
    server.close()
    return status


class Patience(unittest.TestCase):
    """The times as they are shipped."""

    def test_proxies_wait_longer_than_the_heartbeat(self):
        limits = tomllib.loads(good(BIN, "print-config", env={}))["limits"]
        self.assertEqual((limits["heartbeat"], limits["dead_after"]), ("25s", "1m"))
        told = {}
        for file in [*sorted((DEPLOY / "proxy").iterdir()), DEPLOY / "cluster/haproxy.cfg"]:
            text = file.read_text()
            kept = re.findall(r"(?m)^\s*(timeout tunnel|proxy_read_timeout|proxy_send_timeout) (\d+)s", text)
            self.assertTrue(kept, file)
            for name, seconds in kept:
                # The server gives up a silent peer first, and says why.
                self.assertGreater(int(seconds), 60, f"{file.name}: {name}")
            told[file.name] = len(kept)
        self.assertEqual(len(told), 5)

    def test_what_is_shortened_keeps_its_proportions(self):
        text = shorten("  timeout tunnel 120s\n  proxy_read_timeout 50s;\n  grpc_read_timeout 1h;\n  keepalive 32;\n")
        self.assertEqual(text, "  timeout tunnel 4800ms\n  proxy_read_timeout 2000ms;\n  grpc_read_timeout 144000ms;\n  keepalive 32;\n")


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.close)
        place = cls.place
        place.certificates()
        cls.redis, redis_url = place.redis()
        cls.secret = master_secret()
        # Clients come from other addresses of this machine than its proxies.
        trusting = {"PORCHLIGHT__PUBLIC__TRUSTED_PROXIES": "127.0.0.1/32"}
        shared = trusting | {
            "PORCHLIGHT__REDIS__URL": redis_url,
            "PORCHLIGHT__AUTH__MASTER_SECRET": cls.secret,
            "PORCHLIGHT__LIMITS__HEARTBEAT": f"{round(HEARTBEAT * 1000)}ms",
        }
        secured = {
            "PORCHLIGHT__ADMIN__TLS_CERT": place.dir / "own.pem",
            "PORCHLIGHT__ADMIN__TLS_KEY": place.dir / "own.key",
        }
        cls.a, cls.facts_a = place.node("a", **shared, **secured)
        cls.b, cls.facts_b = place.node("b", **shared, **secured)
        cls.one, cls.facts_one = place.node("one", **trusting, PORCHLIGHT__LIMITS__HEARTBEAT=shared["PORCHLIGHT__LIMITS__HEARTBEAT"])

    # ── Proxies ──────────────────────────────────────────────────────────────────────────────────

    def nginx(self, name, change=proxies.as_shipped):
        """nginx with a file of ours: the ports for browsers and for operators."""
        return proxies.nginx(self.place, *self.nodes(name), change=lambda text: change(shorten(text)))

    def haproxy(self, name, change=proxies.as_shipped, one=None):
        """HAProxy likewise."""
        return proxies.haproxy(self.place, *self.nodes(name, one), change=lambda text: change(shorten(text)))

    def nodes(self, name, one=None):
        return [one or self.facts_one] if name == "one" else [self.facts_a, self.facts_b]

    def admin(self, port, *words, facts):
        # The address of a name, so that the certificate's name is looked at.
        env = clean_environment() | {"PORCHLIGHT_ADMIN_KEY": facts["adminKey"]}
        return run(BIN, "admin", *words, "--addr", f"https://localhost:{port}", "--ca", self.place.dir / "ca.pem", env=env)

    def behind(self, ports, facts):
        """Pages, scripts, sign-in, a WebSocket and gRPC through a proxy."""
        public, admin = ports
        trust = self.place.trust()
        base = f"https://localhost:{public}"

        def ready():
            return fetch(f"{base}/readyz", trust) == (200, "ok")

        wait_for("the proxy to find a node", ready)
        self.assertEqual(fetch(f"{base}/demo/agent", trust)[0], 200)
        status, script = fetch(f"{base}/porchlight.js", trust)
        self.assertEqual(status, 200)
        self.assertIn("Porchlight", script)
        self.assertEqual(fetch(f"{base}/metrics", trust)[0], 404)
        self.assertIn(self.plain(public), (400, None), "plain text is answered")

        visitor = Visitor(f"wss://localhost:{public}/v1/visitor", trust, f"C-{public}")
        self.addCleanup(visitor.close)
        welcome = visitor.texts[0]
        self.assertEqual((welcome["type"], welcome["visitorId"]), ("connected", f"C-{public}"))

        def called():
            done = self.admin(admin, "lookup", "--group", "demo", f"C-{public}", "--json", facts=facts)
            if done.returncode:
                raise ValueError(done.stdout)
            return json.loads(done.stdout)

        told = wait_for("an operator's call", called)
        self.assertIn("PRESENT", json.dumps(told).upper())
        return visitor

    def plain(self, port):
        """What a proxy answers who comes without TLS; nothing, if it hangs up."""
        try:
            return fetch(f"http://localhost:{port}/livez")[0]
        except OSError:
            return None

    def stays(self, visitor):
        """The connection outlives every time of the proxy, by pings alone."""
        visitor.read_until(lambda: visitor.pings >= 6)
        self.assertFalse(visitor.closed)
        self.assertGreaterEqual(visitor.pings, 6)

    def test_one_node_behind_nginx(self):
        ports = self.nginx("one")
        self.stays(self.behind(ports, self.facts_one))
        self.tells_clients_apart(ports, 11)

    def test_one_node_behind_haproxy(self):
        ports = self.haproxy("one")
        self.stays(self.behind(ports, self.facts_one))
        self.tells_clients_apart(ports, 12)

    def test_nodes_behind_nginx(self):
        ports = self.nginx("nodes")
        self.stays(self.behind(ports, self.facts_a))
        self.tells_clients_apart(ports, 13)

    def test_nodes_behind_haproxy(self):
        ports = self.haproxy("nodes")
        self.stays(self.behind(ports, self.facts_a))
        self.tells_clients_apart(ports, 14)

    def tells_clients_apart(self, ports, network):
        """Two clients behind one proxy are locked apart, whatever they say of themselves."""
        guesser, neighbour = (f"127.0.{network}.{last}" for last in (2, 3))
        trust = self.place.trust()
        tried = []
        for at in range(30):
            tried.append(guess(ports[0], trust, guesser, f"203.0.113.{at}, 127.0.0.1"))
            if tried[-1] != 404:
                break
        # On two nodes each counts what was tried there, and one hears of the other's lock a moment later.
        self.assertEqual(tried[-1], 429, tried)
        self.assertGreaterEqual(len(tried), 11)

        def locked():
            return all(guess(ports[0], trust, guesser, None) == 429 for _ in range(6))

        wait_for("the lock to hold on every node", locked)
        for told in ("203.0.113.99", neighbour, "127.0.0.1", '"', "junk, ," * 100):
            self.assertEqual(guess(ports[0], trust, guesser, told), 429, told)
        for told in (None, guesser):
            self.assertEqual(guess(ports[0], trust, neighbour, told), 404)

    def test_who_is_no_proxy_is_not_believed(self):
        """A client that reaches the node itself, and says that it is somebody else each time."""
        port = int(self.facts_one["public"].rsplit(":", 1)[1])
        for at in range(10):
            self.assertEqual(guess(port, None, "127.0.15.2", f"203.0.113.{at}"), 404, at)
        self.assertEqual(guess(port, None, "127.0.15.2", "203.0.113.99"), 429)
        self.assertEqual(guess(port, None, "127.0.15.3", "127.0.15.2"), 404)

    def test_a_proxy_says_by_its_protocol_whom_it_saw(self):
        """HAProxy with both versions of the PROXY protocol in place of a header, its own probes among them."""
        protocol = {
            "PORCHLIGHT__PUBLIC__PROXY_PROTOCOL": "true",
            "PORCHLIGHT__PUBLIC__TRUSTED_PROXIES": "127.0.0.1/32",
            "PORCHLIGHT__LIMITS__HEARTBEAT": f"{round(HEARTBEAT * 1000)}ms",
        }
        _, facts = self.place.node("told", **protocol)
        for network, version in ((21, "send-proxy"), (22, "send-proxy-v2")):

            def change(text, version=version):
                return replaced(text, [
                    ("  option forwardfor\n", ""),
                    ('  server node "${PORCHLIGHT_NODE}"\n',
                     f'  option httpchk GET /readyz\n  server node "${{PORCHLIGHT_NODE}}" {version} check check-send-proxy inter 100ms\n'),
                ])  # fmt: skip

            ports = self.haproxy("one", change, facts)
            self.stays(self.behind(ports, facts))
            self.tells_clients_apart(ports, network)

        def refusals():
            return re.findall(r'refusals_total{limit="proxy_header"} (\d+)', fetch(f"http://{facts['ops']}/metrics")[1])

        self.assertEqual(refusals(), [])
        with self.assertRaises(OSError):
            fetch(f"http://{facts['public']}/livez")
        self.assertEqual(refusals(), ["1"])
        self.assertIn("it does not begin with a PROXY header", self.place.log("told"))

    def test_an_impatient_proxy_cuts_visitors_off(self):
        """What the two tests above look at can be seen: with times below the heartbeat the connection goes."""
        hasty = {
            "nginx": lambda text: re.sub(r"(proxy_\w+_timeout) \d+ms", r"\1 300ms", text),
            "haproxy": lambda text: re.sub(r"(timeout tunnel) \d+ms", r"\1 300ms", text),
        }
        for name, change in hasty.items():
            public, _ = getattr(self, name)("one", change)
            visitor = Visitor(f"wss://localhost:{public}/v1/visitor", self.place.trust(), f"C-{public}")
            self.addCleanup(visitor.close)
            visitor.read_until(lambda: visitor.closed)
            self.assertTrue(visitor.closed, name)

    # ── Metrics ──────────────────────────────────────────────────────────────────────────────────

    def ask(self, expression):
        query = urllib.parse.urlencode({"query": expression})
        status, body = fetch(f"http://127.0.0.1:{self.prometheus}/api/v1/query?{query}")
        self.assertEqual(status, 200, f"{expression}: {body}")
        return json.loads(body)["data"]["result"]

    def fires(self, alert):
        _, body = fetch(f"http://127.0.0.1:{self.prometheus}/api/v1/alerts")
        return [found for found in json.loads(body)["data"]["alerts"] if found["labels"]["alertname"] == alert]

    def firing(self, alert):
        """Those that have held for as long as they must."""
        return [found for found in self.fires(alert) if found["state"] == "firing"]

    def shows(self, title, so):
        """What the dashboard's panel of this title tells of the nodes, once it is so."""
        [panel] = [panel for panel in panels() if panel["title"] == title]

        def look():
            queries = [target["expr"].replace("$__rate_interval", "5s").replace("$instance", ".*") for target in panel["targets"]]
            told = [(found["metric"], float(found["value"][1])) for query in queries for found in self.ask(query)]
            return [found for found in told if so(*found)]

        return wait_for(f"the panel {title!r}", look)

    def storm(self, viewers):
        """A session at node a whose viewers stop reading: what keeps it alive, and keeps them behind."""
        facts = self.facts_a
        alice = facts["agents"][0]
        body = json.dumps({"group": facts["group"], "address": alice["address"], "password": alice["password"]}).encode()
        sign_in = urllib.request.Request(f"http://{facts['public']}/v1/auth/agent", body, {"content-type": "application/json"})
        with urllib.request.urlopen(sign_in, timeout=DEADLINE) as answer:
            token = json.load(answer)["token"]
        url = f"ws://{facts['public']}/v1"
        pages = []

        def opened(page):
            self.addCleanup(page.close)
            pages.append(page)
            return page

        visitor = opened(Visitor(f"{url}/visitor", None, "C-storm"))
        agent = opened(Page(f"{url}/agent", None, {"type": "connect", "token": token}))
        agent.say({"type": "join", "visitorId": "C-storm", "kind": "screen"})
        offer = visitor.expect("offer")
        answer = {"requestId": offer["requestId"], "accepted": True, "termsVersion": offer["terms"]["version"]}
        visitor.say({"type": "offerDisplayed", **answer})
        visitor.say({"type": "terms", **answer})
        attach = {"type": "attach", "ticket": visitor.expect("ready")["ticket"]}
        publisher = opened(Page(f"{url}/session", None, attach))
        for viewer in range(viewers):
            if viewer:
                agent.say({"type": "join", "visitorId": "C-storm", "kind": "screen"})
            attach = {"type": "attach", "ticket": agent.expect("ready")["ticket"]}
            opened(Page(f"{url}/session", None, attach, room=4096))
        for sequence in range(400):
            publisher.show(frame(sequence, key=sequence == 0))
        return pages

    def start_prometheus(self):
        self.prometheus = free_port()
        folder = self.place.dir / "prometheus"
        folder.mkdir()
        shutil.copy(DEPLOY / "prometheus/rules.yml", folder)
        text = replaced((DEPLOY / "prometheus/prometheus.yml").read_text(), [
            ("_interval: 15s", "_interval: 500ms"),
            ("node-a:7401", self.facts_a["ops"]),
            ("node-b:7401", self.facts_b["ops"]),
        ])  # fmt: skip
        (folder / "prometheus.yml").write_text(text)
        # Nobody waits for a minute here; what an alert looks for is as it is shipped.
        rules = (folder / "rules.yml").read_text()
        (folder / "rules.yml").write_text(re.sub(r"(?m)^(        for: )\w+$", r"\g<1>1s", rules))
        process = self.place.start(
            "prometheus", "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{self.prometheus}", "--log.level=warn",
        )  # fmt: skip
        self.place.listening("prometheus", process, self.prometheus)

    def test_zz_dashboard_and_alerts(self):
        """Last, for it ends a node and Redis."""
        self.start_prometheus()
        visitor = Visitor(f"ws://{self.facts_b['public']}/v1/visitor", None, "C-metrics")
        self.addCleanup(visitor.close)
        wait_for("both nodes to be scraped", lambda: len(self.ask('up{job="porchlight"} == 1')) == 2)

        def evaluated():
            _, body = fetch(f"http://127.0.0.1:{self.prometheus}/api/v1/rules")
            [group] = json.loads(body)["data"]["groups"]
            self.assertEqual({rule["health"] for rule in group["rules"]}, {"ok"}, group)
            return len(group["rules"]) == len(alerts())

        wait_for("every alert to be evaluated", evaluated)

        # What is scraped here must come out of every expression that asks for nothing else.
        scraped = "".join(fetch(f"http://{facts['ops']}/metrics")[1] for facts in (self.facts_a, self.facts_b))
        there = set(re.findall(r"(?m)^(porchlight_\w+?)(?:_bucket|_sum|_count)?[{ ]", scraped))
        answered = 0
        for expression in dashboard_expressions():
            query = expression.replace("$__rate_interval", "5s").replace("$instance", ".*")
            if metrics_in(expression) <= there:
                wait_for(query, lambda query=query: self.ask(query))
                answered += 1
            else:
                self.ask(query)
        self.assertGreater(answered, 30, "too little is scraped to tell")
        self.assertGreater(float(self.ask("sum(porchlight_visitors_present)")[0]["value"][1]), 0)
        self.assertEqual(self.fires("PorchlightRedisAway"), [])

        # Viewers stop reading while a picture is shown to them.
        self.assertEqual(self.fires("PorchlightViewersLag"), [])
        instance = {name: facts["ops"] for name, facts in (("a", self.facts_a), ("b", self.facts_b))}
        pages = self.storm(viewers=5)
        [alert] = wait_for("the storm to be told of", lambda: self.firing("PorchlightViewersLag"))
        self.assertEqual((alert["labels"]["instance"], alert["labels"]["severity"]), (instance["a"], "warning"))
        lag = self.shows("Viewers that can't keep up", lambda of, value: of.get("instance") == instance["a"] and value == 5)
        self.assertEqual(len(lag), 1)
        for page in pages:
            page.close()
        wait_for("the end of the storm", lambda: not self.fires("PorchlightViewersLag"))
        self.shows("Viewers that can't keep up", lambda of, value: of.get("instance") == instance["a"] and value == 0)

        # A node drains: its visitor is sent elsewhere, which is told of for the first time.
        self.shows("Nodes up", lambda _, value: value == 2)
        self.b.send_signal(signal.SIGTERM)
        visitor.read_until(lambda: visitor.closed)
        self.assertIn("reconnect", [text["type"] for text in visitor.texts])
        wait_for("the drain to be told of", lambda: self.firing("PorchlightDrains"))
        self.shows("Nodes up", lambda _, value: value == 1)
        # Redis is killed.
        self.redis.kill()
        away = wait_for("the loss of Redis to be told of", lambda: self.firing("PorchlightRedisAway"))
        self.assertTrue(all(alert["labels"]["severity"] == "critical" for alert in away))
        self.shows("Redis last heard", lambda _, value: value > 10)
        self.shows("Time since Redis answered", lambda of, value: of["instance"] == instance["a"] and value > 10)
        self.assertEqual(fetch(f"http://{self.facts_a['ops']}/livez")[0], 200)
