"""The image: deploy/Dockerfile built by a builder without a daemon over what `images` makes, and the server started in it."""

import json
import stat
import subprocess
import unittest

from images import shared
from stage import BIN, Place, free_port, good, wait_for


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.images = shared()
        cls.place = Place()
        cls.addClassCleanup(cls.place.close)
        cls.container = cls.images.buildah("from", "--pull-never", "porchlight").split()[-1]

    def test_what_it_says_of_itself(self):
        told = json.loads(self.images.buildah("inspect", "--type=image", "porchlight"))["Docker"]["config"]
        self.assertEqual(told["User"], "10001:10001")
        self.assertEqual(told["Entrypoint"], ["/usr/local/bin/porchlight"])
        self.assertEqual(told["Cmd"], ["serve"])
        self.assertEqual(told["Healthcheck"]["Test"], ["CMD", "/usr/local/bin/porchlight", "healthcheck"])
        self.assertEqual(set(told["ExposedPorts"]), {"7400/tcp", "7401/tcp"})
        self.assertIn("/var/lib/porchlight", told["Volumes"])

    def test_the_server_in_it(self):
        """It runs as its user, writes to its folder alone, and is well by its own check."""
        ports = {name: free_port() for name in ("PUBLIC", "OPS", "ADMIN")}
        told = [f"--env=PORCHLIGHT__{name}__ADDR=127.0.0.1:{port}" for name, port in ports.items()]
        inside = self.images.command("run", "--isolation=chroot", *told, self.container, "--")
        server = self.place.start("server", *inside, "/usr/local/bin/porchlight", "serve")

        def well():
            done = subprocess.run([*inside, "/usr/local/bin/porchlight", "healthcheck"], stdout=-1, stderr=-1, timeout=30)
            if server.poll() is not None:
                raise SystemError(self.place.log("server"))
            return done.returncode == 0

        wait_for("the server in the image to be well", well)
        self.assertEqual(good(*inside, "/usr/local/bin/porchlight", "--version"), good(BIN, "--version"))
        self.assertIn("uid=10001 gid=10001", good(*inside, "/bin/id"))
        secret = good(*inside, "/bin/stat", "-c", "%a %u", "/var/lib/porchlight/master.key")
        self.assertEqual(secret.split(), ["600", "10001"])
        denied = subprocess.run([*inside, "/bin/touch", "/usr/local/bin/x"], stdout=-1, stderr=-1, timeout=30)
        self.assertNotEqual(denied.returncode, 0)
        mode = good(*inside, "/bin/stat", "-c", "%a", "/var/lib/porchlight").strip()
        self.assertEqual(int(mode, 8), stat.S_IRWXU)
