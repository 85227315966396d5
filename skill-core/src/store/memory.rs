//! placeholder until the store branch is merged
/// A store that keeps everything in memory.
#[derive(Debug)]
pub struct MemoryStore;
