//! Whether the process has room for more work: files, memory, connections.
//!
//! Decides from what is used and what there is whether new work is refused, with a gap between the two marks so that a
//! node at its mark does not change its mind with each connection. Knows where Linux tells both. Does not refuse
//! anything itself: the doors and the hub ask. Told by `server`, each second.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{self, Limits};
use crate::telemetry::Meters;

/// What there can be too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supply {
    /// File descriptors of the process.
    Files,
    /// Memory of the process.
    Memory,
    /// WebSockets of the node.
    Connections,
}

impl Supply {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Files, Self::Memory, Self::Connections];

    /// The name in metrics, log and readiness.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Memory => "memory",
            Self::Connections => "connections",
        }
    }

    /// What probes are told while there is too little of it.
    pub const fn shortage(self) -> &'static str {
        match self {
            Self::Files => "nearly all file descriptors are in use, new work is refused",
            Self::Memory => "nearly all memory is in use, new work is refused",
            Self::Connections => "all connections are in use, new ones are refused",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Files => 0,
            Self::Memory => 1,
            Self::Connections => 2,
        }
    }
}

/// How much room there is, as of the last look.
#[derive(Debug)]
pub struct Room {
    limits: Arc<Limits>,
    meters: Arc<Meters>,
    short: [AtomicBool; 3],
}

impl Room {
    /// There is room until somebody looked.
    pub fn new(limits: Arc<Limits>, meters: Arc<Meters>) -> Self {
        for supply in Supply::ALL {
            meters.short_of(supply.name(), false);
        }
        Self { limits, meters, short: Default::default() }
    }

    /// Whether new work of that kind is refused.
    pub fn is_short_of(&self, supply: Supply) -> bool {
        self.short[supply.index()].load(Ordering::Relaxed)
    }

    /// Why no new socket, session or stream begins: what the node has too little of. What runs goes on.
    pub fn refuses(&self) -> Option<Supply> {
        [Supply::Files, Supply::Memory].into_iter().find(|supply| self.is_short_of(*supply))
    }

    /// Takes in how much of something is used, and how much there is.
    pub fn look(&self, supply: Supply, used: u64, most: u64) {
        let before = self.is_short_of(supply);
        let now = is_short(before, used, most, self.percent(supply));
        if now == before {
            return;
        }
        self.short[supply.index()].store(now, Ordering::Relaxed);
        self.meters.short_of(supply.name(), now);
        if now {
            tracing::warn!(of = supply.name(), used, most, "the node is full and refuses new work");
        } else {
            tracing::info!(of = supply.name(), used, most, "the node has room again");
        }
    }

    /// From which share on new work is refused, in percent.
    fn percent(&self, supply: Supply) -> u32 {
        match supply {
            Supply::Files => self.limits.files_percent,
            Supply::Memory => self.limits.memory_percent,
            Supply::Connections => 100,
        }
    }

    /// Looks at what the process uses of the machine.
    pub fn look_at_process(&self) {
        let most = file_limit();
        self.meters.file_limit(most);
        if let Some(files) = open_files(most) {
            self.meters.open_files(files);
            self.look(Supply::Files, files, most);
        }
        if let Some(resident) = resident() {
            self.meters.resident(resident);
            if let Some(most) = self.limits.memory.or_else(memory_limit) {
                self.meters.memory_limit(most);
                self.look(Supply::Memory, resident, most);
            }
        }
    }
}

/// Whether there is too little: at the mark and above, and then until it is clearly below.
fn is_short(before: bool, used: u64, most: u64, percent: u32) -> bool {
    let mark = u128::from(most) * u128::from(percent);
    let again = mark - mark * u128::from(limits::ROOM_AGAIN_PERCENT) / 100;
    u128::from(used) * 100 >= if before { again } else { mark }
}

/// Takes as many file descriptors as the process may have, and says how many that is.
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "can't raise the limit of open files");
        }
    }
    file_limit()
}

/// How many files the process may open now. Operators may change it under way (`prlimit`).
fn file_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many files of at most so many the process has open. Linux 6.2 and newer tell it as the folder's size; before,
/// they are counted.
fn open_files(most: u64) -> Option<u64> {
    let folder = Path::new("/proc/self/fd");
    match fs::metadata(folder).ok()?.size() {
        0 => counted(folder, most),
        files => Some(files),
    }
}

/// Counting takes a descriptor itself: where none is left, all are in use.
fn counted(folder: &Path, most: u64) -> Option<u64> {
    match fs::read_dir(folder) {
        Ok(files) => Some(files.count() as u64),
        Err(error) if is_out_of_files(&error) => Some(most),
        Err(_) => None,
    }
}

/// No descriptor is left, to the process or to the machine.
pub fn is_out_of_files(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// How many bytes of memory the process occupies.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}

/// How many bytes its control group, or one above it, allows the process; none where nobody says.
fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_of_groups(&groups, Path::new("/sys/fs/cgroup"))
}

