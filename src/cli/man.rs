//! `porchlight man`: the manual, as `man` reads it.
//!
//! Decides which pages there are: one for the program and one for each command, named as in `git-log`. What they say is
//! what `--help` says. Tells no date, so that the same program writes the same pages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;

use super::VERSION;

/// Writes the manual: a page for each command.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Where the pages go; made if it is missing.
    folder: PathBuf,
}

impl ManArgs {
    pub(super) fn run(self, program: Command) -> anyhow::Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("can't make {}", self.folder.display()))?;
        let mut program = program.disable_help_subcommand(true);
        program.build();
        write(&program, &self.folder)
    }
}

/// Writes the page of a command, and those of the commands below it.
fn write(command: &Command, folder: &Path) -> anyhow::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write(below, folder)?;
    }
    // An empty date would be left out, and what follows taken for it.
    let page =
        Man::new(command.clone()).date(" ").source(format!("Porchlight {VERSION}")).manual("Porchlight");
    let file = folder.join(page.get_filename());
    page.generate_to(folder).with_context(|| format!("can't write {}", file.display()))?;
    Ok(())
}
