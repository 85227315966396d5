//! The engine.

/// How calls leave this process.
pub mod transport {
    pub mod egress;
}
