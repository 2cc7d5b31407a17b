"""What docs/ says is so: links, commands and their flags, settings, metrics, codes, samples."""

import base64
import functools
import hashlib
import hmac
import json
import os
import re
import shlex
import subprocess
import tempfile
import tomllib
import unittest

import reference
from stage import BIN, ROOT, Place, clean_environment, good, metric_names, run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

KEYS = {".".join([*path, name]) for path, name, _, _ in reference.keys()}


def blocks(page, *languages):
    """Blocks of code of some languages, with the line that each begins at."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.M | re.S):
        if match[1] in languages:
            yield page.read_text()[: match.start()].count("\n") + 2, match[2]


def prose(page):
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)


def anchor(heading):
    """As GitHub and mdBook make them."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


@functools.cache
def helped(*words):
    done = run(BIN, *words, "--help", env={})
    return done.stdout if done.returncode == 0 else None


class Pages(unittest.TestCase):
    def test_the_book_has_every_page_once(self):
        text = (ROOT / "docs/SUMMARY.md").read_text()
        listed = re.findall(r"\]\(([^)]+)\)", text)
        self.assertEqual(len(listed), len(set(listed)))
        self.assertEqual(set(listed), {page.name for page in (ROOT / "docs").glob("*.md")} - {"SUMMARY.md"})
        self.assertEqual(tomllib.loads((ROOT / "book.toml").read_text())["book"]["src"], "docs")

    def test_links_lead_somewhere(self):
        found = []
        anchors = {page: {anchor(h) for h in re.findall(r"^#+ (.*)$", page.read_text(), re.M)} for page in PAGES}
        for page in PAGES:
            for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
                if re.match(r"\w+:", link):
                    continue
                path, _, fragment = link.partition("#")
                target = (page.parent / path).resolve() if path else page
                if not target.exists():
                    found.append(f"{page.name}: {link}")
                elif fragment and target in anchors and fragment not in anchors[target]:
                    found.append(f"{page.name}: {link} has no such heading")
        self.assertEqual(found, [])

    def test_files_named_exist(self):
        for page in PAGES:
            for path in re.findall(r"`((?:deploy|docs|tests|proto|web)/[\w./-]+)`", page.read_text()):
                self.assertTrue((ROOT / path.rstrip("/")).exists(), f"{page.name}: {path}")


class Commands(unittest.TestCase):
    def lines(self, page):
        """Every line of shell that runs porchlight, continuation lines joined."""
        for _, block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s*(?:&&|\|(?!\|)|;|\$\()\s*", line):
                    words = re.match(r"^(?:[A-Z_]+=\S+ )*(?:sudo |docker compose .* exec porchlight )?porchlight (?!\w+ \()(.*)$", part)
                    if words:
                        yield words[1].rstrip(")")

    def test_commands_and_flags_exist(self):
        seen = 0
        for page in PAGES:
            for line in self.lines(page):
                words = shlex.split(line.replace("…", ""), comments=True)
                path, flags, group = [], [], []
                for word in words:
                    if word.startswith("--"):
                        flags.append(word.split("=")[0])
                    elif re.fullmatch(r"[a-z][a-z-]*", word) and helped(*path, word) is not None:
                        path.append(word)
                self.assertTrue(path, f"{page.name}: porchlight {line}")
                help_text = helped(*path)
                self.assertNotIn("<COMMAND>", help_text.split("\nOptions:")[0], f"{page.name}: porchlight {line} names no command")
                told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_text + "".join(helped(*path[:at]) for at in range(1, len(path)))))
                for flag in flags:
                    self.assertIn(flag, told, f"{page.name}: porchlight {line}")
                seen += 1
        self.assertGreater(seen, 80)

    def test_settings_of_groups_exist(self):
        """Every `set name=value` names a setting of the proto file."""
        proto = (ROOT / "proto/porchlight/v1/settings.proto").read_text()
        fields = {m: set(re.findall(r"^  (?:repeated )?[\w.]+ (\w+) = \d+;", body, re.M)) for m, body in re.findall(r"^message (\w+) \{\n(.*?)^\}", proto, re.M | re.S)}
        known = set(fields["Settings"])
        known |= {f"{name}.{inner}" for name, message in [("terms", "Terms"), ("sso", "Sso")] for inner in fields[message]}
        seen = 0
        for page in PAGES:
            for line in self.lines(page):
                words = shlex.split(line, comments=True)
                if "set" in words:
                    for word in words[words.index("set") + 1 :]:
                        if "=" in word and not word.startswith("-"):
                            self.assertIn(word.split("=")[0], known, f"{page.name}: {line}")
                            seen += 1
        for row in re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \|", (ROOT / "docs/settings.md").read_text(), re.M):
            for name in re.findall(r"`([\w.]+)`", row):
                self.assertIn(name, known, "docs/settings.md")
                seen += 1
        told = (ROOT / "docs/settings.md").read_text()
        for name in known - {"terms", "sso"}:
            self.assertIn(f"`{name}`", told, "a setting that is not explained")
        self.assertGreater(seen, 30)


