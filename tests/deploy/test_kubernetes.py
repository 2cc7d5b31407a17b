"""The Kubernetes manifests: by the API's own schemas, strictly, and what the schemas don't see."""

import re
import tomllib
import unittest

import kubernetes_validate
import yaml

from stage import BIN, DEPLOY, good, run, tempfile

TEXT = (DEPLOY / "kubernetes/porchlight.yaml").read_text()
OBJECTS = list(yaml.safe_load_all(TEXT))


def only(kind):
    [found] = [thing for thing in OBJECTS if thing["kind"] == kind]
    return found


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


class Kubernetes(unittest.TestCase):
    def setUp(self):
        self.deployment = only("Deployment")
        self.pod = self.deployment["spec"]["template"]["spec"]
        [self.container] = self.pod["containers"]
        self.settings = tomllib.loads(only("ConfigMap")["data"]["porchlight.toml"])

    def test_schemas(self):
        # From the oldest release that is still about to the newest that is known.
        for version in ["1.29.1", "1.37.0"]:
            for thing in OBJECTS:
                kubernetes_validate.validate(thing, version, strict=True)

    def test_the_schemas_refuse(self):
        broken = yaml.safe_load(TEXT.split("\n---\n")[2].replace("enableServiceLinks", "enableServiceLink"))
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, "1.37.0", strict=True)

    def test_settings_are_good(self):
        with tempfile.TemporaryDirectory() as folder:
            text = only("ConfigMap")["data"]["porchlight.toml"]
            for name, value in [("redis-url", "redis://redis.example/"), ("master-secret", "0" * 64)]:
                with open(f"{folder}/{name}", "w") as file:
                    file.write(value)
            with open(f"{folder}/porchlight.toml", "w") as file:
                file.write(text.replace("/run/secrets/porchlight", folder))
            good(BIN, "check-config", "--config", f"{folder}/porchlight.toml", env={})
            self.assertEqual(run(BIN, self.container["args"][0], "--help", env={}).returncode, 0)

    def test_files_are_where_they_are_mounted(self):
        mounts = {mount["name"]: mount for mount in self.container["volumeMounts"]}
        self.assertEqual(self.container["args"][2], f"{mounts['settings']['mountPath']}/porchlight.toml")
        for path in [self.settings["redis"]["url_file"], self.settings["auth"]["master_secret_file"]]:
            self.assertTrue(path.startswith(mounts["secrets"]["mountPath"] + "/"))
        self.assertEqual(self.settings["store"]["data_dir"], mounts["data"]["mountPath"])
        writable = [name for name, mount in mounts.items() if not mount.get("readOnly")]
        self.assertEqual(writable, ["data"])
        self.assertEqual(set(mounts), {volume["name"] for volume in self.pod["volumes"]})

    def test_ports_and_probes(self):
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        for name in ["public", "ops"]:
            self.assertTrue(self.settings[name]["addr"].endswith(f":{ports[name]}"))
        self.assertTrue(self.settings["admin"]["addr"].startswith("127.0.0.1:"))
        paths = {probe: self.container[probe]["httpGet"]["path"] for probe in ["livenessProbe", "readinessProbe", "startupProbe"]}
        self.assertEqual(paths, {"livenessProbe": "/livez", "readinessProbe": "/readyz", "startupProbe": "/livez"})
        startup = self.container["startupProbe"]
        wait = tomllib.loads(good(BIN, "print-config", env={}))["redis"]["wait"]
        self.assertGreater(startup["periodSeconds"] * startup["failureThreshold"], seconds(wait))

    def test_a_drain_has_its_time(self):
        stop = self.container["lifecycle"]["preStop"]["exec"]["command"]
        self.assertEqual(stop[0], "/bin/sleep")
        needed = int(stop[1]) + seconds(self.settings["limits"]["drain"])
        self.assertGreater(self.pod["terminationGracePeriodSeconds"], needed)
        ready = self.container["readinessProbe"]
        self.assertGreaterEqual(int(stop[1]), ready["periodSeconds"] * ready["failureThreshold"])

    def test_locked_down(self):
        self.assertIs(self.pod["enableServiceLinks"], False)
        self.assertIs(self.pod["automountServiceAccountToken"], False)
        self.assertTrue(self.pod["securityContext"]["runAsNonRoot"])
        image = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.M)
        self.assertEqual(self.pod["securityContext"]["runAsUser"], int(image[1]))
        self.assertEqual(self.pod["securityContext"]["fsGroup"], int(image[2]))
        mine = self.container["securityContext"]
        self.assertTrue(mine["readOnlyRootFilesystem"])
        self.assertFalse(mine["allowPrivilegeEscalation"])
        self.assertEqual(mine["capabilities"], {"drop": ["ALL"]})
        self.assertIn("memory", self.container["resources"]["limits"])
        self.assertNotIn("Secret", {thing["kind"] for thing in OBJECTS})

    def test_nodes_stand_apart_and_go_one_by_one(self):
        labels = self.deployment["spec"]["selector"]["matchLabels"]
        self.assertEqual(self.deployment["spec"]["template"]["metadata"]["labels"], labels)
        self.assertGreaterEqual(self.deployment["spec"]["replicas"], 2)
        self.assertEqual(self.deployment["spec"]["strategy"]["rollingUpdate"], {"maxSurge": 1, "maxUnavailable": 0})
        self.assertEqual(only("PodDisruptionBudget")["spec"], {"maxUnavailable": 1, "selector": {"matchLabels": labels}})
        [apart] = self.pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        self.assertEqual(apart["podAffinityTerm"]["labelSelector"]["matchLabels"], labels)
        for service in [thing for thing in OBJECTS if thing["kind"] == "Service"]:
            self.assertEqual(service["spec"]["selector"], labels)

    def test_the_ingress_is_more_patient_than_the_heartbeat(self):
        limits = tomllib.loads(good(BIN, "print-config", env={}))["limits"]
        annotations = only("Ingress")["metadata"]["annotations"]
        for name in ["proxy-read-timeout", "proxy-send-timeout"]:
            patience = int(annotations[f"nginx.ingress.kubernetes.io/{name}"])
            self.assertGreaterEqual(patience, 2 * seconds(limits["heartbeat"]))
