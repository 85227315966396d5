//! The member names of the objects that are open, to find one that stands twice.

use std::borrow::Cow;

use super::problem::{Excerpt, Problem};
use super::text::Literal;

/// One list for all open objects, each owning its tail: an object that ends gives its part back.
///
/// Names are compared by sorting that part when the object ends. That needs no hashing per member,
/// and its bound holds for hostile names too, where a hash set relies on a secret seed.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    list: Vec<(Cow<'a, str>, usize)>,
}

impl<'a> Names<'a> {
    /// Returns where the names of an object that begins here will start.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Adds a name of the innermost object.
    pub(super) fn add(&mut self, name: Literal<'a>) {
        let byte = name.byte;
        self.list.push((name.unescape(), byte));
    }

    /// Ends the object whose names start at `first`, and refuses it if two are the same.
    pub(super) fn close(&mut self, first: usize) -> Result<(), Problem> {
        let own = &mut self.list[first..];
        own.sort_unstable();
        let again = own.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| &pair[1]);
        if let Some((name, byte)) = again.min_by_key(|(_, byte)| *byte) {
            return Err(Problem::Duplicate { name: Excerpt::new(name), byte: *byte });
        }
        self.list.truncate(first);
        Ok(())
    }
}
