//! Traces: what took how long, told to a collector of OpenTelemetry where the settings name one.
//!
//! Decides how a trace is continued, sampled, bounded and sent. Decides nothing about what becomes a span: whoever
//! does the work says so, and tells neither visitors, nor agents, nor addresses, nor secrets. The feature `otel` brings
//! the library; without it everything here is empty and costs nothing.

use std::fmt;

#[cfg(not(feature = "otel"))]
mod none;
#[cfg(feature = "otel")]
mod otlp;

#[cfg(not(feature = "otel"))]
pub use none::{Span, Traces};
#[cfg(feature = "otel")]
pub use otlp::{Span, Traces};

/// Whether this binary can send traces.
pub const HAS_TRACES: bool = cfg!(feature = "otel");

/// Where spans go, and how many of them.
#[derive(Debug, Clone)]
pub struct Collector {
    /// The collector's address for OTLP over gRPC.
    pub endpoint: String,
    /// Share of the traces that begin here and are sent.
    pub sample: f64,
    /// The name of this node.
    pub node: String,
}

/// Why no spans are sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The library is missing.
    #[error("this binary was built without OpenTelemetry (the feature otel)")]
    Missing,
    /// The collector's address is none.
    #[error("the collector cannot be reached by this address")]
    Endpoint(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The span that a new one belongs to, as W3C Trace Context writes it in `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    trace: u128,
    span: u64,
    sampled: bool,
}

impl Parent {
    /// Reads a `traceparent`; one that is not understood is none, as the recommendation wants.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, rest) = text.split_at_checked(55)?;
        let fields: Vec<&str> = head.split('-').collect();
        let [version, trace, span, flags] = fields[..] else { return None };
        let lengths = [version.len(), trace.len(), span.len(), flags.len()];
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_version = match version {
            "ff" => false,
            "00" => rest.is_empty(),
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let hex = fields.iter().all(|field| field.bytes().all(is_hex));
        if lengths != [2, 32, 16, 2] || !hex || !is_version {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_context_is_read_and_written() {
        let parent = Parent::parse(SAMPLE).unwrap();
        assert_eq!(
            (parent.trace, parent.span),
            (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7)
        );
        assert!(parent.sampled);
        assert_eq!(parent.to_string(), SAMPLE);
        let quiet = SAMPLE.replace("-01", "-00");
        assert!(!Parent::parse(&quiet).unwrap().sampled);
        // Only the lowest flag is ours to know, and a later version may say more.
        assert_eq!(Parent::parse(&SAMPLE.replace("-01", "-03")).unwrap().to_string(), SAMPLE);
        assert_eq!(Parent::parse(&format!("01{}-more", &SAMPLE[2..])).unwrap(), parent);
    }

    #[test]
    fn what_is_no_trace_context_is_none() {
        for bad in [
            "",
            "00",
            &SAMPLE[..54],
            &format!("{SAMPLE}-more"),
            &format!("{SAMPLE}0"),
            &format!("ff{}", &SAMPLE[2..]),
            &format!("01{}x", &SAMPLE[2..]),
            &SAMPLE.to_uppercase(),
            &SAMPLE.replace("4bf9", "4bg9"),
            &SAMPLE.replace("4bf9", "+bf9"),
            &SAMPLE.replace('-', "_"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bä-1",
        ] {
            assert_eq!(Parent::parse(bad), None, "{bad}");
        }
    }
}
