"""An authority of certificates that speaks ACME: acme2certifier with a root made by openssl, over TLS, as a process of its own.

    python authority.py FOLDER PORT LISTENER NAME...

FOLDER holds `ca.pem`, `ca.key` and `both.pem`, which the authority itself shows. What would be found by asking the domain name
system is told: each NAME is on this machine, and its port 443 is LISTENER. All the rest is the authority's own: accounts,
nonces and signatures, the look at the challenge and what must be in it, and the certificate. `days` in FOLDER, if it is there,
says for how long certificates hold.
"""

import datetime
import os
import pathlib
import socketserver
import ssl
import sys
from wsgiref.simple_server import WSGIServer, make_server

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

folder, port, listener, names = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
days = folder / "days"
(folder / "authority.cfg").write_text(
    f"""[DEFAULT]
server_name: localhost:{port}
[Nonce]
nonce_check_disable: False
[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {folder / "ca.key"}
issuing_ca_cert: {folder / "ca.pem"}
issuing_ca_crl: {folder / "ca.crl"}
cert_save_path: {folder / "given"}
cert_validity_days: {days.read_text() if days.exists() else 90}
[DBhandler]
handler: wsgi
dbfile: {folder / "authority.db"}
[Challenge]
http_01_support: False
dns_01_support: False
[Order]
tnauthlist_support: False
"""
)
# It wants a place for copies of what it gives, and a list of what it has taken back: nothing.
(folder / "given").mkdir(exist_ok=True)
now = datetime.datetime.now(datetime.UTC)
issuer = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()).subject
listed = x509.CertificateRevocationListBuilder(issuer, now, now + datetime.timedelta(days=1))
key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
(folder / "ca.crl").write_bytes(listed.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
os.environ["ACME_SRV_CONFIGFILE"] = str(folder / "authority.cfg")

from acme2certifier.acme_srv import helper  # noqa: E402
from acme2certifier.share import acme2certifier_wsgi as served  # noqa: E402


def found(_logger, name, *_servers, **_options):
    return ("127.0.0.1", False, None) if name in names else (None, True, f"{name} is no name here")


def at_the_listener(look):
    return lambda logger, name, _port, *words, **options: look(logger, name, listener, *words, **options)


helper.fqdn_resolve = found
helper.servercert_get = at_the_listener(helper.servercert_get)


class Threaded(socketserver.ThreadingMixIn, WSGIServer):
    """Its own look for a challenge is answered while it waits."""

    daemon_threads = True


class Secured(served.get_handler_cls()):
    def get_environ(self):
        return super().get_environ() | {"wsgi.url_scheme": "https", "HTTPS": "on"}


server = make_server("127.0.0.1", port, served.application, Threaded, Secured)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder / "both.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
