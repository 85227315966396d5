//! What the guard in front of JSON costs, beside `serde_json` building the `Value`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::Value;
use skill_core::json::{self, Limits};

/// A dense document of about `bytes` bytes: records with members of every kind.
fn dense(bytes: usize) -> String {
    let record = r#"{"id":12345,"node":"MDU6SXNzdWUx","ok":true,"score":1.5,"tags":["a","b"]}"#;
    format!("[{}]", vec![record; bytes / (record.len() + 1)].join(","))
}

/// The body of an ordinary call: 200 bytes.
fn call() -> String {
    let text = "x".repeat(200);
    let body = |text: &str| {
        format!(
            r#"{{"params":{{"repo":"acme/web","title":"Bug","labels":["a"],"body":"{text}"}}}}"#
        )
    };
    body(&text[body("").len()..])
}

fn check(c: &mut Criterion) {
    let mut group = c.benchmark_group("json");
    for (name, text) in [("1 MB", dense(1_000_000)), ("200 B", call())] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        let bytes = text.as_bytes();
        // As a call is checked, but for the number of values: 1 MB has more than a call may have.
        let refuse = Limits { nodes: usize::MAX, ..Limits::CALL };
        for (kind, limits) in [("check as answer", Limits::ANSWER), ("check as call", refuse)] {
            group.bench_with_input(BenchmarkId::new(kind, name), bytes, |b, bytes| {
                b.iter(|| json::check(black_box(bytes), &limits).is_ok());
            });
        }
        group.bench_with_input(BenchmarkId::new("serde_json Value", name), bytes, |b, bytes| {
            b.iter(|| serde_json::from_slice::<Value>(black_box(bytes)).is_ok());
        });
    }
    group.finish();
}

criterion_group!(benches, check);
criterion_main!(benches);
