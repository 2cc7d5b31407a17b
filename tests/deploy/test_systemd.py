"""The systemd unit, by systemd's own tools."""

import pathlib
import re
import tempfile
import tomllib
import unittest

from stage import BIN, DEPLOY, good, run

UNIT = DEPLOY / "porchlight.service"

# What `systemd-analyze security` may say at most, of 10: 2.0 is "OK". A service without any hardening has 9.6.
EXPOSURE = 2.0


class Systemd(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def unit(self, change=lambda text: text):
        """The unit with a program that is there."""
        file = self.folder / "porchlight.service"
        file.write_text(change(UNIT.read_text().replace("/usr/bin/porchlight", BIN)))
        return file

    def test_verify(self):
        said = good("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", self.unit())
        self.assertEqual(said.strip(), "")

    def test_verify_sees_mistakes(self):
        for change in [
            lambda text: text.replace("WatchdogSec=30", "WatchdogSek=30"),
            lambda text: text.replace(BIN, "/nowhere/porchlight"),
        ]:
            done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", self.unit(change))
            self.assertNotEqual(done.stdout.strip(), "")

    def test_security(self):
        threshold = f"--threshold={round(EXPOSURE * 10)}"
        good("systemd-analyze", "security", "--no-pager", "--offline=true", threshold, self.unit())
        bare = self.unit(lambda text: re.sub(r"(?m)^(Protect|Private|Restrict|System|NoNew|Cap).*\n", "", text))
        done = run("systemd-analyze", "security", "--no-pager", "--offline=true", threshold, bare)
        self.assertNotEqual(done.returncode, 0, "an unprotected unit is let pass")

    def test_times(self):
        """It waits for Redis at the start and for the drain at the end."""
        told = dict(re.findall(r"(?m)^(Timeout\w+|WatchdogSec)=(\d+)$", UNIT.read_text()))
        config = tomllib.loads(good(BIN, "print-config", env={}))
        self.assertGreater(int(told["TimeoutStartSec"]), int(config["redis"]["wait"].rstrip("s")))
        self.assertGreater(int(told["TimeoutStopSec"]), int(config["limits"]["drain"].rstrip("s")))
        self.assertIn("WatchdogSec", told)

    def test_commands_exist(self):
        commands = re.findall(r"(?m)^Exec\w+=/usr/bin/porchlight (\S+) --config (\S+)$", UNIT.read_text())
        self.assertEqual([command for command, _ in commands], ["check-config", "serve"])
        for command, file in commands:
            self.assertIn("--config", good(BIN, command, "--help"))
            self.assertEqual(file, "/etc/porchlight/porchlight.toml")

    def test_data_goes_where_it_may(self):
        settings = tomllib.loads((DEPLOY / "porchlight.toml").read_text())
        state = re.search(r"(?m)^StateDirectory=(\S+)$", UNIT.read_text())[1]
        self.assertEqual(settings["store"]["data_dir"], f"/var/lib/{state}")
