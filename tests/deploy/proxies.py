"""nginx and HAProxy with the files of deploy/proxy before nodes of a test: only ports, addresses and paths are others."""

import os

from stage import DEPLOY, clean_environment, free_port, good


def as_shipped(text):
    return text


def replaced(text, pairs):
    for old, new in pairs:
        assert old in text, f"{old} is not there any more"
        text = text.replace(old, str(new))
    return text


def nginx(place, *nodes, change=as_shipped):
    """nginx before one node or two, told by the addresses of their listeners: its ports for browsers and for operators."""
    name = "one" if len(nodes) == 1 else "nodes"
    public, admin = free_port(), free_port()
    folder = place.dir
    pairs = [
        ("listen 443 ssl;", f"listen 127.0.0.1:{public} ssl;"),
        ("listen 7443 ssl http2;", f"listen 127.0.0.1:{admin} ssl http2;"),
        ("/etc/ssl/help.example.com.pem", folder / "own.pem"),
        ("/etc/ssl/help.example.com.key", folder / "own.key"),
    ]
    if name == "nodes":
        pairs.append(("/etc/ssl/porchlight-admin-ca.pem", folder / "ca.pem"))
    for host, node in zip(["127.0.0.1"] if name == "one" else ["10.0.0.11", "10.0.0.12"], nodes, strict=True):
        pairs += [(f"{host}:7400", node["public"]), (f"{host}:7402", node["admin"])]
    work = folder / f"nginx-{name}-{public}"
    work.mkdir()
    (work / "site.conf").write_text(replaced(change((DEPLOY / f"proxy/nginx-{name}.conf").read_text()), pairs))
    paths = "".join(f"  {kind}_temp_path {work}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;\n" if os.geteuid() == 0 else ""
    (work / "nginx.conf").write_text(
        f"{user}daemon off;\npid {work}/pid;\nerror_log stderr warn;\nworker_processes 1;\n"
        f"events {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n{paths}  include {work}/site.conf;\n}}\n"
    )
    good("nginx", "-t", "-q", "-p", work, "-c", work / "nginx.conf")
    process = place.start(work.name, "nginx", "-p", work, "-c", work / "nginx.conf")
    place.listening(work.name, process, public)
    return public, admin


def haproxy(place, *nodes, change=as_shipped):
    """HAProxy likewise."""
    name = "one" if len(nodes) == 1 else "nodes"
    public, admin = free_port(), free_port()
    file = place.dir / f"haproxy-{name}-{public}.cfg"
    file.write_text(change((DEPLOY / f"proxy/haproxy-{name}.cfg").read_text()))
    told = {
        "PORCHLIGHT_LISTEN": f"127.0.0.1:{public}",
        "PORCHLIGHT_ADMIN_LISTEN": f"127.0.0.1:{admin}",
        "PORCHLIGHT_CERT": place.dir / "both.pem",
        "PORCHLIGHT_ADMIN_CA": place.dir / "ca.pem",
        "PORCHLIGHT_ADMIN_NAME": "admin.example",
    }
    for suffix, node in zip([""] if name == "one" else ["_A", "_B"], nodes, strict=True):
        told |= {
            f"PORCHLIGHT_NODE{suffix}": node["public"],
            f"PORCHLIGHT_NODE{suffix}_OPS": node["ops"].rsplit(":", 1)[1],
            f"PORCHLIGHT_NODE{suffix}_ADMIN": node["admin"],
        }
    env = clean_environment() | {key: str(value) for key, value in told.items()}
    good("haproxy", "-c", "-q", "-f", file, env=env)
    process = place.start(file.stem, "haproxy", "-f", file, **told)
    place.listening(file.stem, process, public)
    return public, admin
