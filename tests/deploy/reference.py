"""The table of docs/config.md, made of the code: names and sentences from the sources, defaults from `print-config`.

    python3 tests/deploy/reference.py --write     with PORCHLIGHT_BIN naming a built server
"""

import re
import sys
import tomllib

from stage import BIN, ROOT, good

PAGE = ROOT / "docs/config.md"
BEGIN, END = "<!-- made of the code from here -->\n", "<!-- to here -->\n"
SOURCES = [
    "src/config.rs", "src/config/acme.rs", "src/config/redis.rs", "src/config/salesforce.rs", "src/config/telemetry.rs", "src/limits/configured.rs",
]  # fmt: skip


def structs():
    """Every struct of settings: its own sentences, and for each field its type and sentences, in order."""
    found = {}
    for source in SOURCES:
        text = (ROOT / source).read_text()
        for match in re.finditer(r"((?:^[ ]*///[^\n]*\n)*)(?:^#\[[^\n]*\n)*^pub struct (\w+) \{\n(.*?)^\}", text, re.M | re.S):
            fields = re.findall(r"((?:^    ///[^\n]*\n)+)(?:^    #\[[^\n]*\n)*^    pub (\w+): ([^\n]+),\n", match[3], re.M)
            found[match[2]] = (sentences(match[1]), [(name, kind, sentences(told)) for told, name, kind in fields])
        limits = re.search(r"^limits! \{\n(.*?)^\}", text, re.M | re.S)
        if limits:
            fields = re.findall(r"((?:^    ///[^\n]*\n)+)(?:^    #\[[^\n]*\n)*^    (\w+): ([^=\n]+) = [^;]+;\n", limits[1], re.M)
            found["Limits"] = ("Every number with a bound.", [(name, kind, sentences(told)) for told, name, kind in fields])
    return found


def sentences(comment):
    text = " ".join(line.strip().removeprefix("///").strip() for line in comment.splitlines())
    text = re.sub(r"\[`([^`\]]+)`\](\([^)]*\))?", r"`\1`", text)
    return re.sub(r"^Section `\[\w+\]`(: |\. ?)?", "", text).replace("|", "\\|")


def defaults():
    return tomllib.loads(good(BIN, "print-config", env={}))


def keys():
    """Every key: section, name in it, default as TOML (none where absent), sentences."""
    all_structs, told = structs(), defaults()
    rows = []

    def walk(path, struct, values):
        for name, kind, what in all_structs[struct][1]:
            plain = re.sub(r"Option<(.*)>", r"\1", kind.strip())
            inner = plain.removeprefix("crate::limits::")
            if inner in all_structs and inner != "Salesforce":
                walk([*path, name], inner, values.get(name, {}))
            else:
                rows.append((path, name, toml(values[name]) if name in values else None, what))
        return rows

    for name, kind, _ in all_structs["Config"][1]:
        walk([name], kind.strip(), told.get(name, {}))
    return rows


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    return str(value)


def page():
    """The generated part of the page."""
    all_structs = structs()
    sections = {name: kind.strip() for name, kind, _ in all_structs["Config"][1]}
    lines = []
    last = None
    for path, name, default, what in keys():
        if path[0] != last:
            last = path[0]
            intro = all_structs[sections[last]][0]
            lines += ["", f"## [{last}]", ""]
            if intro:
                lines += [intro if intro.startswith("gRPC") else intro[0].upper() + intro[1:], ""]
            lines += ["| key | default | what |", "|---|---|---|"]
        lines.append(f"| `{'.'.join([*path, name])}` | {f'`{default}`' if default is not None else '–'} | {what} |")
    return "\n".join(lines[1:]) + "\n"


def written():
    text = PAGE.read_text()
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)]


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        text = PAGE.read_text()
        PAGE.write_text(text[: text.index(BEGIN) + len(BEGIN)] + "\n" + page() + "\n" + text[text.index(END) :])
    else:
        print(page())