/// The limit of the groups that the process is in (`/proc/self/cgroup`), by either edition of cgroups. Where both are
/// mounted, the memory is in the hands of one of them.
fn limit_of_groups(groups: &str, mounted: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.strip_prefix('/')?);
        match controllers {
            "" => smallest_limit(mounted, &mounted.join(path), "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                let root = mounted.join("memory");
                smallest_limit(&root, &root.join(path), "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    limits.min()
}

/// The smallest limit of a group and those above it. A container may see its own group alone, as the root, and yet be
/// told the path of it on the host.
fn smallest_limit(root: &Path, group: &Path, file: &str) -> Option<u64> {
    let above = group.ancestors().take_while(|folder| folder.starts_with(root));
    // Without a limit it is `max`, which is no number, or in the first edition the largest number of whole pages.
    let told = above.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok());
    told.filter(|limit: &u64| *limit < limits::NO_MEMORY_LIMIT).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_full_at_its_mark_and_until_clearly_below_it() {
        for (before, used, short) in [
            (false, 899, false),
            (false, 900, true),
            (false, 2_000, true),
            (true, 900, true),
            (true, 855, true),
            (true, 854, false),
            (true, 0, false),
        ] {
            assert_eq!(is_short(before, used, 1_000, 90), short, "{before} {used}");
        }
        assert!(!is_short(false, u64::MAX - 1, u64::MAX, 100), "a limit that is none");
    }

    #[test]
    fn each_supply_counts_by_itself_and_is_told() {
        let (meters, scrape) = Meters::new();
        let room = Room::new(Arc::new(Limits::default()), meters);
        room.look(Supply::Connections, 10, 10);
        assert!(room.is_short_of(Supply::Connections));
        assert_eq!(room.refuses(), None, "sessions of those who are here may begin");
        room.look(Supply::Memory, 95, 100);
        assert_eq!(room.refuses(), Some(Supply::Memory));
        room.look(Supply::Files, 95, 100);
        assert_eq!(room.refuses(), Some(Supply::Files));
        let told = scrape.render();
        for (of, value) in [("files", 1), ("memory", 1), ("connections", 1)] {
            let line = format!(r#"porchlight_full{{of="{of}"}} {value}"#);
            assert!(told.contains(&line), "{line}\n{told}");
        }
        for supply in Supply::ALL {
            room.look(supply, 1, 100);
        }
        assert_eq!(room.refuses(), None);
        assert!(scrape.render().contains(r#"porchlight_full{of="memory"} 0"#));
    }

    #[test]
    fn linux_tells_what_is_used() {
        assert!(open_files(u64::MAX).expect("there is /proc") >= 3);
        assert!(resident().expect("there is /proc") > 1024 * 1024);
        assert!(file_limit() >= 3);
    }

    #[test]
    fn all_files_are_in_use_when_none_is_left_to_count_them() {
        let folder = Path::new("/proc/self/fd");
        let before = getrlimit(Resource::Nofile);
        assert!(counted(folder, 1_000).expect("there is /proc") < 1_000);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: before.maximum }).unwrap();
        let files = counted(folder, 1_000);
        setrlimit(Resource::Nofile, before).unwrap();
        assert_eq!(files, Some(1_000));
        assert_eq!(counted(Path::new("/proc/self/none"), 1_000), None);
    }

    #[test]
    fn what_ails_the_process_is_told_from_what_ails_a_peer() {
        assert!([Errno::MFILE, Errno::NFILE].iter().all(|errno| is_out_of_files(&(*errno).into())));
        assert!(![Errno::NOMEM, Errno::CONNABORTED].iter().any(|errno| is_out_of_files(&(*errno).into())));
    }

    #[test]
    fn the_smallest_limit_of_all_groups_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("system.slice/porchlight.service");
        fs::create_dir_all(&group).unwrap();
        let limit = || limit_of_groups("0::/system.slice/porchlight.service\n", root.path());
        assert_eq!(limit(), None);
        fs::write(group.join("memory.max"), "max\n").unwrap();
        assert_eq!(limit(), None);
        fs::write(root.path().join("system.slice/memory.max"), "4096\n").unwrap();
        assert_eq!(limit(), Some(4096));
        fs::write(group.join("memory.max"), "1024\n").unwrap();
        assert_eq!(limit(), Some(1024));
    }

    #[test]
    fn the_first_edition_of_control_groups_limits_too() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("memory/docker/4711");
        fs::create_dir_all(&group).unwrap();
        let limit = |groups: &str| limit_of_groups(groups, root.path());
        let hybrid =
            "12:pids:/docker/4711\n9:memory:/docker/4711\n1:name=systemd:/docker/4711\n0::/docker/4711\n";
        assert_eq!(limit(hybrid), None);
        // What the kernel tells of a group without a limit.
        fs::write(root.path().join("memory/memory.limit_in_bytes"), "9223372036854771712\n").unwrap();
        fs::write(group.join("memory.limit_in_bytes"), "9223372036854771712\n").unwrap();
        assert_eq!(limit(hybrid), None);
        fs::write(group.join("memory.limit_in_bytes"), "1073741824\n").unwrap();
        assert_eq!(limit(hybrid), Some(1 << 30));
        assert_eq!(limit("4:cpu,memory,pids:/docker/4711\n"), Some(1 << 30), "beside other controllers");
        assert_eq!(limit("4:cpuset:/docker/4711\n"), None, "another controller's group");
        fs::write(root.path().join("memory/docker/memory.limit_in_bytes"), "1048576\n").unwrap();
        assert_eq!(limit(hybrid), Some(1 << 20), "the one above is smaller");
        assert_eq!(limit("9:memory:/docker/elsewhere\n"), Some(1 << 20), "a group that can't be seen");
        assert_eq!(limit("9:memory\n"), None);
    }
}
