//! The memory store: for tests and for embedders that keep nothing.
/// A store that keeps everything in memory.
#[derive(Debug)]
pub struct MemoryStore;
