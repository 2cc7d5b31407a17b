"""The compose files started: by podman-compose, in containers that end with the test.

The files are used as they are. Beside them lies a second one only where this machine lets nobody have as many open files as
they ask for. Images of others are stand-ins (`images`); Grafana has none and stays out. What a service manager does for Podman
the tests do: they ask the containers for their health. That Podman waits for the health of what a service depends on needs a
newer one than distributions have, so they do that too.
"""

import json
import pathlib
import resource
import subprocess
import sys
import unittest
import urllib.parse
import urllib.request

import websockets.sync.client
import yaml

from images import ROOTED, program, shared
from stage import DEADLINE, DEPLOY, clean_environment, fetch, free_port, good, master_secret, run, wait_for
from visitor import Visitor

FILES = 65536
PROCESSES = 4096


def allowed(what, wanted):
    """What this machine gives of what is wanted: nobody gets past a hard limit who may not raise it."""
    hard = resource.getrlimit(what)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)


class Podman:
    """A Podman that keeps everything in the folder of the images and knows of nothing else on this machine."""

    def __init__(self, images):
        self.dir = images.dir
        self.limits = {
            "nofile": allowed(resource.RLIMIT_NOFILE, FILES),
            "nproc": allowed(resource.RLIMIT_NPROC, PROCESSES),
        }
        limits = ", ".join(f'"{name}={number}:{number}"' for name, number in self.limits.items())
        (self.dir / "containers.conf").write_text(
            f"[containers]\ndefault_ulimits = [{limits}]\n"
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            '[network]\nnetwork_backend = "netavark"\n'
        )
        self.path = self.dir / "podman"
        # A root that is read-only is so all over, as with Docker; nothing asks for health by itself.
        program(self.path, f"""#!/bin/sh
test "$1" != create || {{ shift; set -- create --read-only-tmpfs=false "$@"; }}
exec {" ".join(ROOTED)} env CONTAINERS_CONF={self.dir}/containers.conf DISABLE_HC_SYSTEMD=true podman \\
  --root {self.dir}/images --runroot {self.dir}/run --tmpdir {self.dir}/tmp --storage-driver vfs \\
  --network-config-dir {self.dir}/networks "$@"
""")  # fmt: skip

    def __call__(self, *words):
        return good(self.path, *words)

    def inspect(self, container):
        return json.loads(self("inspect", container))[0]

    def end(self):
        """Removes every container, and sees that nothing of them stays."""

        def gone():
            # One that others depend on can be removed after those alone.
            run(self.path, "rm", "--all", "--force", "--time=0")
            return not self("ps", "--all", "--quiet").strip()

        wait_for("all containers to be gone", gone)
        self("network", "prune", "--force")
        self("volume", "prune", "--force")
        mounts = [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if f"{self.dir}/" in line]
        assert not mounts, f"containers left {mounts}"


class Project:
    """A compose file and its services."""

    def __init__(self, podman, file, without=(), **environment):
        self.podman, self.file = podman, file
        self.environment = clean_environment() | {key: str(value) for key, value in environment.items()}
        told = yaml.safe_load(file.read_text())
        self.name = told["name"]
        self.services = {name: service for name, service in told["services"].items() if name not in without}
        self.files = [file]
        asking = [name for name, service in self.services.items() if service.get("ulimits", {}).get("nofile", 0) > podman.limits["nofile"]]
        if asking:
            less = podman.dir / f"{self.name}.yaml"
            less.write_text(yaml.safe_dump({"services": {name: {"ulimits": podman.limits} for name in asking}}))
            self.files.append(less)

    def compose(self, *words, **options):
        command = [
            pathlib.Path(sys.executable).with_name("podman-compose"), "--podman-path", self.podman.path, "--in-pod=false",
            *(word for file in self.files for word in ("-f", file)),
        ]  # fmt: skip
        return good(*command, *words, env=self.environment, **options)

    def container(self, service):
        return f"{self.name}_{service}_1"

    def depends(self, service):
        """What a service depends on, and how far that must be."""
        told = self.services[service].get("depends_on", {})
        return told if isinstance(told, dict) else {name: {"condition": "service_started"} for name in told}

    def healthy(self, service):
        return run(self.podman.path, "healthcheck", "run", self.container(service)).returncode == 0

    def start(self):
        """Starts what others need to be well, waits for that, and then starts the others in the order that the file tells."""
        needed = {name for service in self.services for name, how in self.depends(service).items() if how["condition"] == "service_healthy"}
        assert not any(self.depends(name) for name in needed), "they too have to be started in an order"
        for service in sorted(needed):
            self.compose("up", "--detach", "--no-build", service)
            wait_for(f"{service} to be well", lambda service=service: self.healthy(service))
        self.compose("up", "--detach", "--no-build", *(name for name in self.services if name not in needed))

    def state(self, service):
        return self.podman.inspect(self.container(service))

    def ask(self, service, *words, **options):
        """An operator's call from within a container, whose admin listener nobody else reaches."""
        inside = ["exec", "--interactive", "--env", f"PORCHLIGHT_ADMIN_KEY={self.key}", self.container(service)]
        return good(self.podman.path, *inside, "porchlight", "admin", *words, **options)

    def logs(self):
        return "\n".join(f"{name}:\n{run(self.podman.path, 'logs', '--tail=15', self.container(name)).stdout}" for name in self.services)


