"""A server that gets its certificate for itself, from an authority that looks at what it shows."""

import datetime
import signal
import ssl
import stat
import sys
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stage import BIN, ROOT, Place, fetch, free_port, good, run, wait_for
from visitor import Visitor

NAME = "help.example.com"


class Named(Visitor):
    """A page of the company's site, by the name that the certificate is for."""

    def __init__(self, port, trust, visitor):
        class AtHome:
            """Leads the name to this machine."""

            @staticmethod
            def wrap_socket(plain, server_hostname):
                assert server_hostname == "localhost"
                return trust.wrap_socket(plain, server_hostname=NAME)

        super().__init__(f"wss://localhost:{port}/v1/visitor", AtHome, visitor)


class Acme(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.close)
        self.place.certificates()
        self.ports = {which: free_port() for which in ("public", "ops", "admin", "authority")}

    def authority(self):
        folder, port = self.place.dir, self.ports["authority"]
        command = [sys.executable, ROOT / "tests/deploy/authority.py", folder, port, self.ports["public"], NAME]
        self.place.listening("authority", self.place.start("authority", *command), port)

    def settings(self, **more):
        return {
            "PORCHLIGHT__PUBLIC__ACME__NAMES": NAME,
            "PORCHLIGHT__PUBLIC__ACME__DIRECTORY": f"https://localhost:{self.ports['authority']}/directory",
            "PORCHLIGHT__PUBLIC__ACME__ACCEPT_TERMS": "true",
            "PORCHLIGHT__PUBLIC__ACME__EMAIL": "ops@example.com",
            "PORCHLIGHT__PUBLIC__ACME__CA": self.place.dir / "ca.pem",
        } | more

    def serve(self, name, **more):
        words = [word for which in ("public", "ops", "admin") for word in (f"--{which}-addr", f"127.0.0.1:{self.ports[which]}")]
        told = self.settings(**more) | {"PORCHLIGHT__DEMO__ENABLED": "true", "PORCHLIGHT__LIMITS__HEARTBEAT": "1s"}
        process = self.place.start(name, BIN, "serve", "--data-dir", self.place.dir / "data", *words, **told)
        self.place.listening(name, process, self.ports["ops"])
        return process

    def shown(self):
        """The certificate that a browser gets; none while there is none."""
        try:
            pem = ssl.get_server_certificate(("127.0.0.1", self.ports["public"]))
        except ssl.SSLError:
            return None
        return x509.load_pem_x509_certificate(pem.encode())

    def orders(self, outcome):
        return self.metric(f'porchlight_certificate_orders_total{{outcome="{outcome}"}}')

    def metric(self, name):
        _, text = fetch(f"http://127.0.0.1:{self.ports['ops']}/metrics")
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0)

    @property
    def kept(self):
        return self.place.dir / "data/acme/certificate.pem"

    def given_before(self):
        """A certificate of the authority of which less than a third is left."""
        folder, now, key = self.place.dir, datetime.datetime.now(datetime.UTC), ec.generate_private_key(ec.SECP256R1())
        signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        issuer = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()).subject
        names = x509.SubjectAlternativeName([x509.DNSName(NAME)])
        begins, ends = now - datetime.timedelta(days=65), now + datetime.timedelta(days=25)
        told = x509.CertificateBuilder(issuer, x509.Name([]), key.public_key(), x509.random_serial_number(), begins, ends)
        told = told.add_extension(names, critical=True).sign(signer, hashes.SHA256())
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.kept.parent.mkdir(parents=True)
        self.kept.write_bytes(key.private_bytes(*form) + told.public_bytes(serialization.Encoding.PEM))
        return told.serial_number

    def test_a_certificate_is_got_and_outlives_the_server(self):
        self.authority()
        server = self.serve("first")
        wait_for("a certificate", lambda: self.orders("got") == 1)
        # The authority has looked, and was nobody's failure.
        self.assertEqual(self.metric('porchlight_refusals_total{limit="tls"}'), 0)
        first, trust = self.shown(), self.place.trust()
        visitor = Named(self.ports["public"], trust, "C-1")
        self.addCleanup(visitor.close)
        self.assertEqual(visitor.texts[0]["type"], "connected")
        left = self.metric('porchlight_certificate_expires_timestamp_seconds{listener="public"}') - first.not_valid_before_utc.timestamp()
        self.assertAlmostEqual(left / 86400, 90, delta=1)
        for path in self.kept.parent.iterdir():
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)
        # Whoever looks for a challenge when there is none is shown nothing.
        looked = run("openssl", "s_client", "-connect", f"127.0.0.1:{self.ports['public']}", "-servername", NAME,
                     "-alpn", "acme-tls/1", "-brief", input="")  # fmt: skip
        self.assertNotEqual(looked.returncode, 0, looked.stdout)

        visitor.close()
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        self.serve("second")
        self.assertEqual(wait_for("the same certificate", self.shown).serial_number, first.serial_number)
        self.assertEqual((self.orders("got"), self.orders("failed")), (0, 0))

    def test_it_is_renewed_and_nobody_notices(self):
        old = self.given_before()
        server = self.serve("renews")
        # The authority is not there: what there is goes on being shown.
        wait_for("the first order to fail", lambda: self.orders("failed") == 1)
        self.assertEqual(self.shown().serial_number, old)
        visitor = Named(self.ports["public"], self.place.trust(), "C-1")
        self.addCleanup(visitor.close)
        self.authority()
        server.send_signal(signal.SIGHUP)
        new = wait_for("another certificate", lambda: self.shown().serial_number != old and self.shown())
        self.assertGreater(new.not_valid_after_utc, datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=80))
        self.assertEqual(self.orders("got"), 1)
        pings = visitor.pings
        visitor.read_until(lambda: visitor.pings >= pings + 2)
        self.assertFalse(visitor.closed)

    def test_an_authority_that_finds_no_way_here_is_told_of(self):
        self.authority()
        self.serve("lost", PORCHLIGHT__PUBLIC__ACME__NAMES="elsewhere.example")
        wait_for("the order to fail", lambda: self.orders("failed") == 1)
        log = self.place.log("lost")
        self.assertIn("the authority does not believe that elsewhere.example leads here, at port 443", log)
        self.assertIn("again=120s", log)
        self.assertIsNone(self.shown())
        self.assertFalse(self.kept.exists())
        self.assertEqual(fetch(f"http://127.0.0.1:{self.ports['ops']}/readyz"), (200, "ok"))

    def test_settings_are_looked_at_before(self):
        everywhere = ["--public-addr", "0.0.0.0:443", "--data-dir", self.place.dir / "data"]
        env = {key: str(value) for key, value in self.settings().items()}
        good(BIN, "check-config", *everywhere, env=env)
        for key, value, problem in (
            ("ACCEPT_TERMS", "false", "public.acme.accept_terms: the authority wants its terms"),
            ("NAMES", "10.0.0.1", "public.acme.names: must be names of hosts"),
            ("DIRECTORY", "http://localhost/", "public.acme.directory: must be an https:// address"),
        ):
            done = run(BIN, "check-config", *everywhere, env=env | {f"PORCHLIGHT__PUBLIC__ACME__{key}": value})
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(problem, done.stdout)
        looked = run(BIN, "doctor", *everywhere, env=env)
        self.assertIn("there is no certificate yet", looked.stdout)
