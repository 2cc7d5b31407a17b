"""A server that ends TLS itself: what it agrees to, as scanners see it, and certificates that are renewed under it."""

import http.client
import signal
import ssl
import unittest
import xml.etree.ElementTree as xml

from stage import BIN, Place, fetch, free_port, good, run, wait_for
from test_live import guess
from visitor import Visitor


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.close)
        cls.place.certificates()

    def serve(self, name, **variables):
        """A server with TLS on both listeners: the process and its ports."""
        place = self.place
        ports = {which: free_port() for which in ("public", "ops", "admin")}
        words = [word for which, port in ports.items() for word in (f"--{which}-addr", f"127.0.0.1:{port}")]
        told = {
            "PORCHLIGHT__DEMO__ENABLED": "true",
            "PORCHLIGHT__LIMITS__HEARTBEAT": "1s",
            "PORCHLIGHT__ADMIN__TLS_CERT": place.dir / "own.pem",
            "PORCHLIGHT__ADMIN__TLS_KEY": place.dir / "own.key",
        } | variables
        files = ["--tls-cert", place.dir / "own.pem", "--tls-key", place.dir / "own.key"]
        process = place.start(name, BIN, "serve", "--data-dir", place.dir / name, *words, *files, **told)
        place.listening(name, process, ports["ops"])
        return process, ports

    def renew(self):
        """Another certificate of another key in place of the one there was."""
        for name in ("both.pem", "own.pem", "own.key"):
            (self.place.dir / name).unlink()
        self.place.certificates()

    def scan(self, port):
        """The versions and suites that sslscan gets, and what it says of the rest."""
        found = xml.fromstring(good("sslscan", "--xml=-", f"127.0.0.1:{port}")).find("ssltest")
        versions = {(one.get("type"), one.get("version")) for one in found.iter("protocol") if one.get("enabled") == "1"}
        suites = {one.get("cipher") for one in found.iter("cipher")}
        return found, versions, suites

    def test_only_what_is_sound_is_agreed_to(self):
        _, ports = self.serve("sound")
        for listener in ("public", "admin"):
            found, versions, suites = self.scan(ports[listener])
            self.assertEqual(versions, {("tls", "1.2"), ("tls", "1.3")}, listener)
            self.assertGreaterEqual(len(suites), 4)
            for suite in suites:
                # Forward secrecy, and encryption that authenticates.
                self.assertRegex(suite, r"^(ECDHE-\w+-|TLS_)", listener)
                self.assertRegex(suite, r"(GCM[-_]SHA\d+|CHACHA20[-_]POLY1305.*)$", listener)
            self.assertEqual({one.get("vulnerable") for one in found.iter("heartbleed")}, {"0"})
        # As a browser of today asks.
        shaken = run("openssl", "s_client", "-connect", f"127.0.0.1:{ports['public']}", "-alpn", "h2,http/1.1", "-brief", input="")
        self.assertIn("Protocol version: TLSv1.3", shaken.stdout)
        self.assertEqual(fetch(f"https://localhost:{ports['public']}/livez", self.place.trust()), (200, "ok"))
        with self.assertRaises((OSError, http.client.HTTPException)):
            fetch(f"http://localhost:{ports['public']}/livez")

    def test_a_renewed_certificate_is_shown_and_nobody_notices(self):
        process, ports = self.serve("renewed")
        visitor = Visitor(f"wss://localhost:{ports['public']}/v1/visitor", self.place.trust(), "C-1")
        self.addCleanup(visitor.close)
        self.assertEqual(visitor.texts[0]["type"], "connected")

        def shown():
            return {ssl.get_server_certificate(("127.0.0.1", ports[which])) for which in ("public", "admin")}

        before = shown()
        self.assertEqual(len(before), 1)
        self.renew()
        process.send_signal(signal.SIGHUP)
        wait_for("the new certificate on both listeners", lambda: len(shown()) == 1 and not shown() & before)
        after = shown()

        (self.place.dir / "own.pem").write_text("nothing of use\n")
        process.send_signal(signal.SIGHUP)

        def refused():
            return 'porchlight_certificate_reads_total{listener="public",outcome="failed"}' in fetch(f"http://127.0.0.1:{ports['ops']}/metrics")[1]

        wait_for("the refusal to be counted", refused)
        self.assertIn("the certificate stays as it is", self.place.log("renewed"))
        self.assertEqual(shown(), after)
        pings = visitor.pings
        visitor.read_until(lambda: visitor.pings >= pings + 2)
        self.assertFalse(visitor.closed)
        self.renew()

    def test_a_balancer_passes_connections_on(self):
        """TLS to the server, through an HAProxy that reads nothing of it and tells whom it saw."""
        protocol = {"PORCHLIGHT__PUBLIC__PROXY_PROTOCOL": "true", "PORCHLIGHT__PUBLIC__TRUSTED_PROXIES": "127.0.0.1/32"}
        _, ports = self.serve("behind", **protocol)
        front = free_port()
        file = self.place.dir / "balancer.cfg"
        file.write_text(
            "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"
            f"listen front\n  bind 127.0.0.1:{front}\n  server node 127.0.0.1:{ports['public']} send-proxy-v2\n"
        )
        self.place.listening("balancer", self.place.start("balancer", "haproxy", "-f", file), front)
        trust = self.place.trust()
        wait_for("the server", lambda: fetch(f"https://localhost:{front}/readyz", trust) == (200, "ok"))
        for at in range(10):
            self.assertEqual(guess(front, trust, "127.0.31.2", f"203.0.113.{at}"), 404, at)
        self.assertEqual(guess(front, trust, "127.0.31.2", "127.0.31.3"), 429)
        self.assertEqual(guess(front, trust, "127.0.31.3", None), 404)

    def test_check_config_looks_at_the_pair(self):
        self.addCleanup(self.renew)
        files = ["--tls-cert", self.place.dir / "own.pem", "--tls-key", self.place.dir / "own.key"]
        everywhere = ["--public-addr", "0.0.0.0:7400"]
        good(BIN, "check-config", *everywhere, *files)
        self.assertIn("public.addr", run(BIN, "check-config", *everywhere).stdout)
        (self.place.dir / "own.key").write_text((self.place.dir / "ca.key").read_text())
        done = run(BIN, "check-config", *everywhere, *files)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("public.tls_key: file", done.stdout)
        self.assertIn("is not the key of", done.stdout)
