//! The house rules that no compiler checks: who may use whom, how long a file may get, and that what is
//! written down is true. Reads the tree; runs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, iter};

use porchlight::admin::Reason;
use porchlight::telemetry::{Kind, METRICS};
use porchlight::wire::close::CloseCode;
use porchlight::wire::error::ErrorCode;

/// Each module of `src/` with its layer. A file uses lower layers and its own folder, never higher.
const LAYERS: &[(&str, u8)] = &[
    ("ids", 0),
    ("clock", 0),
    ("limits", 0),
    ("room", 0),
    ("telemetry", 0),
    ("auth", 0),
    ("wire", 1),
    ("pb", 1),
    ("config", 1),
    ("redis", 1),
    ("arrivals", 2),
    ("model", 2),
    ("tls", 2),
    ("store", 3),
    ("cluster", 3),
    ("hub", 4),
    ("ws", 5),
    ("http", 5),
    ("admin", 5),
    ("sinks", 5),
    ("server", 6),
    ("cli", 6),
    ("main", 7),
    ("lib", 7),
];

/// Layers whose modules may use each other: names and numbers below, the assembled process above.
const SOCIABLE: &[u8] = &[0, 6];

/// Uses that the layers forbid and a reason allows: file, module, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Who sees the generated protobuf types: those who speak it to somebody.
const SPEAKS_PROTOBUF: &[&str] = &["store", "cluster", "admin", "sinks", "cli"];

/// Crates that rules without I/O may use.
const MODEL_CRATES: &[&str] = &["bytes", "serde", "serde_json", "smallvec", "base64", "subtle", "thiserror"];

/// What rules without I/O must be given as arguments.
const MODEL_BANNED: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "Clock::start",
    "clock::wall",
    "auth::random",
    "std::env",
    "std::fs",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::thread",
];

/// Lines of a Rust file before its tests: what can be read in one sitting.
const RUST_LINES: usize = 500;

/// Lines of a browser file. `porchlight.js` is one classic script, because a site loads one file.
const SCRIPT_LINES: usize = 600;

