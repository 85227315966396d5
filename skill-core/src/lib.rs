//! The engine.

pub mod json;

/// How calls leave this process.
pub mod transport {
    pub mod egress;
}
