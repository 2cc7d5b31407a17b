//! Generates the protobuf code without `protoc`, takes in what pages are recorded and shown with, tells the commit that
//! is built, and rebuilds the crate when a served file changes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use prost::Message as _;

const PROTO_ROOT: &str = "proto";
const PROTOS: &[&str] = &["porchlight/v1/admin.proto", "porchlight/v1/event.proto"];

/// What nodes tell each other: nobody else is given its description.
const INTERNAL: &[&str] = &["porchlight/cluster/v1/cluster.proto", "porchlight/wire/v1/wire.proto"];

/// What is embedded of `web/`; the rest of it (packages, tests) may change without a rebuild.
const WEB: &[&str] = &["lib", "pages", "share", "style", "view"];

/// The library that records and shows pages: its package, its file there, and what it gives out. It is no part of
/// this tree: npm brings it, and where npm is missing the server is built without.
const LIBRARIES: &[(&str, &str, &str)] =
    &[("@rrweb/record", "umd/record.min.js", "record"), ("@rrweb/replay", "umd/replay.min.js", "Replayer")];

/// Names the npm to use; `none` builds without.
const NPM: &str = "PORCHLIGHT_NPM";

/// Names the commit where no repository tells it, as in an image or a package.
const COMMIT: &str = "PORCHLIGHT_COMMIT";

/// Digits of a commit that are told.
const COMMIT_DIGITS: usize = 12;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(PROTOS, [PROTO_ROOT])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("porchlight.bin"), descriptors.encode_to_vec())?;
    let mut types = tonic_prost_build::Config::new();
    types.enable_type_names();
    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(descriptors, types)?;
    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .compile_fds(protox::compile(INTERNAL, [PROTO_ROOT])?)?;
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={PROTO_ROOT}");
    watch_web(Path::new("web"))?;
    take_libraries(&out)?;
    tell_version()?;
    Ok(())
}

/// Makes `PORCHLIGHT_VERSION`: the version and, where it is known, the commit.
fn tell_version() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-env-changed={COMMIT}");
    let version = env::var("CARGO_PKG_VERSION")?;
    let commit = match env::var(COMMIT).ok().filter(|commit| !commit.is_empty()) {
        Some(commit) => Some(commit),
        // Whoever changes the server builds it without optimisation, and not anew for each commit.
        None if env::var("PROFILE")? == "release" => commit_of_tree(),
        None => None,
    };
    match commit.as_deref().map(|commit| commit.get(..COMMIT_DIGITS).unwrap_or(commit)) {
        Some(commit) if commit.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            println!("cargo:rustc-env=PORCHLIGHT_VERSION={version} ({commit})");
        }
        Some(commit) => return Err(format!("{COMMIT} is no commit: {commit}").into()),
        None => println!("cargo:rustc-env=PORCHLIGHT_VERSION={version}"),
    }
    Ok(())
}

/// The commit of this tree, if it is a repository and not merely within one. What moves it is watched.
fn commit_of_tree() -> Option<String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != env::current_dir().ok()?.canonicalize().ok()? {
        return None;
    }
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD"].into_iter().chain(branch.as_deref()) {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).is_file() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

/// What git says, if it is there and has something to say.
fn git(words: &[&str]) -> Option<String> {
    let done = Command::new("git").args(words).output().ok()?;
    let told = String::from_utf8(done.stdout).ok()?.trim().to_owned();
    (done.status.success() && !told.is_empty()).then_some(told)
}

/// Writes a module for each library, and the list of them that `http::assets` embeds.
fn take_libraries(out: &Path) -> io::Result<()> {
    println!("cargo:rerun-if-env-changed={NPM}");
    let modules = match packages(out)? {
        Some(packages) => {
            LIBRARIES.iter().map(|library| module(&packages, library, out)).collect::<io::Result<Vec<_>>>()?
        }
        None => Vec::new(),
    };
    fs::write(out.join("libraries.rs"), format!("&[{}]", modules.concat()))
}

