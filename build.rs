//! Generates the protobuf code without `protoc`, and rebuilds the crate when a served file changes.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use prost::Message as _;

const PROTO_ROOT: &str = "proto";
const PROTOS: &[&str] = &["porchlight/v1/admin.proto", "porchlight/v1/event.proto"];

/// What nodes tell each other: nobody else is given its description.
const INTERNAL: &[&str] = &["porchlight/cluster/v1/cluster.proto", "porchlight/wire/v1/wire.proto"];

/// What is embedded of `web/`; the rest of it (packages, tests) may change without a rebuild.
const WEB: &[&str] = &["lib", "pages", "share", "style", "view"];

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
    Ok(())
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
