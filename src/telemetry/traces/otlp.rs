//! Traces over OTLP, by gRPC: the library's queue and its thread, behind a bound on everything that may wait.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan, SpanData,
    SpanExporter,
};
use parking_lot::Mutex;
use tonic::transport::{ClientTlsConfig, Endpoint};

use super::{Collector, Parent, TracesError};
use crate::limits;
use crate::telemetry::Meters;

/// A server's way to its collector; by default there is none, and spans are nothing.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Open>>);

#[derive(Debug)]
struct Open {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Begins to send spans. Called on a runtime, which carries the connection; a collector that is away is looked for
    /// again with each batch.
    pub fn open(collector: &Collector, meters: Arc<Meters>) -> Result<Self, TracesError> {
        let refused = |error: Box<dyn std::error::Error + Send + Sync>| TracesError::Endpoint(error);
        let mut endpoint =
            Endpoint::from_shared(collector.endpoint.clone()).map_err(|error| refused(error.into()))?;
        if endpoint.uri().scheme_str() == Some("https") {
            let tls = ClientTlsConfig::new().with_webpki_roots();
            endpoint = endpoint.tls_config(tls).map_err(|error| refused(error.into()))?;
        }
        let channel = endpoint.connect_timeout(limits::TRACE_ANSWER).timeout(limits::TRACE_ANSWER);
        let exporter = Otlp::builder()
            .with_tonic()
            .with_channel(channel.connect_lazy())
            .with_timeout(limits::TRACE_ANSWER)
            .build()
            .map_err(|error| refused(error.into()))?;
        let queue = BatchConfigBuilder::default()
            .with_max_queue_size(limits::TRACE_QUEUE)
            .with_max_export_batch_size(limits::TRACE_BATCH)
            .with_scheduled_delay(limits::TRACE_DELAY)
            .build();
        let told = Told { exporter, meters, silent: Mutex::new(None) };
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", "porchlight"),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", collector.node.clone()),
            ])
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(collector.sample)));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(told).with_batch_config(queue).build())
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("porchlight");
        Ok(Self(Some(Arc::new(Open { provider, tracer }))))
    }

    /// Whether there is a collector.
    pub fn are_sent(&self) -> bool {
        self.0.is_some()
    }

    /// The first span of a trace here, which goes on where its parent is.
    pub fn begin(&self, name: impl Into<Cow<'static, str>>, parent: Option<Parent>) -> Span {
        let Some(open) = &self.0 else { return Span::default() };
        let context = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(parent.context(true))
        });
        let builder = open.tracer.span_builder(name).with_kind(SpanKind::Server);
        let span = open.tracer.build_with_context(builder, &context);
        Span(Some(Box::new(Live { span, tracer: open.tracer.clone() })))
    }

    /// Sends what waits, for so long and no longer.
    pub async fn close(&self) {
        let Some(open) = self.0.clone() else { return };
        let closing =
            tokio::task::spawn_blocking(move || open.provider.shutdown_with_timeout(limits::TRACE_CLOSE));
        match closing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans did not reach the collector"),
            Err(error) => tracing::warn!(%error, "the last spans were not sent"),
        }
    }
}

/// Something that takes time. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Box<Live>>);

struct Live {
    span: SdkSpan,
    tracer: SdkTracer,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(self.span.span_context()).finish()
    }
}

impl Span {
    /// A part of it.
    pub fn child(&self, name: &'static str) -> Self {
        let Some(live) = &self.0 else { return Self::default() };
        let context = Context::new().with_remote_span_context(live.span.span_context().clone());
        let span = live.tracer.build_with_context(live.tracer.span_builder(name), &context);
        Self(Some(Box::new(Live { span, tracer: live.tracer.clone() })))
    }

    /// What others name to go on with its trace.
    pub fn parent(&self) -> Option<Parent> {
        let context = self.0.as_ref()?.span.span_context();
        Some(Parent {
            trace: u128::from_be_bytes(context.trace_id().to_bytes()),
            span: u64::from_be_bytes(context.span_id().to_bytes()),
            sampled: context.is_sampled(),
        })
    }

    /// Says something of all of it.
    pub fn tell(&mut self, key: &'static str, value: impl Display) {
        if let Some(live) = self.0.as_mut().filter(|live| live.span.is_recording()) {
            live.span.set_attribute(KeyValue::new(key, value.to_string()));
        }
    }

    /// Something happened in it, now.
    pub fn note(&mut self, name: &'static str) {
        if let Some(live) = &mut self.0 {
            live.span.add_event(name, Vec::new());
        }
    }

    /// It has to do with a span of another trace.
    pub fn link(&mut self, other: Parent) {
        if let Some(live) = &mut self.0 {
            live.span.add_link(other.context(false), Vec::new());
        }
    }

    /// It came to nothing through a fault.
    pub fn fail(&mut self, why: &'static str) {
        if let Some(live) = &mut self.0 {
            live.span.set_status(Status::error(why));
        }
    }
}

impl Parent {
    fn context(self, remote: bool) -> SpanContext {
        let flags = if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let (trace, span) = (self.trace.to_be_bytes(), self.span.to_be_bytes());
        SpanContext::new(
            TraceId::from_bytes(trace),
            SpanId::from_bytes(span),
            flags,
            remote,
            TraceState::default(),
        )
    }
}

/// Sends batches, counts what became of them, and says now and then that the collector is away.
#[derive(Debug)]
struct Told {
    exporter: Otlp,
    meters: Arc<Meters>,
    /// When its absence was last told.
    silent: Mutex<Option<Instant>>,
}

impl SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let sent = self.exporter.export(batch).await;
        self.meters.spans(if sent.is_ok() { "sent" } else { "failed" }, count);
        let mut silent = self.silent.lock();
        match &sent {
            Ok(()) => {
                if silent.take().is_some() {
                    tracing::info!("the collector takes spans again");
                }
            }
            Err(error) => {
                if silent.is_none_or(|told| told.elapsed() >= limits::TRACE_WARNING) {
                    tracing::warn!(%error, spans = count, "the collector does not take spans, they are lost");
                    *silent = Some(Instant::now());
                }
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
