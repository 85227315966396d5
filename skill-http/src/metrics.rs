//! Figures for Prometheus, kept per server: two servers in one process do not share them.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use ::metrics::{Counter, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use skill_core::{
    executor::{Event, Observer},
    name::Slug,
    record::{delivery::Next, execution::Execution},
};

/// Bounds of the buckets of durations, in seconds.
const BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// How often measured durations are folded into their buckets; until then each takes memory.
pub(crate) const UPKEEP: Duration = Duration::from_secs(1);

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
    counters: Known<(&'static str, Slug, &'static str), Counter>,
    times: Known<(&'static str, Slug), Histogram>,
    /// By route and class of status; the times are those of the route.
    requests: Known<(&'static str, &'static str), (Counter, Histogram)>,
    /// By integration and outcome; the times are those of the integration.
    calls: Known<(Slug, &'static str), Calls>,
}

/// What is measured of calls.
#[derive(Clone)]
struct Calls {
    ended: Counter,
    own: Histogram,
    upstream: Histogram,
}

/// Figures that were registered before: looking one up costs less than registering it again.
struct Known<K, V>(RwLock<HashMap<K, V>>);

impl<K: Eq + Hash, V: Clone> Known<K, V> {
    fn new() -> Self {
        Self(RwLock::default())
    }

    fn get(&self, key: K, register: impl FnOnce(&K) -> V) -> V {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
            let value = register(&key);
            all.entry(key).or_insert(value).clone()
        })
    }
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
        Arc::new(Self {
            recorder,
            handle,
            counters: Known::new(),
            times: Known::new(),
            requests: Known::new(),
            calls: Known::new(),
        })
    }

    /// Folds what was measured into its buckets.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The figures in Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        self.upkeep();
        self.handle.render()
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &HERE)
    }

    fn histogram(&self, name: &'static str, label: Label) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(name, vec![label]), &HERE)
    }

    /// Counts one answered request.
    pub(crate) fn request(&self, route: &'static str, status: u16, time: Duration) {
        let label = |name, value| Label::from_static_parts(name, value);
        let (counter, times) = self.requests.get((route, class(status)), |(route, class)| {
            let labels = vec![label("route", route), label("status", class)];
            let times = self.histogram("skill_http_request_seconds", label("route", route));
            (self.counter("skill_http_requests_total", labels), times)
        });
        counter.increment(1);
        times.record(time);
    }

    /// Counts something of an integration, with one more label.
    fn count(&self, name: &'static str, of: &Slug, (key, value): (&'static str, &'static str)) {
        let counter = self.counters.get((name, of.clone(), value), |_| {
            let labels = vec![integration(of), Label::from_static_parts(key, value)];
            self.counter(name, labels)
        });
        counter.increment(1);
    }

    fn took(&self, name: &'static str, of: &Slug, time: Duration) {
        let register = |_: &(_, _)| self.histogram(name, integration(of));
        self.times.get((name, of.clone()), register).record(time);
    }

    /// Counts what happens to queued runs.
    fn moved(&self, run: &Execution, event: &'static str) {
        self.count("skill_run_events_total", &run.action.namespace, ("event", event));
    }

    /// Counts attempts to deliver messages: whom they go to is no label, for that is not bounded.
    fn delivered(&self, next: Next) {
        let outcome = match next {
            Next::Delivered => "delivered",
            Next::Again(_) => "failed",
            Next::Dead => "dead",
            Next::Undone => "undone",
        };
        let labels = vec![Label::from_static_parts("outcome", outcome)];
        self.counter("skill_webhook_attempts_total", labels).increment(1);
    }

    fn ended(&self, run: &Execution) {
        let of = &run.action.namespace;
        let outcome = run.error.map_or(run.state.as_str(), |kind| kind.as_str());
        let calls = self.calls.get((of.clone(), outcome), |(of, outcome)| {
            let labels = vec![integration(of), Label::from_static_parts("outcome", outcome)];
            Calls {
                ended: self.counter("skill_calls_total", labels),
                own: self.histogram("skill_call_own_seconds", integration(of)),
                upstream: self.histogram("skill_call_upstream_seconds", integration(of)),
            }
        });
        calls.ended.increment(1);
        calls.own.record(run.timing.ours());
        calls.upstream.record(run.timing.upstream);
    }
}

fn integration(of: &Slug) -> Label {
    Label::new("integration", of.as_str().to_owned())
}

fn class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

impl Observer for Metrics {
    fn hear(&self, event: &Event<'_>) {
        match event {
            Event::Ended(run) => self.ended(run),
            Event::Submitted(run) => self.moved(run, "submitted"),
            Event::Started { run, waited } => {
                self.moved(run, "started");
                self.took("skill_run_wait_seconds", &run.action.namespace, *waited);
            }
            Event::GivenBack { run, reason } => {
                self.moved(run, "given_back");
                let reason = ("reason", *reason);
                self.count("skill_runs_given_back_total", &run.action.namespace, reason);
            }
            Event::Lost(run) => self.moved(run, "lost"),
            Event::Repeated { integration, reason } => {
                self.count("skill_repeats_total", integration, ("reason", reason));
            }
            Event::Delivery(next) => self.delivered(*next),
            Event::UsedUp { integration, .. } => {
                self.count("skill_upstream_limits_total", integration, ("event", "used_up"));
            }
            Event::HeldBack { integration, .. } => {
                self.count("skill_upstream_limits_total", integration, ("event", "held_back"));
            }
            Event::Renewed { integration, error, .. } => {
                let outcome = error.map_or("renewed", |kind| kind.as_str());
                self.count("skill_renewals_total", integration, ("outcome", outcome));
            }
        }
    }
}
