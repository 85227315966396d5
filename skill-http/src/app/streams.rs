//! Requests that follow a run or wait for one, counted per owner: each of them keeps a connection
//! busy for as long as its caller likes.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use skill_core::{Error, ErrorKind, name::OwnerId};

/// Counts the open requests of every owner.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    most: usize,
    open: Arc<Mutex<HashMap<OwnerId, usize>>>,
}

impl Streams {
    /// Returns a count of nothing, which lets every owner have `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// Counts one more request of `owner` until the place is dropped.
    pub(crate) fn open(&self, owner: &OwnerId) -> Result<Place, Error> {
        let mut open = lock(&self.open);
        let count = open.get(owner).copied().unwrap_or(0);
        if count >= self.most {
            let message = "too many requests wait for runs: let one of them end first";
            return Err(Error::new(ErrorKind::RateLimited, message)
                .retry_after(std::time::Duration::from_secs(1)));
        }
        open.insert(owner.clone(), count + 1);
        Ok(Place { owner: owner.clone(), open: self.open.clone() })
    }
}

/// The place of one request that is open.
pub(crate) struct Place {
    owner: OwnerId,
    open: Arc<Mutex<HashMap<OwnerId, usize>>>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.owner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        let count = open.get(&self.owner).copied().unwrap_or(0);
        if count > 1 {
            open.insert(self.owner.clone(), count - 1);
        } else {
            open.remove(&self.owner);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_has_so_many_streams_and_no_more() {
        let streams = Streams::new(2);
        let (one, other) = (OwnerId::standard(), OwnerId::parse("acme").unwrap());
        let first = streams.open(&one).unwrap();
        let _second = streams.open(&one).unwrap();
        assert_eq!(streams.open(&one).unwrap_err().kind(), ErrorKind::RateLimited);
        let _another = streams.open(&other).unwrap();
        drop(first);
        assert!(streams.open(&one).is_ok());
    }
}
