"""The image: deploy/Dockerfile built by a builder without a daemon, and the server started in it.

The images that it builds on can't be had everywhere, so small ones take their place: the first stage finds a `cargo` that
looks at what it was given and brings a built server, the second one the libraries of this machine.
"""

import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import unittest

from stage import BIN, DEPLOY, ROOT, Place, free_port, good, wait_for

CARGO = """#!/bin/sh
set -e
test "$*" = "build --release --locked --bin porchlight"
for needed in Cargo.toml Cargo.lock build.rs src/main.rs src/lib.rs proto/porchlight/v1/admin.proto web/porchlight.js benches; do
  test -e "$needed"
done
for unwanted in target .git docs web/node_modules; do
  test ! -e "$unwanted"
done
mkdir -p target/release
cp /built target/release/porchlight
"""


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def bring(tree, file, place):
    """Copies a program of this machine, with the libraries that it needs."""
    found = {place: file} | {path.lstrip("/"): path for path in re.findall(r"(/\S+) \(0x", good("ldd", file))}
    for name, source in found.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        if not (tree / name).exists():
            shutil.copy(source, tree / name)


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.close)
        folder = cls.place.dir
        cls.server = folder / "porchlight"
        good("strip", "-o", cls.server, BIN)
        cls.base("docker.io/library/rust:1-bookworm", cls.like_rust)
        cls.base("docker.io/library/debian:bookworm-slim", cls.like_debian)
        ignore = DEPLOY / "Dockerfile.dockerignore"
        cls.buildah("bud", "--format=docker", "--pull-never", "--isolation=chroot", f"--ignorefile={ignore}",
                    "-f", DEPLOY / "Dockerfile", "-t", "porchlight", ROOT)  # fmt: skip
        cls.container = cls.buildah("from", "--pull-never", "porchlight").split()[-1]

    @classmethod
    def command(cls, *words):
        """buildah with its storage in a folder of the test."""
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        folder = cls.place.dir
        return [*root, "buildah", "--storage-driver=vfs", f"--root={folder}/images", f"--runroot={folder}/run", *map(str, words)]

    @classmethod
    def buildah(cls, *words):
        return good(*cls.command(*words))

    @classmethod
    def base(cls, name, fill):
        with tempfile.TemporaryDirectory(dir=cls.place.dir) as folder:
            tree = pathlib.Path(folder)
            (tree / "tmp").mkdir()
            for tool in ["sh", "install", "rm", "mkdir", "cp", "test", "stat", "touch", "id"]:
                bring(tree, shutil.which(tool), f"bin/{tool}")
            fill(tree)
            container = cls.buildah("from", "scratch").split()[-1]
            cls.buildah("copy", container, tree, "/")
            cls.buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
            cls.buildah("commit", "-q", "--rm", container, name)

    @classmethod
    def like_rust(cls, tree):
        bring(tree, cls.server, "built")
        program(tree / "usr/bin/apt-get", "#!/bin/sh\n")
        program(tree / "usr/bin/cargo", CARGO)

    @classmethod
    def like_debian(cls, tree):
        bring(tree, cls.server, "porchlight")
        (tree / "porchlight").unlink()

    def test_what_it_says_of_itself(self):
        told = json.loads(self.buildah("inspect", "--type=image", "porchlight"))["Docker"]["config"]
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
        inside = self.command("run", "--isolation=chroot", *told, self.container, "--")
        server = self.place.start("server", *inside, "/usr/local/bin/porchlight", "serve")

        def well():
            done = subprocess.run([*inside, "/usr/local/bin/porchlight", "healthcheck"], stdout=-1, stderr=-1, timeout=30)
            if server.poll() is not None:
                raise SystemError(self.place.log("server"))
            return done.returncode == 0

        wait_for("the server in the image to be well", well)
        self.assertIn("uid=10001 gid=10001", good(*inside, "/bin/id"))
        secret = good(*inside, "/bin/stat", "-c", "%a %u", "/var/lib/porchlight/master.key")
        self.assertEqual(secret.split(), ["600", "10001"])
        denied = subprocess.run([*inside, "/bin/touch", "/usr/local/bin/x"], stdout=-1, stderr=-1, timeout=30)
        self.assertNotEqual(denied.returncode, 0)
        mode = good(*inside, "/bin/stat", "-c", "%a", "/var/lib/porchlight").strip()
        self.assertEqual(int(mode, 8), stat.S_IRWXU)
