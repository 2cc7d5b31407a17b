//! Files of letters, one JSON object a line, each line exactly once.
//!
//! Decides where a line lies, when a file is put aside and what was written already. Whether a letter was
//! accepted is read from the file itself: its last whole line tells the place, and a torn end is cut off. So
//! a death between the line and the note in the store repeats nothing.
//!
//! Files lie in `<directory>/g-<group>/s-<sink>/<lane>.ndjson`; one that is put aside is called
//! `<lane>-<last place>.ndjson`. Names of groups and sinks cannot lead elsewhere: they hold no slash, and
//! stand behind a prefix.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::letter::Letter;
use crate::ids::{GroupId, SinkId};
use crate::limits;
use crate::model::sink::Lane;

/// Digits of a place in a file's name, so that names sort as places do.
const DIGITS: usize = 20;

/// How much of a file's end is read at once to find its last line.
const CHUNK: u64 = 64 * 1024;

/// When a file is put aside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotation {
    pub(super) bytes: u64,
    pub(super) age: Duration,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { bytes: limits::SINK_FILE_BYTES, age: limits::SINK_FILE_AGE }
    }
}

/// What of a line is read again.
#[derive(Deserialize)]
struct Placed {
    place: u64,
}

/// Where a sink's lane is written.
pub(super) fn folder(directory: &Path, group: &GroupId, sink: &SinkId) -> PathBuf {
    directory.join(format!("g-{group}")).join(format!("s-{sink}"))
}

/// Writes the letters that are not in the file yet, and returns when they are on the disk. Blocks.
pub(super) fn write(folder: &Path, lane: Lane, letters: &[Letter], rotation: Rotation) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // A follower that was ended leaves its last write to end by itself: the next one waits for it, or both
    // would find the same place.
    let folder_file = File::open(folder)?;
    folder_file.lock()?;
    let name = lane.as_str();
    let path = folder.join(format!("{name}.ndjson"));
    let mut file = open(&path)?;
    let mut written = last_place(&mut file)?;
    if written.is_none() {
        written = last_put_aside(folder, name)?;
    } else if is_full(&file, rotation)? {
        let place = written.unwrap_or_default();
        fs::rename(&path, folder.join(format!("{name}-{place:0DIGITS$}.ndjson")))?;
        file = open(&path)?;
        folder_file.sync_all()?;
    }
    let written = written.unwrap_or(0);
    let mut lines = Vec::new();
    for letter in letters.iter().filter(|letter| letter.place > written) {
        lines.extend_from_slice(letter.body.as_bytes());
        lines.push(b'\n');
    }
    file.write_all(&lines)?;
    file.sync_data()?;
    folder_file.sync_all()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)
}

fn is_full(file: &File, rotation: Rotation) -> io::Result<bool> {
    let meta = file.metadata()?;
    // Without a birth time a file is as old as its last line, and is put aside by its size alone.
    let born = meta.created().or_else(|_| meta.modified())?;
    let age = SystemTime::now().duration_since(born).unwrap_or_default();
    Ok(meta.len() >= rotation.bytes || age >= rotation.age)
}

/// The place of the last whole line; cuts off what follows it. None in a file without a line.
fn last_place(file: &mut File) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    let (mut from, mut end) = (length, Vec::new());
    loop {
        // The end of the last whole line, and the end of the one before it.
        let whole = end.iter().rposition(|byte| *byte == b'\n');
        let before = whole.and_then(|whole| end[..whole].iter().rposition(|byte| *byte == b'\n'));
        if let (Some(whole), true) = (whole, before.is_some() || from == 0) {
            let cut = from + whole as u64 + 1;
            if cut < length {
                file.set_len(cut)?;
            }
            let line = &end[before.map_or(0, |before| before + 1)..whole];
            let placed: Placed = serde_json::from_slice(line)?;
            return Ok(Some(placed.place));
        }
        if from == 0 {
            file.set_len(0)?;
            return Ok(None);
        }
        let step = CHUNK.min(from);
        from -= step;
        file.seek(SeekFrom::Start(from))?;
        let mut chunk = Vec::new();
        io::Read::by_ref(file).take(step).read_to_end(&mut chunk)?;
        chunk.append(&mut end);
        end = chunk;
    }
}

