//! What the kernel says: how many files may be open, and what a process has used.
//!
//! Reads `/proc`, so usage is known on Linux only. Never touches another process.

use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

/// Open files besides the connections: standard streams, the runtime's own, name look-ups.
const OWN_FILES: u64 = 64;

/// Ticks per second in `/proc/<pid>/stat`: part of Linux's stable interface, whatever the kernel's own HZ.
const USER_HZ: u64 = 100;

/// Raises the soft limit of open files as far as `connections` need.
pub(super) fn make_room(connections: usize) -> anyhow::Result<()> {
    let need = u64::try_from(connections)?.saturating_add(OWN_FILES);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|soft| soft >= need) {
        return Ok(());
    }
    if let Some(hard) = limit.maximum
        && hard < need
    {
        bail!(
            "{connections} connections need {need} open files and the hard limit is {hard}; \
             ask for at most {} here and start several processes for more",
            hard.saturating_sub(OWN_FILES)
        );
    }
    let raised = Rlimit { current: Some(need), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised)
        .with_context(|| format!("limit of open files can't be raised to {need}"))
}

/// What a process has used up to a moment.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// Processor time in user and kernel mode, seconds; the kernel counts hundredths.
    pub cpu_seconds: f64,
}

impl Usage {
    /// What the process has used by now.
    ///
    /// # Errors
    /// When there is no such process or no `/proc`.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("process {pid} is not readable in /proc"))?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} is not readable in /proc"))?;
        let rss_kib = rss(&status).with_context(|| format!("process {pid} has no VmRSS"))?;
        let cpu = cpu(&stat).with_context(|| format!("process {pid} has no processor times"))?;
        Ok(Self { rss_kib, cpu_seconds: cpu.as_secs_f64() })
    }

    /// What several processes have used together; none when there are none.
    pub(super) fn of_all(pids: &[u32]) -> anyhow::Result<Option<Self>> {
        let mut sum: Option<Self> = None;
        for pid in pids {
            let one = Self::of(*pid)?;
            let before = sum.unwrap_or(Self { rss_kib: 0, cpu_seconds: 0.0 });
            sum = Some(Self {
                rss_kib: before.rss_kib + one.rss_kib,
                cpu_seconds: before.cpu_seconds + one.cpu_seconds,
            });
        }
        Ok(sum)
    }

    /// What this process has used, or nothing where the kernel does not tell.
    pub(super) fn own() -> Option<Self> {
        Self::of(std::process::id()).ok()
    }
}

fn rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn cpu(stat: &str) -> Option<Duration> {
    // The name in parentheses may hold anything, so fields count from behind it; the first is the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + kernel) * 1_000 / USER_HZ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        assert_eq!(rss("VmHWM:\t  99 kB\nVmRSS:\t    1234 kB\n"), Some(1234));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 500 0 3 0 150 50 0 0 20 0 3 0 100";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu("7 (short) S 1"), None);
    }

    #[test]
    fn an_impossible_count_is_refused_with_the_limit() {
        let Some(hard) = getrlimit(Resource::Nofile).maximum else { return };
        let told = make_room(usize::try_from(hard).unwrap()).unwrap_err().to_string();
        assert!(told.contains(&hard.to_string()), "{told}");
        assert!(make_room(1).is_ok());
    }
}
