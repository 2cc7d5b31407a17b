"""The Debian package: made twice, looked through, and unpacked."""

import hashlib
import pathlib
import re
import stat
import subprocess
import tempfile
import unittest

from stage import BIN, DEPLOY, clean_environment, good


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

    def test_dpkg_takes_it(self):
        """dpkg itself unpacks it, into a root of its own."""
        root = self.at / "root"
        admin = root / "var/lib/dpkg"
        for folder in [admin / "info", admin / "updates", admin / "triggers", root / "var/log"]:
            folder.mkdir(parents=True)
        (admin / "status").touch()
        (admin / "available").touch()
        # What it depends on is not in this root, and no script of it runs when it is only unpacked.
        good("dpkg", f"--root={root}", "--force-depends", "--force-not-root", "--unpack", self.package)
        status = good("dpkg-query", f"--admindir={admin}", "-W", "-f", "${Status}", "porchlight")
        self.assertEqual(status, "install ok unpacked")
        self.assertEqual(
            (root / "usr/bin/porchlight").read_bytes(), self.files()["/usr/bin/porchlight"].read_bytes()
        )