/// The last place in the files that were put aside.
fn last_put_aside(folder: &Path, lane: &str) -> io::Result<Option<u64>> {
    let mut last = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let place = name.to_str().and_then(|name| {
            name.strip_prefix(lane)?.strip_prefix('-')?.strip_suffix(".ndjson")?.parse().ok()
        });
        last = last.max(place);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOMY: Rotation = Rotation { bytes: 1 << 30, age: Duration::from_secs(1 << 30) };

    fn letter(place: u64) -> Letter {
        let body = format!(r#"{{"id":"evt_{place}","place":{place},"data":"{}"}}"#, "x".repeat(40));
        Letter { id: format!("evt_{place}"), place, body, event: None }
    }

    fn letters(places: std::ops::RangeInclusive<u64>) -> Vec<Letter> {
        places.map(letter).collect()
    }

    /// The places in all files, in order.
    fn places(folder: &Path) -> Vec<u64> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        // `events-0…` sorts before `events.ndjson`.
        names.sort();
        let text: String = names.iter().map(|name| fs::read_to_string(name).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str::<Placed>(line).unwrap().place).collect()
    }

    #[test]
    fn what_is_repeated_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        for batch in [1..=3, 1..=3, 2..=5, 6..=6] {
            write(folder.path(), Lane::Events, &letters(batch), ROOMY).unwrap();
        }
        assert_eq!(places(folder.path()), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_torn_line_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        write(folder.path(), Lane::Events, &letters(1..=2), ROOMY).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            write(folder.path(), Lane::Events, &letters(1..=2), ROOMY).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "cut at {length}");
        }
    }

    #[test]
    fn long_lines_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let long = |place: u64| {
            let body = format!(r#"{{"place":{place},"data":"{}"}}"#, "x".repeat(3 * CHUNK as usize));
            Letter { id: String::new(), place, body, event: None }
        };
        for _ in 0..2 {
            write(folder.path(), Lane::Records, &[long(1), long(2)], ROOMY).unwrap();
        }
        assert_eq!(places(folder.path()), [1, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn every_line_is_there_once_in_order(
            batches in prop::collection::vec((1..8u64, any::<bool>(), 0..200usize), 1..12),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let (small, path) = (Rotation { bytes: 300, ..ROOMY }, folder.path().join("events.ndjson"));
            let mut noted = 0;
            for (count, killed, torn) in batches {
                write(folder.path(), Lane::Events, &letters(noted + 1..=noted + count), small).unwrap();
                if killed {
                    // Dead before the note, and the last line torn as by a lost flush; a file that was
                    // put aside had been flushed.
                    let bytes = fs::read(&path).unwrap();
                    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                    let last = lines.last().map_or(0, |line| line.len());
                    fs::write(&path, &bytes[..bytes.len() - torn.min(last)]).unwrap();
                    write(folder.path(), Lane::Events, &letters(noted + 1..=noted + count), small).unwrap();
                }
                noted += count;
            }
            prop_assert_eq!(places(folder.path()), (1..=noted).collect::<Vec<_>>());
        }
    }

    #[test]
    fn two_who_write_at_once_write_once() {
        let folder = tempfile::tempdir().unwrap();
        let small = Rotation { bytes: 2_000, ..ROOMY };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for first in (1..=60).step_by(3) {
                        write(folder.path(), Lane::Events, &letters(first..=first + 2), small).unwrap();
                    }
                });
            }
        });
        assert_eq!(places(folder.path()), (1..=60).collect::<Vec<_>>());
    }

    #[test]
    fn names_stay_inside() {
        let group = GroupId::new("..").unwrap();
        let sink = SinkId::new("..").unwrap();
        assert_eq!(folder(Path::new("/d"), &group, &sink), Path::new("/d/g-../s-.."));
    }
}