class Containers(unittest.TestCase):
    """What both files share."""

    @classmethod
    def setUpClass(cls):
        cls.images = shared()
        cls.podman = Podman(cls.images)
        cls.addClassCleanup(cls.podman.end)

    def up(self, project):
        try:
            project.start()
            for service in project.services:
                if project.state(service)["Config"].get("Healthcheck"):
                    wait_for(f"{service} to be well", lambda service=service: project.healthy(service))
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise AssertionError(f"{error}\n{project.logs()}") from None
        # Who depends on others was started after them.
        started = {name: project.state(name)["State"]["StartedAt"] for name in project.services}
        for service in started:
            for needed in project.depends(service):
                self.assertLess(started[needed], started[service], f"{service} is there before {needed}")

    def locked_down(self, project, service):
        """As the file says: a user of its own, no capability, a root that nobody writes to."""
        told = project.state(service)
        self.assertEqual(told["State"]["Health"]["Status"], "healthy")
        self.assertEqual(told["Config"]["User"], "10001:10001")
        self.assertFalse(told["EffectiveCaps"])
        self.assertFalse(told["BoundingCaps"])
        self.assertEqual(told["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped")
        writes = 'for path in /x /tmp/x /run/x /usr/local/bin/x /var/lib/porchlight/x; do touch $path && echo "wrote $path"; done'
        reads = "while read line; do echo $line; done < /proc/1/status"
        inside = self.podman("exec", project.container(service), "sh", "-c", f"{writes}; {reads}").splitlines()
        self.assertEqual([line for line in inside if line.startswith("wrote")], ["wrote /var/lib/porchlight/x"])
        for line in ("NoNewPrivs: 1", "CapBnd: 0000000000000000", "Uid: 10001 10001 10001 10001"):
            self.assertIn(line, inside)

    def group(self, project, node, site):
        project.ask(node, "create-group", "demo")
        project.ask(node, "--group", "demo", "set", "presence_enabled=true", "visitor_identity=open",
                    f"visitor_origins={site}", f"agent_origins={site}")  # fmt: skip

    def present(self, project, node, visitor):
        told = json.loads(project.ask(node, "--group", "demo", "lookup", visitor, "--json"))
        return told["state"] == "PRESENCE_STATE_PRESENT"


class One(Containers):
    def test_one_node(self):
        """deploy/compose.yaml: well, reached where it is published, and what it keeps outlives it."""
        public, ops = free_port(), free_port()
        site = f"http://127.0.0.1:{public}"
        project = Project(self.podman, DEPLOY / "compose.yaml", PORCHLIGHT_URL=site, PORCHLIGHT_PORT=public, PORCHLIGHT_OPS_PORT=ops)
        self.up(project)
        self.locked_down(project, "porchlight")
        project.key = project.compose("exec", "-T", "porchlight", "porchlight", "token", "admin-key", "--data-dir", "/var/lib/porchlight").strip()
        self.assertEqual(fetch(f"http://127.0.0.1:{ops}/readyz"), (200, "ok"))
        self.group(project, "porchlight", site)
        visitor = Visitor(f"ws://127.0.0.1:{public}/v1/visitor", None, "C-1")
        self.addCleanup(visitor.close)
        self.assertEqual(visitor.texts[0]["type"], "connected")
        self.assertTrue(self.present(project, "porchlight", "C-1"))

        # Everything is removed but the volume.
        project.compose("down")
        visitor.read_until(lambda: visitor.closed)
        self.assertIn("reconnect", [text["type"] for text in visitor.texts])
        self.up(project)
        self.assertIn("demo", project.ask("porchlight", "list-groups"))
        project.compose("down", "--volumes")


class Cluster(Containers):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        images = cls.images
        images.base(
            "docker.io/library/redis:7.2", ["sh", "redis-server", "redis-cli"],
            # Nobody is asked for a password, as in the image that this one stands for.
            lambda tree: program(tree / "usr/local/bin/docker-entrypoint.sh", '#!/bin/sh\nexec "$@" --protected-mode no\n'),
            {"/data": 999}, user="999:999", workingdir="/data", volume="/data", entrypoint=["docker-entrypoint.sh"],
        )  # fmt: skip
        images.base(
            "docker.io/library/haproxy:2.8", ["sh", "haproxy"],
            lambda tree: program(tree / "usr/local/bin/docker-entrypoint.sh", '#!/bin/sh\nshift\nexec haproxy -W -db "$@"\n'),
            {"/var/lib/haproxy": 99}, user="99:99", workingdir="/var/lib/haproxy", entrypoint=["docker-entrypoint.sh"],
            cmd="haproxy -f /usr/local/etc/haproxy/haproxy.cfg", stop_signal="SIGUSR1",
        )  # fmt: skip
        images.base(
            "docker.io/prom/prometheus:v2.55.1", ["prometheus"], lambda tree: None,
            {"/prometheus": 65534}, user="65534:65534", workingdir="/prometheus", volume="/prometheus",
            entrypoint=["/bin/prometheus"],
            cmd="--config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/prometheus",
        )  # fmt: skip
        cls.ports = {name: free_port() for name in ("PORCHLIGHT_PORT", "PORCHLIGHT_PROMETHEUS_PORT")}
        cls.project = Project(
            cls.podman, DEPLOY / "cluster/compose.yaml", without=["grafana"],
            PORCHLIGHT__AUTH__MASTER_SECRET=master_secret(), **cls.ports,
        )  # fmt: skip
        cls.host = f"127.0.0.1:{cls.ports['PORCHLIGHT_PORT']}"
        cls.site = f"http://{cls.host}"

    def visitor(self, name):
        visitor = Visitor(f"ws://{self.host}/v1/visitor", None, name)
        self.addCleanup(visitor.close)
        self.assertEqual(visitor.texts[0]["type"], "connected")
        return visitor

    def agent(self, password):
        body = json.dumps({"group": "demo", "address": "alice@acme.example", "password": password}).encode()
        asked = urllib.request.Request(f"{self.site}/v1/auth/agent", body, {"content-type": "application/json", "origin": self.site})
        with urllib.request.urlopen(asked, timeout=DEADLINE) as answer:
            token = json.load(answer)["token"]
        url = f"ws://{self.host}/v1/agent"
        agent = self.enterContext(websockets.sync.client.connect(url, subprotocols=["porchlight.v1"], origin=self.site))
        agent.send(json.dumps({"type": "connect", "token": token}))
        self.hears(agent, lambda told: told["type"] == "connected")
        return agent

    def hears(self, agent, fits):
        while True:
            told = json.loads(agent.recv(timeout=DEADLINE))
            if fits(told):
                return told

    def connections(self, kind):
        """The nodes that have such connections, by the names of their services."""
        told = {node: json.loads(self.project.ask(node, "node", "--json"))["connections"][kind] for node in self.running}
        return {node for node, number in told.items() if number != "0"}

    def test_two_nodes(self):
        """deploy/cluster/compose.yaml: well, one for the other, and seen by Prometheus."""
        project = self.project
        self.assertEqual(set(project.services), {"redis", "node-a", "node-b", "proxy", "prometheus"})
        self.up(project)
        self.running = {"node-a", "node-b"}
        for node in self.running:
            self.locked_down(project, node)
        [network] = {name for service in project.services for name in project.state(service)["NetworkSettings"]["Networks"]}
        self.assertEqual(network, "porchlight_default")
        project.key = project.compose(
            "exec", "-T", "node-a", "sh", "-c",
            'echo "$PORCHLIGHT__AUTH__MASTER_SECRET" | porchlight token admin-key --master-secret-file -',
        ).strip()  # fmt: skip
        self.group(project, "node-a", self.site)
        group = ["--group", "demo"]
        project.ask("node-b", *group, "set", "show_terms=true", "terms.version=1", "terms.text=An agent sees this page.",
                    'profiles=[{ name = "Support", join = true, view = true, show = true }]')  # fmt: skip
        project.ask("node-b", *group, "upsert-agent", "alice", "--address", "alice@acme.example", "--profile", "Support",
                    "--password-file", "-", input="correct-horse-battery")  # fmt: skip
        project.ask("node-b", *group, "set-permissions", "alice", "user")
        wait_for("the proxy to find a node", lambda: fetch(f"{self.site}/readyz") == (200, "ok"))

        try:
            self.see_each_other()
            self.one_is_killed()
            self.killed_again()
            self.scraped()
        except Exception as error:
            error.add_note(project.logs())
            raise
        project.compose("down", "--volumes", "--timeout=3")
        self.assertEqual(self.podman("volume", "ls", "--quiet").split(), [])
        self.assertNotIn("porchlight_default", self.podman("network", "ls"))

    def see_each_other(self):
        """A visitor on one node and an agent on the other, both through the proxy."""
        self.agent_on = None

        def apart():
            self.alice = self.agent("correct-horse-battery")
            there, here = self.connections("visitor"), self.connections("agent")
            if there & here:
                self.alice.close()
                return False
            return there, here

        self.guest = self.visitor("C-1")
        [self.first], [self.second] = wait_for("a visitor and an agent on two nodes", apart)
        self.assertNotEqual(self.first, self.second)
        self.alice.send(json.dumps({"type": "watch", "id": 1, "visitorIds": ["C-1"]}))
        [seen] = self.hears(self.alice, lambda told: told["type"] == "watching")["visitors"]
        self.assertEqual(seen["visitorId"], "C-1")
        # A Redis whose disk is busy may take the visitor's first word after it was read: then it follows.
        while seen["state"] != "present":
            seen = self.hears(self.alice, lambda told: told["type"] == "presence")["visitor"]
        # The agent asks, the visitor sees who does, and declines.
        self.alice.send(json.dumps({"type": "join", "id": 2, "visitorId": "C-1", "kind": "screen"}))
        asked = self.hears(self.alice, lambda told: told.get("id") == 2)
        self.assertEqual((asked["type"], asked.get("state")), ("request", "offered"), asked)
        offers = lambda: [text for text in self.guest.texts if text["type"] == "offer"]
        self.guest.read_until(offers)
        [offer] = offers()
        self.guest.protocol.send_text(json.dumps({"type": "terms", "requestId": offer["requestId"], "accepted": False}).encode())
        self.guest.flush()
        self.hears(self.alice, lambda told: told["type"] == "request" and told["state"] == "declined")

    def one_is_killed(self):
        """The visitor's node goes and the visitor comes back by the other; the node comes back with another address."""
        project = self.project
        before = project.state(self.first)["NetworkSettings"]["Networks"]["porchlight_default"]["IPAddress"]
        self.podman("kill", "--signal=KILL", project.container(self.first))
        self.running = {self.second}
        self.guest.read_until(lambda: self.guest.closed)
        self.assertTrue(self.guest.closed)

        def back():
            try:
                return self.visitor("C-1")
            except Exception as error:
                raise ValueError(f"no way in: {error}") from None

        self.guest = wait_for("the visitor to be back", back)
        self.assertEqual(self.connections("visitor"), {self.second})
        self.assertTrue(self.present(project, self.second, "C-1"))
        self.alice.send(json.dumps({"type": "lookup", "id": 3, "visitorIds": ["C-1"]}))
        [seen] = self.hears(self.alice, lambda told: told.get("id") == 3)["visitors"]
        self.assertEqual(seen["state"], "present")

        project.compose("start", self.first)
        self.running = {self.first, self.second}
        after = project.state(self.first)["NetworkSettings"]["Networks"]["porchlight_default"]["IPAddress"]
        self.assertNotEqual(after, before, "the address stays, so nothing is tried")

        def found():
            self.visitor("C-2")
            return self.first in self.connections("visitor")

        wait_for("the proxy to find the node again", found)

    def killed_again(self):
        """A server that dies by itself is started anew."""
        was = self.project.state(self.first)["State"]["Pid"]
        good(*ROOTED, "kill", "-9", was)

        def anew():
            told = self.project.state(self.first)
            return told["State"]["Running"] and told["State"]["Pid"] != was and self.project.healthy(self.first)

        wait_for("the server to be started anew", anew)

    def scraped(self):
        def ask(expression):
            query = urllib.parse.urlencode({"query": expression})
            _, body = fetch(f"http://127.0.0.1:{self.ports['PORCHLIGHT_PROMETHEUS_PORT']}/api/v1/query?{query}")
            return {found["metric"]["instance"]: float(found["value"][1]) for found in json.loads(body)["data"]["result"]}

        nodes = {"node-a:7401", "node-b:7401"}
        wait_for("both nodes to be scraped", lambda: set(ask('up{job="porchlight"} == 1')) == nodes)
        self.assertEqual(set(ask("max_over_time(porchlight_visitors_present[5m])")), nodes)
