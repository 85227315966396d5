//! Answers that depend on the catalogue only, and are written once for each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use skill_core::{Error, catalog::Catalog};

/// What was written for the present catalogue.
#[derive(Debug, Default)]
pub(crate) struct Rendered(Mutex<Option<Of>>);

#[derive(Debug)]
struct Of {
    catalog: Arc<Catalog>,
    texts: HashMap<String, Bytes>,
}

impl Rendered {
    /// The text of this name; `write` is asked when there is none for this catalogue. The names are
    /// the catalogue's own, so that callers cannot add to them.
    pub(crate) fn get(
        &self,
        catalog: &Arc<Catalog>,
        name: &str,
        write: impl FnOnce() -> Result<Bytes, Error>,
    ) -> Result<Bytes, Error> {
        let of = |text: &Option<Of>| {
            let of = text.as_ref().filter(|of| Arc::ptr_eq(&of.catalog, catalog))?;
            of.texts.get(name).cloned()
        };
        if let Some(known) = of(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(known);
        }
        // Without the lock: whoever asks for another one does not wait.
        let written = write()?;
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if present.as_ref().is_none_or(|of| !Arc::ptr_eq(&of.catalog, catalog)) {
            *present = Some(Of { catalog: catalog.clone(), texts: HashMap::new() });
        }
        if let Some(of) = present.as_mut() {
            of.texts.insert(name.to_owned(), written.clone());
        }
        Ok(written)
    }
}
