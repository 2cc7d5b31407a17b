"""The Debian package: made twice, looked through, installed, upgraded, removed and purged by dpkg, and its unit's commands run
with a socket where the service manager's would be."""

import hashlib
import pathlib
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import unittest

from stage import BIN, DEADLINE, DEPLOY, Place, clean_environment, free_port, good


class Debian(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.at = pathlib.Path(cls.folder.name)
        # A build for tests is a hundred megabytes of names; the package's tools take as long as it is large.
        cls.bin = cls.at / "porchlight"
        good("strip", "-o", cls.bin, BIN)
        cls.package = cls.build("one")
        cls.tree, cls.control = cls.at / "tree", cls.at / "control"
        good("dpkg-deb", "-x", cls.package, cls.tree)
        good("dpkg-deb", "-e", cls.package, cls.control)

    @classmethod
    def build(cls, name):
        env = clean_environment() | {"PORCHLIGHT_BIN": str(cls.bin), "SOURCE_DATE_EPOCH": "1750000000"}
        # A release is packed tighter; here it is unpacked at once.
        env |= {"DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1"}
        return pathlib.Path(good(DEPLOY / "debian/build", cls.at / name, env=env).split("\n")[-2])

    def field(self, name):
        return good("dpkg-deb", "-f", self.package, name).strip()

    def files(self):
        return {f"/{path.relative_to(self.tree)}": path for path in self.tree.rglob("*") if path.is_file()}

    def test_same_every_time(self):
        again = self.build("two")
        self.assertEqual(self.package.name, again.name)
        same = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (self.package, again)]
        self.assertEqual(*same)

    def test_fields(self):
        version = good(BIN, "--version").split()[1]
        self.assertEqual(self.field("Package"), "porchlight")
        self.assertEqual(self.field("Version"), f"{version}-1")
        self.assertEqual(self.field("Architecture"), good("dpkg", "--print-architecture").strip())
        self.assertRegex(self.field("Maintainer"), r"^\S.* <\S+@\S+>$")
        self.assertRegex(self.field("Depends"), r"\blibc6 \(>= [\d.]+\)")
        self.assertEqual(self.field("Section"), "net")
        synopsis, *rest = self.field("Description").split("\n")
        self.assertLess(len(synopsis), 80)
        self.assertFalse(synopsis.endswith(".") or synopsis.lower().startswith(("a ", "the ")))
        self.assertTrue(rest and all(line.startswith(" ") and len(line) <= 80 for line in rest))
        size = int(self.field("Installed-Size"))
        self.assertAlmostEqual(size, sum(file.stat().st_size for file in self.files().values()) / 1024, delta=size / 10 + 200)

    def test_nothing_is_missing(self):
        files = self.files()
        for path in [
            "/usr/bin/porchlight",
            "/usr/lib/systemd/system/porchlight.service",
            "/etc/porchlight/porchlight.toml",
            "/usr/share/doc/porchlight/copyright",
            "/usr/share/doc/porchlight/changelog.gz",
            "/usr/share/doc/porchlight/changelog.Debian.gz",
            "/usr/share/doc/porchlight/docs/SUMMARY.md",
            "/usr/share/doc/porchlight/examples/nginx-one.conf",
            "/usr/share/bash-completion/completions/porchlight",
            "/usr/share/zsh/vendor-completions/_porchlight",
            "/usr/share/fish/vendor_completions.d/porchlight.fish",
            "/usr/share/man/man1/porchlight.1.gz",
            "/usr/share/man/man1/porchlight-serve.1.gz",
            "/usr/share/man/man1/porchlight-admin-node.1.gz",
        ]:
            self.assertIn(path, files)
        for path in files:
            self.assertRegex(path, r"^/(usr|etc)/(?!local/)", "nothing is laid where packages lay nothing")

    def test_modes_and_owners(self):
        for line in good("dpkg-deb", "-c", self.package).splitlines():
            mode, owner, path = (line.split()[at] for at in (0, 1, 5))
            self.assertEqual(owner, "root/root", path)
            self.assertNotIn("s", mode[1:], f"{path} is setuid or setgid")
            self.assertEqual(mode[5], "-", f"{path} may be written by its group")
            self.assertEqual(mode[8], "-", f"{path} may be written by all")
            if mode[0] == "-":
                self.assertEqual("x" in mode, path == "./usr/bin/porchlight", path)

    def test_sums_and_configuration(self):
        listed = {}
        for line in (self.control / "md5sums").read_text().splitlines():
            total, path = line.split("  ", 1)
            listed[f"/{path}"] = total
        expected = {path: hashlib.md5(file.read_bytes()).hexdigest() for path, file in self.files().items() if path.startswith("/usr/")}
        self.assertEqual(listed, expected)
        self.assertEqual((self.control / "conffiles").read_text().split(), [p for p in self.files() if p.startswith("/etc/")])

    def test_scripts(self):
        for name in ["postinst", "prerm", "postrm"]:
            script = self.control / name
            self.assertTrue(script.stat().st_mode & stat.S_IXUSR)
            text = script.read_text()
            self.assertTrue(text.startswith("#!/bin/sh\n"))
            self.assertIn("\nset -e\n", text)
            good("sh", "-n", script)
            self.assertNotRegex(text, r"\brm\b", "nothing that was kept is deleted")

    def test_changelog(self):
        text = subprocess.run(["zcat", self.files()["/usr/share/doc/porchlight/changelog.Debian.gz"]], stdout=-1, check=True).stdout
        said = good("dpkg-parsechangelog", "-l", "-", "-S", "Version", input=text.decode())
        self.assertEqual(said.strip(), self.field("Version"))

    def test_what_was_unpacked_works(self):
        files = self.files()
        program = files["/usr/bin/porchlight"]
        good(program, "check-config", "--config", files["/etc/porchlight/porchlight.toml"], env={})
        manual = good("man", "-l", files["/usr/share/man/man1/porchlight-serve.1.gz"])
        self.assertIn("porchlight-serve", manual)
        unit = files["/usr/lib/systemd/system/porchlight.service"].read_text()
        for path in re.findall(r"^Exec\w+=(/usr/bin/\S+)", unit, re.M):
            self.assertIn(path, files)

    # ── Installed ────────────────────────────────────────────────────────────────────────────────

    def next_version(self):
        """The package as a later version has it, with other settings than the one before came with."""
        tree = self.at / "next"
        good("dpkg-deb", "-R", self.package, tree)
        control = tree / "DEBIAN/control"
        control.write_text(re.sub(r"(?m)^Version: .*$", "Version: 99.0.0-1", control.read_text()))
        with (tree / "etc/porchlight/porchlight.toml").open("a") as settings:
            settings.write("# What came with a later version.\n")
        package = self.at / "next.deb"
        good("dpkg-deb", "-z1", "-Zgzip", "--root-owner-group", "--build", tree, package)
        return package

    def test_from_the_installation_to_the_purge(self):
        """dpkg itself, in a root of its own: what an operator changed and what the server kept outlive all but what they may not."""
        place = Place()
        self.addCleanup(place.close)
        root = place.dir / "root"
        admin = root / "var/lib/dpkg"
        for folder in [admin / "info", admin / "updates", admin / "triggers", root / "var/log"]:
            folder.mkdir(parents=True)
        (admin / "status").touch()
        (admin / "available").touch()
        binary, settings = root / "usr/bin/porchlight", root / "etc/porchlight/porchlight.toml"
        unit, data = root / "usr/lib/systemd/system/porchlight.service", root / "var/lib/private/porchlight"
        started = root / "etc/systemd/system/multi-user.target.wants/porchlight.service"

        def dpkg(*words):
            # Its scripts run, with this machine's programs: that root has none. Nor has it what the package depends on.
            forced = ["--force-script-chrootless", "--force-depends", "--force-not-root"]
            return good("dpkg", f"--root={root}", *forced, *words, stdin=subprocess.DEVNULL)

        def status():
            return good("dpkg-query", f"--admindir={admin}", "-W", "-f", "${Status} ${Version}", "porchlight").split()

        dpkg("--install", self.package)
        self.assertEqual(status(), ["install", "ok", "installed", self.field("Version")])
        self.assertEqual(binary.read_bytes(), self.files()["/usr/bin/porchlight"].read_bytes())
        self.assertEqual(pathlib.Path(started.readlink()), pathlib.Path("/") / unit.relative_to(root), "it starts with the machine")

        # The operator's own settings.
        shipped = settings.read_text()
        ports = {7400: free_port(), 7401: free_port(), 7402: free_port()}
        own = re.sub(r"127\.0\.0\.1:(740\d)", lambda found: f"127.0.0.1:{ports[int(found[1])]}", shipped)
        own = own.replace("/var/lib/porchlight", str(data))
        self.assertNotEqual(own, shipped)
        settings.write_text(own)
        data.mkdir(parents=True, mode=0o700)
        key = place.dir / "admin-key"
        asked = ["--addr", f"127.0.0.1:{ports[7402]}", "--key-file", key]
        with Service(place, "first", root) as service:
            key.write_text(good(binary, "token", "admin-key", "--data-dir", data))
            good(binary, "admin", "create-group", "acme", *asked)
            service.reloads()

        dpkg("--force-confdef", "--force-confold", "--install", self.next_version())
        self.assertEqual(status(), ["install", "ok", "installed", "99.0.0-1"])
        self.assertEqual(settings.read_text(), own, "what the operator changed stays")
        self.assertIn("later version", settings.with_name("porchlight.toml.dpkg-dist").read_text())
        self.assertTrue(started.is_symlink())
        with Service(place, "second", root):
            self.assertIn("acme", good(binary, "admin", "list-groups", *asked))

        dpkg("--remove", "porchlight")
        self.assertEqual(status()[:3], ["deinstall", "ok", "config-files"])
        self.assertFalse(binary.exists() or unit.exists())
        self.assertEqual(settings.read_text(), own, "a package that comes back finds its settings")

        kept = sorted(path.name for path in data.iterdir())
        self.assertIn("master.key", kept)
        dpkg("--purge", "porchlight")
        self.assertFalse((root / "etc/porchlight").exists())
        self.assertFalse(started.is_symlink())
        self.assertEqual(sorted(path.name for path in data.iterdir()), kept, "proofs of consent are not a package's to delete")
        left = [path for path in (root / "etc").rglob("*") if not path.is_dir()]
        self.assertEqual(left, [])
        shutil.rmtree(root)


