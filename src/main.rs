//! The `porchlight` binary: arguments in, exit code out; nothing else.

use std::process::ExitCode;

/// Idle connections are many and small; mimalloc packs them tighter than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    porchlight::cli::main()
}
