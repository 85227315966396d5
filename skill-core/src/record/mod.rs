//! What is kept: plain data and the pure rules about it.
//!
//! Nothing here does IO, and nothing here is anybody's wire format.

pub mod agent;
pub mod app;
pub mod audit;
pub mod connection;
pub mod conversation;
pub mod delivery;
pub mod execution;
pub mod flow;
pub mod key;
pub mod login;
pub mod owner;
pub mod run;
pub mod schedule;
pub mod scope;
pub mod trigger;
pub mod usage;
pub mod webhook;

/// A value that was sealed: ciphertext and the header that says how to open it.
///
/// ```
/// use skill_core::record::Sealed;
/// assert_eq!(format!("{:?}", Sealed(vec![1, 2, 3])), "Sealed(3 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}
