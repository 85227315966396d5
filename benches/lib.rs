//! Benchmarks; run them with `cargo bench`.
