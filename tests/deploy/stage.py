"""What the tests of deploy/ and docs/ share: paths, processes that end with their test, and waiting for facts."""

import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = os.environ["PORCHLIGHT_BIN"]
DEADLINE = 40


def clean_environment():
    """The environment without settings of a server that somebody runs here."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PORCHLIGHT_")}


def run(*command, **options):
    """Runs a command to its end; its output is in the answer."""
    options.setdefault("env", clean_environment())
    return subprocess.run(
        [str(word) for word in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **options
    )


def good(*command, **options):
    """Runs a command that must succeed and answers with its output."""
    done = run(*command, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def wait_for(what, look):
    """Looks until there is something to see, and answers with it."""
    end = time.monotonic() + DEADLINE
    last = None
    while time.monotonic() < end:
        try:
            seen = look()
            if seen:
                return seen
        except (OSError, ValueError, KeyError, AssertionError) as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {DEADLINE} s ({last})")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def fetch(url, context=None, headers=None):
    """Status and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric_names():
    """Every metric the server emits, by its code."""
    text = (ROOT / "src/telemetry.rs").read_text()
    return {name: kind for name, kind in re.findall(r'= "(porchlight_\w+)", (Counter|Gauge|Histogram)', text)}


def metrics_in(expression):
    """The metrics that an expression names, histograms by their own name."""
    kinds = metric_names()
    found = set()
    for name in re.findall(r"\bporchlight_\w+", expression):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        found.add(base if kinds.get(base) == "Histogram" else name)
    return found


class Place:
    """A temporary folder with processes that end before it goes."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="porchlight-deploy."))
        self.processes = []

    def start(self, name, *command, **variables):
        log = open(self.dir / f"{name}.log", "w")
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.dir,
            env=clean_environment() | {key: str(value) for key, value in variables.items()},
        )
        log.close()
        self.processes.append(process)
        return process

    def log(self, name):
        return (self.dir / f"{name}.log").read_text()

    def listening(self, name, process, port):
        """Waits until a port answers; tells the log of a process that ended instead."""

        def look():
            if process.poll() is not None:
                raise SystemError(f"{name} ended with {process.returncode}:\n{self.log(name)}")
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True

        return wait_for(f"{name} on {port}", look)

    def node(self, name, **variables):
        """A server with the demo group on free ports: the process and its dev.json."""
        folder = self.dir / name
        address = [word for which in ("public", "ops", "admin") for word in (f"--{which}-addr", "127.0.0.1:0")]
        process = self.start(name, BIN, "dev", "--data-dir", folder, *address, **variables)

        def look():
            if process.poll() is not None:
                raise SystemError(f"{name} ended with {process.returncode}:\n{self.log(name)}")
            return json.loads((folder / "dev.json").read_text())

        return process, wait_for(f"the start of {name}", look)

    def redis(self):
        path = self.dir / "redis.sock"
        process = self.start(
            "redis", "redis-server", "--port", 0, "--unixsocket", path, "--save", "", "--maxmemory-policy", "noeviction"
        )
        wait_for("redis", path.exists)
        return process, f"redis+unix://{path}"

    def certificates(self):
        """An authority and a certificate of it for this machine and the names in our files; `both` has its key too."""
        if (self.dir / "both.pem").exists():
            return
        folder = self.dir
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:admin.example,DNS:help.example.com"
        (folder / "names").write_text(f"{names}\nbasicConstraints=CA:FALSE\n")
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        good("openssl", "req", "-x509", *ec, "-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-subj", "/CN=ca")
        good("openssl", "req", *ec, "-keyout", folder / "own.key", "-out", folder / "own.csr", "-subj", "/CN=localhost")
        good("openssl", "x509", "-req", "-in", folder / "own.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
             "-CAcreateserial", "-days", 2, "-extfile", folder / "names", "-out", folder / "own.pem")  # fmt: skip
        (folder / "both.pem").write_text((folder / "own.pem").read_text() + (folder / "own.key").read_text())

    def trust(self):
        return ssl.create_default_context(cafile=self.dir / "ca.pem")

    def close(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(3)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def master_secret():
    return secrets.token_hex(32)
