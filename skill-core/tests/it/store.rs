//! Stores: every backend runs the whole suite.

/// Makes one test of each case; every backend's module says how an empty store is opened. What
/// stands beside the store lives as long as the test.
macro_rules! cases {
    ($($part:ident::$case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            let (_beside, store) = open();
            suite::run(stringify!($case), store).await;
        }
    )*};
}

mod memory {
    use std::sync::Arc;

    use skill_core::store::{MemoryStore, Store, suite};

    fn open() -> ((), Arc<dyn Store>) {
        ((), Arc::new(MemoryStore::new()))
    }

    skill_core::for_each_store_case!(cases);
}

#[cfg(feature = "sqlite")]
mod sqlite;