class Walk(unittest.TestCase):
    """The commands that set a group up, made one after the other as they are written."""

    def test_a_group_from_nothing(self):
        place = Place()
        self.addCleanup(place.close)
        _, facts = place.node("server")
        bin = place.dir / "bin"
        bin.mkdir()
        (bin / "porchlight").symlink_to(BIN)
        env = clean_environment() | {
            "PORCHLIGHT_ADMIN_ADDR": facts["admin"],
            "PORCHLIGHT_ADMIN_KEY": facts["adminKey"],
            "PATH": f"{bin}:{os.environ['PATH']}",
        }
        made = 0
        for name in ["docs/quickstart.md", "docs/settings.md", "docs/site.md", "docs/crm.md", "README.md"]:
            folder = place.dir / f"{made}"
            folder.mkdir()
            for _, block in blocks(ROOT / name, "sh"):
                for line in block.replace("\\\n", " ").splitlines():
                    if not line.startswith("porchlight admin ") or "--addr " in line:
                        continue
                    # The README begins with a group of its own.
                    line = line.replace("group acme", "group other") if name == "README.md" else line
                    done = run("bash", "-c", line, env=env, cwd=folder, input="correct horse battery\n")
                    self.assertEqual(done.returncode, 0, f"{name}: {line}\n{done.stdout}")
                    made += 1
        self.assertGreater(made, 20)
        lit = json.loads(good(BIN, "admin", "get-settings", "--group", "acme", "--json", env=env))
        self.assertIn("An agent of Acme will see this page", json.dumps(lit))


