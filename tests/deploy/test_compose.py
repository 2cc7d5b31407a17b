"""Compose files and the image's description: by the schema of the Compose specification, and what they lean on."""

import pathlib
import re
import sys
import tempfile
import tomllib
import unittest

import yaml

from stage import BIN, DEPLOY, good, run

FILES = [DEPLOY / "compose.yaml", DEPLOY / "cluster/compose.yaml"]


def services(file):
    return yaml.safe_load(file.read_text())["services"]


class Compose(unittest.TestCase):
    def test_schema(self):
        check = pathlib.Path(sys.executable).with_name("check-jsonschema")
        for file in FILES:
            good(check, "--builtin-schema", "vendor.compose-spec", file)

    def test_the_schema_refuses(self):
        check = pathlib.Path(sys.executable).with_name("check-jsonschema")
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(FILES[0].read_text().replace("restart: unless-stopped", "restrat: unless-stopped"))
            file.flush()
            done = run(check, "--builtin-schema", "vendor.compose-spec", file.name)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("restrat", done.stdout)

    def test_mounted_files_exist(self):
        mounts = 0
        for file in FILES:
            for service in services(file).values():
                for volume in service.get("volumes", []):
                    source = volume.split(":")[0]
                    if source.startswith("."):
                        mounts += 1
                        self.assertTrue((file.parent / source).exists(), f"{file}: {source}")
        self.assertGreaterEqual(mounts, 5)

    def test_settings_exist(self):
        """Each variable names a setting, and the node starts with what they say together."""
        for file in FILES:
            for name, service in services(file).items():
                told = {key: str(value) for key, value in (service.get("environment") or {}).items()}
                told = {key: value for key, value in told.items() if key.startswith("PORCHLIGHT__")}
                if not told:
                    continue
                values = {key: re.sub(r"\$\{\w+:\?[^}]*\}", "https://help.example.com", value) for key, value in told.items()}
                values = {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for key, value in values.items()}
                if "PORCHLIGHT__AUTH__MASTER_SECRET" in values:
                    values["PORCHLIGHT__AUTH__MASTER_SECRET"] = "0" * 64
                flags = service.get("command", ["serve"])[1:]
                answer = good(BIN, "check-config", *flags, env=values)
                self.assertNotIn("warning", answer, f"{file}: {name}")

    def test_the_image_is_built_here(self):
        """As `images` builds it."""
        for file in FILES:
            for service in services(file).values():
                if "build" in service:
                    self.assertEqual(service["image"], "porchlight")
                    context = (file.parent / service["build"]["context"]).resolve()
                    self.assertEqual((context, context / service["build"]["dockerfile"]), (DEPLOY.parent, DEPLOY / "Dockerfile"))

    def test_nodes_are_locked_down_and_given_time(self):
        drain = tomllib.loads(good(BIN, "print-config", env={}))["limits"]["drain"]
        for file in FILES:
            for name, service in services(file).items():
                if service.get("image") != "porchlight":
                    continue
                self.assertTrue(service["read_only"], name)
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertIn("no-new-privileges:true", service["security_opt"])
                self.assertGreater(int(service["stop_grace_period"].rstrip("s")), int(drain.rstrip("s")))

    def test_prometheus_scrapes_the_nodes(self):
        cluster = services(DEPLOY / "cluster/compose.yaml")
        scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
        for target in scraped[0]["static_configs"][0]["targets"]:
            host, port = target.split(":")
            self.assertTrue(cluster[host]["environment"]["PORCHLIGHT__OPS__ADDR"].endswith(f":{port}"), target)

    def test_the_image(self):
        """Not root, its check is a command that there is, and what it copies is not left out."""
        text = (DEPLOY / "Dockerfile").read_text()
        self.assertRegex(text, r"(?m)^USER 10001:10001$")
        command = re.search(r'HEALTHCHECK .*CMD \["/usr/local/bin/porchlight", "(\w+)"\]', text)
        good(BIN, command[1], "--help")
        kept = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
        self.assertEqual(kept[0], "*")
        copied = re.search(r"^FROM.*? AS build\n(.*?)^FROM", text, re.S | re.M)[1]
        for line in re.findall(r"^COPY (.*)$", copied, re.M):
            for source in line.split()[:-1]:
                self.assertIn(f"!{source}", kept)
                self.assertTrue((DEPLOY.parent / source).exists(), source)
