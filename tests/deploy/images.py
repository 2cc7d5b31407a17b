"""Images without a registry: deploy/Dockerfile built by a builder without a daemon, and what stands in for images of others.

The images of others can't be had everywhere, so small ones of the same name take their place. Of the two that the Dockerfile
builds on, the first has a `cargo` that looks at what it was given and brings a built server, the second the libraries of this
machine. Those that the compose files name hold the programs of this machine's packages, with the user, the folders and
the commands of the images that they stand for.
"""

import atexit
import functools
import json
import os
import pathlib
import re
import shutil
import tempfile

from stage import BIN, DEPLOY, ROOT, Place, good, run

COMMIT = "0123456789abcdef0123456789abcdef01234567"

CARGO = """#!/bin/sh
set -e
test "$*" = "build --release --locked --bin porchlight"
# What build.rs tells as the version (test_release).
test "$PORCHLIGHT_COMMIT" = "@COMMIT@"
for needed in Cargo.toml Cargo.lock build.rs src/main.rs src/lib.rs proto/porchlight/v1/admin.proto web/porchlight.js benches; do
  test -e "$needed"
done
for unwanted in target .git docs web/node_modules; do
  test ! -e "$unwanted"
done
mkdir -p target/release
cp /built target/release/porchlight
"""

ROOTED = [] if os.geteuid() == 0 else ["sudo", "-n"]


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


class Images:
    """Images in a folder of the test, which is also where containers of them are kept."""

    def __init__(self, place):
        self.dir = place.dir
        self.server = self.dir / "porchlight"
        good("strip", "-o", self.server, BIN)

    def command(self, *words):
        return [*ROOTED, "buildah", "--storage-driver=vfs", f"--root={self.dir}/images", f"--runroot={self.dir}/run", *map(str, words)]

    def buildah(self, *words):
        return good(*self.command(*words))

    def base(self, name, tools, fill, owned=None, **settings):
        """An image with these programs and what `fill` puts into it; `owned` is a folder with the number of its user."""
        with tempfile.TemporaryDirectory(dir=self.dir) as folder:
            tree = pathlib.Path(folder)
            (tree / "tmp").mkdir()
            for tool in tools:
                bring(tree, shutil.which(tool), f"bin/{tool}")
            fill(tree)
            container = self.buildah("from", "scratch").split()[-1]
            self.buildah("copy", container, tree, "/")
            for path, user in (owned or {}).items():
                (tree / "empty").mkdir(exist_ok=True)
                self.buildah("copy", f"--chown={user}:{user}", container, tree / "empty", path)
            told = [f"--{key.replace('_', '-')}={json.dumps(value) if isinstance(value, list) else value}" for key, value in settings.items()]
            self.buildah("config", "--env=PATH=/usr/local/bin:/usr/bin:/bin", *told, container)
            self.buildah("commit", "-q", "--rm", container, name)

    def foundations(self):
        """What deploy/Dockerfile builds on."""
        tools = ["sh", "install", "rm", "mkdir", "cp", "test", "stat", "touch", "id"]
        self.base("docker.io/library/rust:1-bookworm", tools, self.like_rust)
        self.base("docker.io/library/debian:bookworm-slim", tools, self.like_debian)

    def like_rust(self, tree):
        bring(tree, self.server, "built")
        program(tree / "usr/bin/apt-get", "#!/bin/sh\n")
        program(tree / "usr/bin/cargo", CARGO.replace("@COMMIT@", COMMIT))

    def like_debian(self, tree):
        bring(tree, self.server, "porchlight")
        (tree / "porchlight").unlink()

    def porchlight(self):
        self.foundations()
        # Docker finds the list of what is left out by itself.
        ignored = DEPLOY / "Dockerfile.dockerignore"
        self.buildah("bud", "--format=docker", "--layers=false", "--pull-never", "--isolation=chroot", f"--ignorefile={ignored}",
                     f"--build-arg=PORCHLIGHT_COMMIT={COMMIT}", "-f", DEPLOY / "Dockerfile", "-t", "porchlight", ROOT)  # fmt: skip

    def close(self):
        """Containers of root leave files of root."""
        run(*ROOTED, "rm", "-rf", self.dir)


@functools.cache
def shared():
    """The images that the tests of one run share, with porchlight's among them."""
    place = Place()
    images = Images(place)
    atexit.register(images.close)
    images.porchlight()
    return images