class Settings(unittest.TestCase):
    def test_the_reference_is_that_of_the_code(self):
        self.assertEqual(
            reference.written().strip(), reference.page().strip(), "run tests/deploy/reference.py --write"
        )

    def test_the_reference_knows_every_key(self):
        """What print-config tells is in the table, and every key of the table is one that a file may hold."""

        def flat(path, value):
            if isinstance(value, dict):
                return {key for name, inner in value.items() for key in flat([*path, name], inner)}
            return {".".join(path)}

        self.assertEqual(flat([], reference.defaults()) - KEYS, set())
        self.assertGreater(len(KEYS), 80)
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            for key in sorted(KEYS):
                section, name = key.rsplit(".", 1)
                file.write(f"[{section}]\n{name} = 1\n" if section.count(".") else f'{section}."{name}" = 1\n')
            file.flush()
            self.assertNotIn("unknown keys", run(BIN, "print-config", "--config", file.name, env={}).stdout)

    def test_keys_in_the_text_exist(self):
        sections = {key.split(".")[0] for key in KEYS}
        prefixes = {".".join(key.split(".")[:at]) for key in KEYS for at in range(1, 4)}
        for page in PAGES:
            for key in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?: =[^`]*)?`", prose(page)):
                if key.split(".")[0] in sections and not re.search(r"\.(proto|ndjson|toml|json|js|md)$", key):
                    # `session.started` and the like are kinds of events, `sync.failed` too.
                    kind = f'"{key}"' in (ROOT / "src/model/event/told.rs").read_text() + (ROOT / "src/model/event.rs").read_text()
                    self.assertTrue(key in prefixes or kind, f"{page.name}: {key}")
            for name in re.findall(r"\bPORCHLIGHT__(\w+?__\w+)\b", page.read_text()):
                self.assertIn(name.lower().replace("__", "."), KEYS, page.name)

    def test_files_of_settings_can_be_read(self):
        seen = 0
        for page in PAGES:
            for line, block in blocks(page, "toml"):
                with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
                    file.write(block)
                    file.flush()
                    said = run(BIN, "print-config", "--config", file.name, env={}).stdout
                # The files that it names are not on this machine; all else must be right.
                if "can't be read" not in said:
                    self.assertIn("[public]", said, f"{page.name}:{line}: {said}")
                self.assertNotIn("unknown keys", said, f"{page.name}:{line}")
                seen += 1
        self.assertGreaterEqual(seen, 5)


class Names(unittest.TestCase):
    def test_metrics_exist(self):
        known = set(metric_names())
        seen = 0
        for page in PAGES:
            for name in re.findall(r"`(porchlight_\w*[a-z])(?:_\*)?`", prose(page)):
                self.assertTrue(any(metric == name or metric.startswith(f"{name}_") for metric in known), f"{page.name}: {name}")
                seen += 1
        self.assertGreater(seen, 60)

    def test_close_codes_exist(self):
        table = (ROOT / "src/wire/close.rs").read_text()
        known = set(re.findall(r"=> (4\d\d\d),", table))
        self.assertEqual(len(known), 11)
        for page in PAGES:
            for code in re.findall(r"(?m)(?:close code |closed with |^\| |[(])(4\d{3})\b", page.read_text()):
                self.assertIn(code, known, page.name)

    def test_reasons_of_buttons_and_ends_are_told(self):
        buttons = set(re.findall(r'^    \w+ = "(\w+)",?', (ROOT / "src/model/buttons.rs").read_text(), re.M))
        told = (ROOT / "docs/crm.md").read_text()
        for reason in buttons:
            self.assertIn(f"`{reason}`", told)
        self.assertGreater(len(buttons), 6)
        ends = set(re.findall(r'=> "(\w+)",', (ROOT / "src/model/session/ending.rs").read_text()))
        told = (ROOT / "docs/sessions.md").read_text()
        for reason in ends:
            self.assertIn(f"`{reason}`", told)
        self.assertGreater(len(ends), 10)

    def test_calls_of_the_scripts_exist(self):
        agent = (ROOT / "web/agent.js").read_text()
        for name in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", (ROOT / "docs/crm.md").read_text(), re.M):
            for call in re.findall(r"`(\w+)`", name):
                if re.search(rf"^  (?:async )?{call}\(", agent, re.M) is None:
                    self.assertIn(f'"{call}"', (ROOT / "src/model/buttons.rs").read_text(), call)
        script = (ROOT / "web/porchlight.js").read_text()
        for call in re.findall(r"\bPorchlight\.(\w+)\(", (ROOT / "docs/site.md").read_text() + (ROOT / "README.md").read_text()):
            self.assertRegex(script, rf"\b{call}(?:\(|: guard)")
        listed = re.search(r"Listens for `([^`]+)`", re.sub(r"\n\s+\* ", " ", script))[1].split()
        told = (ROOT / "docs/site.md").read_text()
        for event in listed:
            self.assertIn(f"`{event}`", told)


class Samples(unittest.TestCase):
    """The samples that mint credentials; those of the README are run by tests/it/minting.rs."""

    SECRET, GROUP, USER, EXPIRES = "test-api-key", "12345", "005xx0000012Q9z", "1893456000"
    LOGIN_KEY = "$1$1893456000$A4T6xaGXGDO5vs8hsokgVcheUgZuZ6Ujh6MbTofJNYs"

    def sample(self, language):
        [(_, text)] = blocks(ROOT / "docs/identity.md", language)
        return text

    def same(self, command, program):
        def mint(call):
            done = subprocess.run([*command, program(call)], text=True, stdout=-1, stderr=-1, timeout=30)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.strip()

        self.assertEqual(mint("login"), self.LOGIN_KEY)
        token = ["token", "visitor", "--visitor", "C-1.a~b_c", "--key-id", "k1", "--secret-file", "-", "--expires-at", self.EXPIRES]
        ours = subprocess.run([BIN, *token], input=self.SECRET, text=True, stdout=-1, stderr=-1, check=True, timeout=30).stdout.strip()
        theirs = mint("visitor")

        def parts(text):
            head, body, signature = text.split(".")
            return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, body)], signature

        self.assertEqual(parts(theirs)[0][1], parts(ours)[0][1])
        self.assertEqual(parts(theirs)[0][0], {"alg": "HS256", "typ": "JWT", "kid": "k1"})
        # HMAC over what this one says, for the order of fields is free.
        text, _, signature = theirs.rpartition(".")
        digest = hmac.new(self.SECRET.encode(), text.encode(), hashlib.sha256).digest()
        self.assertEqual(signature, base64.urlsafe_b64encode(digest).rstrip(b"=").decode())

    def test_php(self):
        calls = {
            "login": f"porchlight_login_key('{self.SECRET}', '{self.GROUP}', '{self.USER}', {self.EXPIRES})",
            "visitor": f"porchlight_visitor_token('{self.SECRET}', 'k1', 'C-1.a~b_c', {self.EXPIRES})",
        }
        sample = self.sample("php").removeprefix("<?php\n")
        self.same(["php", "-r"], lambda call: f"{sample}\necho {calls[call]};")

    def test_ruby(self):
        calls = {
            "login": f"login_key('{self.SECRET}', '{self.GROUP}', '{self.USER}', {self.EXPIRES})",
            "visitor": f"visitor_token('{self.SECRET}', 'k1', 'C-1.a~b_c', {self.EXPIRES})",
        }
        self.same(["ruby", "-e"], lambda call: f"{self.sample('ruby')}\nputs PorchlightCredentials.{calls[call]}")
