"""The archive of a release: made twice, looked through, and unpacked. Of the server that the other tests use."""

import hashlib
import json
import pathlib
import re
import shutil
import sys
import tarfile
import tempfile
import unittest

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from stage import BIN, DEPLOY, ROOT, clean_environment, good, run

EPOCH = 1750000000
BUILDS = pathlib.Path(BIN).resolve().parent / "build"


class Release(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.at = pathlib.Path(cls.folder.name)
        # A build for tests is a hundred megabytes of names.
        cls.bin = cls.at / "porchlight"
        good("strip", "-o", cls.bin, BIN)
        cls.archive = cls.build("one")
        cls.version = good(BIN, "--version").split()[1]
        cls.name = cls.archive.name.removesuffix(".tar.gz")
        with tarfile.open(cls.archive) as archive:
            cls.members = archive.getmembers()
            archive.extractall(cls.at / "tree")
        cls.tree = cls.at / "tree" / cls.name

    @classmethod
    def build(cls, name):
        env = clean_environment() | {"SOURCE_DATE_EPOCH": str(EPOCH), "PORCHLIGHT_PYTHON": sys.executable}
        # A release is packed tighter; here it is unpacked at once.
        env |= {"PORCHLIGHT_GZIP": "1"}
        told = good(DEPLOY / "release/build", "--binary", cls.bin, cls.at / name, env=env)
        return pathlib.Path(told.split("\n")[-2])

    def bill(self):
        return json.loads((self.tree / "porchlight.cdx.json").read_text())

    def test_same_every_time(self):
        again = self.build("two")
        self.assertEqual(again.name, self.archive.name)
        for path in sorted(self.archive.parent.iterdir()):
            self.assertEqual(path.read_bytes(), (again.parent / path.name).read_bytes(), path.name)

    def test_its_name_tells_version_and_target(self):
        self.assertRegex(self.name, rf"^porchlight-{re.escape(self.version)}-\w+-\w+-linux-\w+$")
        self.assertEqual({member.name.split("/")[0] for member in self.members}, {self.name})

    def test_checksums(self):
        sums = self.archive.parent / f"{self.name}.sha256"
        good("sha256sum", "--check", "--strict", sums.name, cwd=sums.parent)
        listed = {line.split()[1]: line.split()[0] for line in sums.read_text().splitlines()}
        self.assertEqual(set(listed), {self.archive.name, f"{self.name}.cdx.json"})
        self.assertEqual(listed[self.archive.name], hashlib.sha256(self.archive.read_bytes()).hexdigest())

    def test_modes_owners_and_times(self):
        for member in self.members:
            self.assertEqual((member.uid, member.gid, member.mtime), (0, 0, EPOCH), member.name)
            self.assertTrue(member.isdir() or member.isfile(), member.name)
            program = member.isdir() or member.name == f"{self.name}/porchlight"
            self.assertEqual(member.mode, 0o755 if program else 0o644, member.name)

    def test_nothing_is_missing(self):
        for path in [
            "porchlight", "README.md", "CHANGELOG.md", "LICENSE", "porchlight.service", "porchlight.toml", "docs/SUMMARY.md",
            "completions/porchlight.bash", "completions/_porchlight", "completions/porchlight.fish", "porchlight.cdx.json",
            "man/porchlight.1", "man/porchlight-serve.1", "man/porchlight-admin-node.1",
        ]:  # fmt: skip
            self.assertGreater((self.tree / path).stat().st_size, 0, path)

    def test_what_was_unpacked_works(self):
        program = self.tree / "porchlight"
        self.assertEqual(program.read_bytes(), self.bin.read_bytes())
        self.assertRegex(good(program, "--version"), r"^porchlight \d+\.\d+\.\d+\S*( \([0-9a-f]{12}\))?\n$")
        good(program, "check-config", "--config", self.tree / "porchlight.toml")
        good("bash", "-n", self.tree / "completions/porchlight.bash")
        shown = good("man", "--warnings", "-l", self.tree / "man/porchlight.1", env=clean_environment() | {"MANWIDTH": "100"})
        self.assertIn("porchlight-serve(1)", shown)
        self.assertNotIn("warning", shown)

    def test_the_list_of_parts_is_whole(self):
        text = (self.tree / "porchlight.cdx.json").read_text()
        self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text))
        self.assertEqual(text, (self.archive.parent / f"{self.name}.cdx.json").read_text())
        bill = self.bill()
        self.assertEqual((bill["metadata"]["component"]["name"], bill["metadata"]["component"]["version"]), ("porchlight", self.version))
        parts = {part["name"]: part for part in bill["components"]}
        for name in ["tokio", "rustls", "tonic", "rusqlite", "record", "replay"]:
            self.assertIn(name, parts)
        for name in ["criterion", "proptest", "tonic-prost-build", "protox"]:
            self.assertNotIn(name, parts, "it only builds or tests the server")
        locked = (ROOT / "Cargo.lock").read_text()
        for part in parts.values():
            self.assertTrue(part["licenses"], part["name"])
            self.assertTrue(part["hashes"], part["name"])
            if part["purl"].startswith("pkg:cargo/"):
                self.assertIn(f'name = "{part["name"]}"\nversion = ', locked)
        refs = {part["bom-ref"] for part in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
        self.assertEqual({need["ref"] for need in bill["dependencies"]}, refs)
        self.assertNotIn(str(ROOT), text, "no path of whoever made it")

    def test_the_version_tells_the_commit(self):
        """What the build asks git: in a repository, in a tree within one, and where it is told the commit."""
        [*_, (_, program)] = sorted((path.stat().st_mtime, path) for path in BUILDS.glob("porchlight-*/build-script-build"))
        tree = self.at / "repository"
        vendored = tree / "vendored"
        for folder in (tree, vendored):
            shutil.copytree(ROOT / "proto", folder / "proto")
        git = ["git", "-C", tree, "-c", "user.name=a", "-c", "user.email=a@example.com"]
        good("git", "init", "--quiet", tree)
        good(*git, "add", "proto")
        good(*git, "commit", "--quiet", "-m", "one")
        commit = good("git", "-C", tree, "rev-parse", "HEAD").strip()

        def told(folder, **env):
            out = self.at / "out"
            out.mkdir(exist_ok=True)
            env = clean_environment() | {"OUT_DIR": str(out), "CARGO_PKG_VERSION": "1.2.3", "PROFILE": "release"} | env
            return run(program, cwd=folder, env=env)

        said = told(tree).stdout
        self.assertIn(f"cargo:rustc-env=PORCHLIGHT_VERSION=1.2.3 ({commit[:12]})\n", said)
        watched = [line.split("=", 1)[1] for line in said.splitlines() if line.startswith("cargo:rerun-if-changed=")]
        # The next commit is seen, and nothing is watched that is not there: that would build anew each time.
        self.assertTrue(any(path.endswith("logs/HEAD") for path in watched), watched)
        for path in watched:
            self.assertTrue((tree / path).exists() or path == "build.rs", path)
        self.assertIn("VERSION=1.2.3\n", told(vendored).stdout, "the commit of a tree around it is another's")
        self.assertIn("VERSION=1.2.3\n", told(tree, PROFILE="debug").stdout)
        self.assertIn("VERSION=1.2.3 (0123456789ab)\n", told(vendored, PORCHLIGHT_COMMIT="0123456789abcdef").stdout)
        self.assertIn("VERSION=1.2.3 (0123456789ab)\n", told(tree, PROFILE="debug", PORCHLIGHT_COMMIT="0123456789abcdef").stdout)
        refused = told(tree, PORCHLIGHT_COMMIT="main\nx")
        self.assertNotEqual(refused.returncode, 0)
        self.assertNotIn("PORCHLIGHT_VERSION", refused.stdout)

    def test_what_makes_no_sense_is_refused(self):
        for words, said in [
            (["--binary", "/nowhere"], "there is no server"),
            (["--quick"], "unknown option"),
            (["one", "two"], "two folders"),
        ]:
            done = run(DEPLOY / "release/build", *words)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn(said, done.stdout)


if __name__ == "__main__":
    unittest.main()
