//! What the process uses of the machine.

use metrics::{Key, Recorder as _};

use super::{
    ACCEPT_FAILURES, FILE_LIMIT, FULL, MEMORY_LIMIT, METADATA, Meters, OPEN_FILES, RESIDENT, labelled,
};

impl Meters {
    /// Tells how many files the process may open.
    pub fn file_limit(&self, files: u64) {
        self.tell(FILE_LIMIT, files);
    }

    /// Tells how many files the process has open.
    pub fn open_files(&self, files: u64) {
        self.tell(OPEN_FILES, files);
    }

    /// Tells how many bytes of memory the process occupies.
    pub fn resident(&self, bytes: u64) {
        self.tell(RESIDENT, bytes);
    }

    /// Tells how many bytes of memory there are for the process.
    pub fn memory_limit(&self, bytes: u64) {
        self.tell(MEMORY_LIMIT, bytes);
    }

    /// Tells whether new work is refused for want of this.
    pub fn short_of(&self, what: &'static str, short: bool) {
        let gauge = self.recorder.register_gauge(&labelled(FULL, &[("of", what)]), &METADATA);
        gauge.set(f64::from(u8::from(short)));
    }

    /// Counts a connection that a listener could not accept as usual.
    pub fn accept_failed(&self, listener: &'static str) {
        self.count(ACCEPT_FAILURES, &[("listener", listener)]);
    }

    #[expect(clippy::cast_precision_loss, reason = "files and bytes of a process are far below 2^52")]
    fn tell(&self, name: &'static str, value: u64) {
        self.recorder.register_gauge(&Key::from_static_name(name), &METADATA).set(value as f64);
    }
}
