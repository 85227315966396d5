//! Programs that embed `skill-core`; run one with `cargo run --example NAME`.