/// The folder of packages that has the libraries as `web/package-lock.json` names them: that of the tree if
/// somebody filled it, or else one that npm fills here.
fn packages(out: &Path) -> io::Result<Option<PathBuf>> {
    let lock = Path::new("web/package-lock.json");
    let npm = env::var(NPM).unwrap_or_else(|_| "npm".to_owned());
    if npm == "none" || !lock.is_file() {
        return Ok(None);
    }
    println!("cargo:rerun-if-changed={}", lock.display());
    let locked = fs::read_to_string(lock)?;
    let tree = Path::new("web/node_modules");
    if is_there(tree, &locked) {
        return Ok(Some(tree.canonicalize()?));
    }
    let own = out.join("npm");
    let packages = own.join("node_modules");
    if is_there(&packages, &locked) {
        return Ok(Some(packages));
    }
    fs::create_dir_all(&own)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(Path::new("web").join(file), own.join(file))?;
    }
    let ended = Command::new(&npm)
        .args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .args(["--fetch-timeout=30000", "--fetch-retries=1"])
        .current_dir(&own)
        .output();
    let why = match ended {
        Ok(ended) if ended.status.success() && is_there(&packages, &locked) => return Ok(Some(packages)),
        Ok(ended) => String::from_utf8_lossy(&ended.stderr).lines().next().unwrap_or("npm failed").to_owned(),
        Err(error) => error.to_string(),
    };
    println!("cargo:warning=built without cobrowse, all else works: {npm} brought no recorder ({why})");
    Ok(None)
}

/// Whether a folder has the libraries in the versions that are locked.
fn is_there(packages: &Path, locked: &str) -> bool {
    LIBRARIES.iter().all(|(package, file, _)| {
        let version = version(packages, package);
        let at = locked.find(&format!("\"node_modules/{package}\""));
        packages.join(package).join(file).is_file()
            && version.zip(at).is_some_and(|(version, at)| {
                let entry = locked[at..].split('}').next().unwrap_or_default();
                entry.contains(&format!("\"version\": \"{version}\""))
            })
    })
}

fn version(packages: &Path, package: &str) -> Option<String> {
    let facts = fs::read_to_string(packages.join(package).join("package.json")).ok()?;
    let line = facts.lines().find_map(|line| line.trim().strip_prefix("\"version\": \""))?;
    Some(line.split('"').next()?.to_owned())
}

/// Makes a module of a classic script that thinks it is loaded by Node.
fn module(packages: &Path, (package, file, export): &(&str, &str, &str), out: &Path) -> io::Result<String> {
    let source = fs::read_to_string(packages.join(package).join(file))?;
    let source: String = source.lines().filter(|line| !line.starts_with("//# sourceMappingURL")).fold(
        String::with_capacity(source.len()),
        |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        },
    );
    let version = version(packages, package).unwrap_or_default();
    let name = format!("{}.js", package.rsplit('/').next().unwrap_or(package));
    let text = format!(
        "/*! {package} {version}, MIT License, copyright its contributors: https://github.com/rrweb-io/rrweb */\n\
         const module = {{ exports: {{}} }};\nconst exports = module.exports;\n{source}\
         export const {{ {export} }} = module.exports;\n"
    );
    let path = out.join(&name);
    fs::write(&path, text)?;
    println!("cargo:rerun-if-changed={}", packages.join(package).join(file).display());
    Ok(format!("(\"rrweb/{name}\", include_bytes!({path:?}) as &[u8]),"))
}

/// A path that is missing would make every build start afresh, hence only those that exist.
fn watch_web(root: &Path) -> io::Result<()> {
    if !root.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let watched = match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if path.is_dir() => WEB.contains(&name),
            Some(name) => name.ends_with(".js"),
            None => false,
        };
        if watched {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    Ok(())
}
