//! Traces of a binary that was built without them: nothing, in the same shape.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use super::{Collector, Parent, TracesError};
use crate::telemetry::Meters;

/// See the feature `otel`.
#[derive(Debug, Clone, Default)]
pub struct Traces;

impl Traces {
    /// Cannot be done.
    pub fn open(_collector: &Collector, _meters: Arc<Meters>) -> Result<Self, TracesError> {
        Err(TracesError::Missing)
    }

    /// There is no collector.
    pub fn are_sent(&self) -> bool {
        false
    }

    /// A span of no trace.
    pub fn begin(&self, _name: impl Into<Cow<'static, str>>, _parent: Option<Parent>) -> Span {
        Span
    }

    /// Nothing waits to be sent.
    #[expect(clippy::unused_async, reason = "the shape of the one that sends")]
    pub async fn close(&self) {}
}

/// See the feature `otel`.
#[derive(Debug, Default)]
pub struct Span;

impl Span {
    /// A span of no trace.
    pub fn child(&self, _name: &'static str) -> Self {
        Self
    }

    /// Nothing can belong to it.
    pub fn parent(&self) -> Option<Parent> {
        None
    }

    /// Is not heard.
    pub fn tell(&mut self, _key: &'static str, _value: impl Display) {}

    /// Is not heard.
    pub fn note(&mut self, _name: &'static str) {}

    /// Is not heard.
    pub fn link(&mut self, _other: Parent) {}

    /// Is not heard.
    pub fn fail(&mut self, _why: &'static str) {}
}