/// A file of the tree, by its path from the root.
struct File {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file that belongs to the project: all but what `.gitignore` names. Walks the tree rather than
/// asking git, which an unpacked archive or another owner's checkout has no answer from.
fn files() -> Vec<File> {
    let ignored: Vec<PathBuf> = fs::read_to_string(root().join(".gitignore"))
        .expect(".gitignore")
        .lines()
        .filter_map(|line| line.strip_prefix('/'))
        .map(|line| root().join(line.trim_end_matches('/')))
        .collect();
    let mut found = Vec::new();
    let mut waiting = vec![root().to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the tree") {
            let entry = entry.expect("an entry");
            let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
            if ignored.contains(&path) || path.ends_with(".git") {
                continue;
            }
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file()
                && let Ok(text) = String::from_utf8(fs::read(&path).expect("a readable file"))
            {
                let path = path.strip_prefix(root()).expect("below the root").to_str().expect("a plain name");
                found.push(File { path: path.to_owned(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn sources() -> Vec<File> {
    files().into_iter().filter(|file| file.path.starts_with("src/") && file.path.ends_with(".rs")).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails with everything that was found, not only with the first.
#[track_caller]
fn report(found: &[String]) {
    assert!(found.is_empty(), "{} found:\n  {}", found.len(), found.join("\n  "));
}

impl File {
    /// The module below `src/` it belongs to: `hub` for `src/hub/relay.rs`, `ids` for `src/ids.rs`.
    fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").expect("a source");
        below.split('/').next().expect("a first part").trim_end_matches(".rs")
    }

    /// Modules between the crate and the file's own: 1 for `src/ids.rs` and `src/hub/mod.rs`.
    fn depth(&self) -> usize {
        self.path.matches('/').count() - usize::from(self.path.ends_with("/mod.rs"))
    }

    /// The text up to the file's own tests.
    fn before_tests(&self) -> &str {
        for (at, _) in self.text.match_indices("#[cfg(test)]\n") {
            let next = self.text[at..].lines().nth(1).unwrap_or_default();
            if next.starts_with("mod ") && next.ends_with('{') {
                return &self.text[..at];
            }
        }
        &self.text
    }

    /// The files that this one declares as modules for tests only.
    fn test_modules(&self) -> impl Iterator<Item = String> {
        let folder = match self.path.strip_suffix("/mod.rs") {
            Some(folder) => folder.to_owned(),
            None => self.path.trim_end_matches(".rs").to_owned(),
        };
        let mut lines = self.text.lines().peekable();
        iter::from_fn(move || {
            while let Some(line) = lines.next() {
                if line.trim() == "#[cfg(test)]"
                    && let Some((_, name)) = lines.peek().and_then(|next| next.split_once("mod "))
                    && let Some(name) = name.strip_suffix(';')
                {
                    return Some(format!("{folder}/{name}"));
                }
            }
            None
        })
    }
}

/// The sources without those that only tests see.
fn shipped(sources: Vec<File>) -> Vec<File> {
    let tests: BTreeSet<String> =
        sources.iter().flat_map(|file| file.test_modules().collect::<Vec<_>>()).collect();
    let is_test = |path: &str| {
        let path = path.trim_end_matches(".rs");
        tests
            .iter()
            .any(|test| path == test || path.strip_prefix(test).is_some_and(|rest| rest.starts_with('/')))
    };
    sources.into_iter().filter(|file| !is_test(&file.path)).collect()
}

/// Source text without its line comments, so that a link in the docs is no use of a module.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn word(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

/// Whether `needle` stands in `text` as a word of its own.
fn has_word(text: &str, needle: &str) -> bool {
    text.match_indices(needle)
        .any(|(at, _)| !text[..at].ends_with(is_word) && !text[at + needle.len()..].starts_with(is_word))
}

/// Whether a path in `text` starts with this crate; `crate::config::x` does not start with `config`.
fn names_crate(text: &str, name: &str) -> bool {
    let path = format!("{name}::");
    text.match_indices(&path).any(|(at, _)| !text[..at].ends_with(|c| is_word(c) || c == ':'))
}

/// The first names of a path or of a braced list of paths: `a` and `b` of `{a, b::{c, d}}`.
fn first_names(text: &str) -> Vec<&str> {
    let Some(list) = text.strip_prefix('{') else { return vec![word(text)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.push(word(list[start..at].trim_start()));
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

/// The modules of `src/` that a file uses, by `crate::` or by climbing out of its own.
fn uses(file: &File) -> BTreeSet<String> {
    let text = code(&file.text);
    let mut used = BTreeSet::new();
    for (at, start) in text.match_indices("crate::") {
        used.extend(first_names(&text[at + start.len()..]).into_iter().map(str::to_owned));
    }
    // One more `super` leads out of a test module inside the file.
    for climbs in [file.depth(), file.depth() + 1] {
        let climb = "super::".repeat(climbs);
        for (at, start) in text.match_indices(&climb) {
            if !text[..at].ends_with("super::") {
                used.extend(first_names(&text[at + start.len()..]).into_iter().map(str::to_owned));
            }
        }
    }
    used.into_iter().filter(|name| name != "lib" && LAYERS.iter().any(|(layer, _)| layer == name)).collect()
}

#[test]
fn files_use_lower_layers_only() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut found = Vec::new();
    for file in sources() {
        let own = file.module();
        let Some(&layer) = layers.get(own) else {
            found.push(format!("{}: the module has no layer; give it one in LAYERS", file.path));
            continue;
        };
        for used in uses(&file) {
            let allowed = used == own
                || layers[used.as_str()] < layer
                || (layers[used.as_str()] == layer && SOCIABLE.contains(&layer))
                || EXCEPTIONS.iter().any(|(path, module, _)| *path == file.path && *module == used);
            if !allowed {
                found.push(format!(
                    "{} (layer {layer}) uses {used} (layer {})",
                    file.path,
                    layers[used.as_str()]
                ));
            }
            if used == "pb" && own != "pb" && !SPEAKS_PROTOBUF.contains(&own) {
                found.push(format!("{} uses the protobuf types; give it types of its own", file.path));
            }
        }
    }
    report(&found);
}

#[test]
fn exceptions_are_needed() {
    let sources = sources();
    let stale = EXCEPTIONS.iter().filter(|(path, module, _)| {
        !sources.iter().any(|file| file.path == *path && uses(file).contains(*module))
    });
    report(&stale.map(|(path, module, _)| format!("{path} no longer uses {module}")).collect::<Vec<_>>());
}

#[test]
fn rules_do_no_io() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("a manifest");
    let dependencies: Vec<String> = manifest["dependencies"]
        .as_table()
        .expect("dependencies")
        .keys()
        .map(|name| name.replace('-', "_"))
        .filter(|name| !MODEL_CRATES.contains(&name.as_str()))
        .collect();
    let mut found = Vec::new();
    for file in shipped(sources()).into_iter().filter(|file| file.module() == "model") {
        let text = code(file.before_tests());
        for name in dependencies.iter().filter(|name| names_crate(&text, name)) {
            found.push(format!("{}: uses the crate {name}", file.path));
        }
        for banned in MODEL_BANNED.iter().filter(|banned| text.contains(**banned)) {
            found.push(format!("{}: {banned}; take it as an argument", file.path));
        }
    }
    report(&found);
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let mut found = Vec::new();
    for file in shipped(sources()) {
        let lines = file.before_tests().lines().count();
        if lines > RUST_LINES {
            found.push(format!("{}: {lines} lines before its tests, at most {RUST_LINES}", file.path));
        }
    }
    for file in files().into_iter().filter(|file| file.path.starts_with("web/") && file.path.ends_with(".js"))
    {
        let lines = file.text.lines().count();
        if lines > SCRIPT_LINES && !file.path.starts_with("web/test/") {
            found.push(format!("{}: {lines} lines, at most {SCRIPT_LINES}", file.path));
        }
    }
    report(&found);
}

#[test]
fn modules_say_what_they_decide() {
    let silent = sources().into_iter().filter(|file| !file.text.starts_with("//! "));
    report(&silent.map(|file| format!("{}: does not begin with //!", file.path)).collect::<Vec<_>>());
}

#[test]
fn limits_give_reasons() {
    let text = read("src/limits.rs")
        + &read("src/limits/process.rs")
        + &read("src/limits/cobrowse.rs")
        + &read("src/limits/redis.rs")
        + &read("src/limits/sinks.rs")
        + &read("src/limits/vault.rs");
    let mut found = Vec::new();
    let mut documented = false;
    for line in text.lines() {
        if line.starts_with("pub const ") && !documented {
            found.push(word(&line["pub const ".len()..]).to_owned());
        }
        documented = line.starts_with("///") || (documented && line.starts_with("#["));
    }
    report(&found);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let unfinished = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
    let calls = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("#[ig", "nore"),
    ];
    let mut found = Vec::new();
    for file in files() {
        let kind = Path::new(&file.path).extension().and_then(|kind| kind.to_str()).unwrap_or_default();
        if matches!(kind, "lock" | "json") || file.path == "LICENSE" {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            let mut note = |what: &str| found.push(format!("{}:{}: {what}", file.path, number + 1));
            unfinished.iter().filter(|word| has_word(line, word)).for_each(|word| note(word));
            match kind {
                "rs" => {
                    calls.iter().filter(|call| line.contains(**call)).for_each(|call| note(call));
                    let sleep = concat!("sle", "ep(");
                    if file.path.starts_with("tests/") && line.contains(sleep) {
                        note("waits for time instead of for what should happen");
                    }
                }
                "js" | "mjs" => {
                    let narrowed = [".only(", ".skip(", "only: true", "skip: true"];
                    let is_test = file.path.starts_with("tests/") || file.path.starts_with("web/test/");
                    narrowed
                        .iter()
                        .filter(|call| is_test && line.contains(**call))
                        .for_each(|call| note(call));
                }
                _ => {}
            }
        }
    }
    report(&found);
}

/// The cells of each row of the table under a heading.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let below =
        text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{page} has no {heading}")).1;
    let rows =
        below.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    let mut rows = rows.map(cells);
    let columns: Vec<String> = rows.next().unwrap_or_else(|| panic!("{page} has no table under {heading}"));
    let rows: Vec<Vec<String>> = rows.skip(1).collect();
    for row in &rows {
        assert!(
            row.len() == columns.len() && !row.iter().any(String::is_empty),
            "{page}: {row:?} has a hole"
        );
    }
    rows
}

/// Compares the first columns of a table with what the code says.
#[track_caller]
fn same(page: &str, heading: &str, told: &[Vec<String>]) {
    let written = table(page, heading);
    let unknown = written.iter().filter(|row| !told.iter().any(|told| row.starts_with(told)));
    let mut found: Vec<String> =
        unknown.map(|row| format!("{page}: {row:?} is not what the server says")).collect();
    let missing = told.iter().filter(|told| !written.iter().any(|row| row.starts_with(told)));
    found.extend(missing.map(|row| format!("{page}, {heading}: no row {row:?}")));
    report(&found);
}

#[test]
fn close_codes_are_documented() {
    let row = |code: &CloseCode| {
        let reconnect = if code.reconnect() { "yes" } else { "no" };
        vec![code.code().to_string(), format!("`{}`", code.name()), reconnect.to_owned()]
    };
    same("docs/codes.md", "## Close codes", &CloseCode::ALL.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn error_codes_are_documented() {
    let row = |code: &ErrorCode| vec![format!("`{}`", code.as_str())];
    same("docs/codes.md", "## Error codes", &ErrorCode::ALL.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn reasons_are_documented() {
    let row = |reason: &Reason| vec![format!("`{}`", reason.as_str()), format!("`{:?}`", reason.code())];
    same(
        "docs/codes.md",
        "## Reasons of the admin service",
        &Reason::ALL.iter().map(row).collect::<Vec<_>>(),
    );
}

#[test]
fn metrics_are_documented() {
    let mut rows = Vec::new();
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let cells = [&format!("`{}`", metric.name), kind, metric.unit.as_str(), metric.help];
        rows.push(cells.map(str::to_owned).to_vec());
    }
    same("docs/metrics.md", "## Metrics", &rows);
}

#[test]
fn pages_exist_and_their_links_resolve() {
    let mut found = Vec::new();
    for page in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE"] {
        if !root().join(page).is_file() {
            found.push(format!("{page} is missing"));
        }
    }
    for file in files().into_iter().filter(|file| file.path.ends_with(".md")) {
        let folder = root().join(&file.path).parent().expect("a folder").to_owned();
        for link in file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') && !folder.join(target).exists() {
                found.push(format!("{}: {link} leads nowhere", file.path));
            }
        }
    }
    report(&found);
}

#[test]
fn the_lock_file_names_no_registry() {
    let text = read("web/package-lock.json");
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains("\"resolved\""));
    report(&lines.map(|(at, line)| format!("line {}: {}", at + 1, line.trim())).collect::<Vec<_>>());
}

#[test]
fn this_test_sees_what_it_looks_for() {
    assert_eq!(first_names("{a, b::{c, d}, e as f};"), ["a", "b", "e"]);
    assert_eq!(first_names("hub::Hub"), ["hub"]);
    assert!(has_word("// x: y", "x"));
    assert!(!has_word("box: y", "x"));
    assert!(names_crate("tokio::spawn(x)", "tokio"));
    assert!(!names_crate("my_tokio::x; crate::tokio::y", "tokio"));
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let climber =
        file("src/hub/relay.rs", "use super::super::ws::Link;\n// crate::admin\nuse super::driver;");
    assert_eq!(uses(&climber), BTreeSet::from(["ws".to_owned()]));
    let tested = file("src/model/x.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
    assert_eq!(tested.before_tests(), "fn a() {}\n");
    let declaring = file("src/model/session/mod.rs", "#[cfg(test)]\nmod tests;\nfn a() {}\n");
    assert_eq!(declaring.before_tests(), declaring.text);
    assert_eq!(declaring.test_modules().collect::<Vec<_>>(), ["src/model/session/tests"]);
}

#[test]
fn the_settings_we_ship_are_good() {
    let file = root().join("deploy/porchlight.toml");
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_porchlight"))
        .args(["check-config", "--config"])
        .arg(&file)
        .output()
        .expect("the binary starts");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