class Service:
    """The installed unit, started and stopped as far as the server sees of systemd: its commands, its signals, its socket."""

    def __init__(self, place, name, root):
        self.place, self.name, self.root = place, name, root
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(DEADLINE)
        self.address = place.dir / f"{name}.notify"
        self.socket.bind(str(self.address))

    def command(self, key):
        unit = (self.root / "usr/lib/systemd/system/porchlight.service").read_text()
        words = shlex.split(re.search(rf"(?m)^{key}=(.*)$", unit)[1])
        return [f"{self.root}{word}" if word.startswith("/") else word for word in words]

    def hears(self, state):
        """Waits until the server says so; what it says between is not looked at."""
        while state not in self.socket.recv(4096).decode().splitlines():
            pass

    def __enter__(self):
        good(*self.command("ExecStartPre"))
        self.process = self.place.start(self.name, *self.command("ExecStart"), NOTIFY_SOCKET=self.address)
        self.hears("READY=1")
        return self

    def reloads(self):
        self.process.send_signal(signal.SIGHUP)
        self.hears("RELOADING=1")
        self.hears("READY=1")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.hears("STOPPING=1")
        status = self.process.wait(DEADLINE)
        assert status == 0, f"it ended with {status}: {self.place.log(self.name)}"
        self.socket.close()
