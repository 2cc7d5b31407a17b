"""What a server is made of, as CycloneDX 1.6 in JSON: every crate in it, by `cargo metadata`, and the scripts of npm that are
embedded in it, by the lock file. Crates that only build or test it are no part of it. Called by `build`, in the project's
folder, with the version and the target.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

LICENSES = LicenseFactory()


def crates(target):
    """The package itself, and every crate that is linked into it, with what each needs of the others."""
    told = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target],
        check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    told = json.loads(told.stdout)
    packages = {package["id"]: package for package in told["packages"]}
    needs = {
        node["id"]: [one["pkg"] for one in node["deps"] if any(kind["kind"] is None for kind in one["dep_kinds"])]
        for node in told["resolve"]["nodes"]
    }
    root = told["resolve"]["root"]
    linked, waiting = set(), [root]
    while waiting:
        one = waiting.pop()
        if one not in linked:
            linked.add(one)
            waiting.extend(needs[one])
    return root, {one: packages[one] for one in linked}, needs


def checksums():
    """The SHA-256 of each crate as the lock file has it."""
    locked = tomllib.loads(pathlib.Path("Cargo.lock").read_text())
    return {(one["name"], one["version"]): one["checksum"] for one in locked["package"] if "checksum" in one}


def component(package, sums):
    name, version = package["name"], package["version"]
    # Some still write `MIT/Apache-2.0` for what is `MIT OR Apache-2.0`.
    licence = (package.get("license") or "").replace("/", " OR ")
    total = sums.get((name, version))
    purl = PackageURL("cargo", None, name, version)
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=str(purl),
        purl=purl,
        licenses=[LICENSES.make_from_string(licence)] if licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=total)] if total else [],
    )


def scripts():
    """What pages are recorded and shown with: packages of npm, one file of each."""
    locked = json.loads(pathlib.Path("web/package-lock.json").read_text())
    for path, one in locked["packages"].items():
        name = path.removeprefix("node_modules/")
        if name not in ("@rrweb/record", "@rrweb/replay"):
            continue
        kind, total = one["integrity"].split("-", 1)
        assert kind == "sha512", kind
        scope, bare = name.split("/")
        purl = PackageURL("npm", scope, bare, one["version"])
        yield Component(
            type=ComponentType.LIBRARY,
            group=scope,
            name=bare,
            version=one["version"],
            bom_ref=str(purl),
            purl=purl,
            licenses=[LICENSES.make_from_string(one["license"])] if "license" in one else [],
            hashes=[HashType(alg=HashAlgorithm.SHA_512, content=base64.b64decode(total).hex())],
        )


def main():
    version, target = sys.argv[1:]
    root, linked, needs = crates(target)
    sums = checksums()
    server = Component(
        type=ComponentType.APPLICATION,
        name="porchlight",
        version=version,
        bom_ref=f"porchlight@{version}",
        licenses=[LICENSES.make_from_string(linked[root]["license"])],
    )
    components = {one: component(package, sums) for one, package in linked.items() if one != root}
    bom = Bom(components=components.values())
    bom.metadata.component = server
    # The same server has the same list, byte for byte.
    bom.metadata.timestamp = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
    embedded = list(scripts())
    for one in embedded:
        bom.components.add(one)
    parts = " ".join(sorted(one.bom_ref.value for one in bom.components))
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"porchlight/{version}/{target}/{parts}")
    components[root] = server
    for one, made in components.items():
        bom.register_dependency(made, [components[need] for need in needs[one] if need in components])
    bom.register_dependency(server, [components[need] for need in needs[root]] + embedded)

    text = JsonV1Dot6(bom).output_as_string(indent=2)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        sys.exit(f"the list is no CycloneDX: {wrong}")
    print(text)


if __name__ == "__main__":
    main()
