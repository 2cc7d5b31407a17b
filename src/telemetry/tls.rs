//! What is known of the certificates that listeners show.

use metrics::Recorder as _;

use super::{CERTIFICATE_EXPIRES, CERTIFICATE_ORDERS, CERTIFICATE_READS, METADATA, Meters, labelled};

impl Meters {
    /// Notes when a listener's certificate expires, in seconds since 1970.
    pub fn certificate_expires(&self, listener: &'static str, at: i64) {
        let gauge = self
            .recorder
            .register_gauge(&labelled(CERTIFICATE_EXPIRES, &[("listener", listener)]), &METADATA);
        #[expect(clippy::cast_precision_loss, reason = "times of this age are far below 2^52")]
        gauge.set(at as f64);
    }

    /// Counts a certificate that an authority was asked for.
    pub fn certificate_ordered(&self, outcome: &'static str) {
        self.count(CERTIFICATE_ORDERS, &[("outcome", outcome)]);
    }

    /// Counts a changed certificate that was read.
    pub fn certificate_read(&self, listener: &'static str, outcome: &'static str) {
        self.count(CERTIFICATE_READS, &[("listener", listener), ("outcome", outcome)]);
    }
}
