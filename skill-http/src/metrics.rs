//! Figures for Prometheus, kept per server: two servers in one process do not share them.

use std::{fmt, sync::Arc, time::Duration};

use ::metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use skill_core::executor::{Event, Observer};

/// Bounds of the buckets of durations, in seconds.
const BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

const HERE: Metadata<'static> = Metadata::new("skill", Level::INFO, None);

/// The figures of one server. Give it to the engine as its observer.
///
/// Labels are names of the catalogue and of routes: no owner, no id, no secret.
///
/// ```
/// let metrics = skill_http::Metrics::new();
/// ```
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Returns figures that all stand at zero.
    pub fn new() -> Arc<Self> {
        let builder = PrometheusBuilder::new();
        let matcher = Matcher::Suffix("_seconds".to_owned());
        let builder = builder.set_buckets_for_metric(matcher, BUCKETS);
        let recorder = builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        Arc::new(Self { recorder, handle })
    }

    /// The figures in Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    fn count(&self, name: &'static str, labels: Vec<Label>) {
        self.recorder.register_counter(&Key::from_parts(name, labels), &HERE).increment(1);
    }

    fn took(&self, name: &'static str, labels: Vec<Label>, time: Duration) {
        self.recorder.register_histogram(&Key::from_parts(name, labels), &HERE).record(time);
    }

    /// Counts one answered request.
    pub(crate) fn request(&self, route: &'static str, status: u16, time: Duration) {
        let labels = vec![Label::from_static_parts("route", route), class(status)];
        self.count("skill_http_requests_total", labels);
        let route = vec![Label::from_static_parts("route", route)];
        self.took("skill_http_request_seconds", route, time);
    }
}

fn class(status: u16) -> Label {
    let class = match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    Label::from_static_parts("status", class)
}

impl Observer for Metrics {
    fn hear(&self, event: &Event<'_>) {
        match event {
            Event::Ended(run) => {
                let of = || Label::new("integration", run.action.namespace.as_str().to_owned());
                let outcome = run.error.map_or(run.state.as_str(), |kind| kind.as_str());
                let labels = vec![of(), Label::from_static_parts("outcome", outcome)];
                self.count("skill_calls_total", labels);
                self.took("skill_call_own_seconds", vec![of()], run.timing.ours());
                self.took("skill_call_upstream_seconds", vec![of()], run.timing.upstream);
            }
            Event::Repeated { integration, reason } => {
                let of = Label::new("integration", integration.as_str().to_owned());
                let why = Label::from_static_parts("reason", reason);
                self.count("skill_repeats_total", vec![of, why]);
            }
            Event::Renewed { integration, error, .. } => {
                let of = Label::new("integration", integration.as_str().to_owned());
                let outcome = error.map_or("renewed", |kind| kind.as_str());
                let labels = vec![of, Label::from_static_parts("outcome", outcome)];
                self.count("skill_renewals_total", labels);
            }
        }
    }
}
