//! The parts of an engine, and how they are put together.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::sweep;
use crate::{
    access::Keys,
    agents::Agents,
    apps::Apps,
    artifact::Artifacts,
    catalog::Catalog,
    clock::Clock,
    connect::Connector,
    connections::Connections,
    credential::{CredentialStore, Vault},
    error::Result,
    executor::{Executor, Flights, History, Observer, Quotas, Renewer, Settings, UnderWay},
    link::Links,
    login::Logins,
    queue::{self, Runs},
    reseal::{Keep, Resealer},
    schedule::Schedules,
    store::Store,
    transport::Transport,
    trigger::Triggers,
    webhook::{self, Deliverer, Webhooks},
};

/// What the engine's modules share.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) vault: Arc<Vault>,
    pub(super) credentials: Arc<dyn CredentialStore>,
    pub(super) connections: Arc<Connections>,
    pub(super) apps: Arc<Apps>,
    pub(super) agents: Agents,
    pub(super) keys: Arc<Keys>,
    pub(super) links: Arc<Links>,
    pub(super) logins: Logins,
    pub(super) history: Arc<History>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) artifacts: Artifacts,
    pub(super) clock: Arc<dyn Clock>,
}

impl Parts {
    /// What the queue works with.
    pub(super) fn queue(&self, executor: &Arc<Executor>, tasks: &TaskTracker) -> queue::Parts {
        let (keys, calls) = (self.keys.clone(), tasks.clone());
        queue::Parts { executor: executor.clone(), keys, calls }
    }

    pub(super) fn executor(
        &self,
        catalog: Catalog,
        settings: Settings,
        tasks: &TaskTracker,
    ) -> Executor {
        let renewer = Arc::new(Renewer {
            store: self.store.clone(),
            credentials: self.credentials.clone(),
            connections: self.connections.clone(),
            apps: self.apps.clone(),
            transport: self.transport.clone(),
            clock: self.clock.clone(),
            observer: self.observer.clone(),
            tasks: tasks.clone(),
            flights: Flights::default(),
        });
        Executor {
            settings,
            catalog: ArcSwap::from_pointee(catalog),
            keys: self.keys.clone(),
            store: self.store.clone(),
            vault: self.vault.clone(),
            credentials: self.credentials.clone(),
            artifacts: self.artifacts.clone(),
            connections: self.connections.clone(),
            renewer,
            links: self.links.clone(),
            transport: self.transport.clone(),
            history: self.history.clone(),
            under_way: UnderWay::default(),
            quotas: Quotas::default(),
            observer: self.observer.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Starts what goes on beside everything else: removing what is old, and sealing anew what an
    /// older key sealed.
    pub(super) fn upkeep(
        &self,
        (workers, stop): (&TaskTracker, &CancellationToken),
        history: Duration,
        keep: Option<Keep>,
    ) -> Arc<Resealer> {
        let (store, artifacts) = (self.store.clone(), self.artifacts.clone());
        let swept = (store.clone(), artifacts.clone(), self.clock.clone());
        workers.spawn(sweep::run(swept, history, stop.clone()));
        let sealed = (store, self.vault.clone());
        let resealer = Arc::new(Resealer::new(sealed, artifacts, self.clock.clone(), keep));
        workers.spawn(resealer.clone().run(stop.clone()));
        resealer
    }

    pub(super) fn webhooks(&self) -> Webhooks {
        Webhooks {
            store: self.store.clone(),
            vault: self.vault.clone(),
            transport: self.transport.clone(),
            clock: self.clock.clone(),
        }
    }

    pub(super) fn schedules(&self, runs: &Runs) -> Schedules {
        Schedules {
            store: self.store.clone(),
            vault: self.vault.clone(),
            clock: self.clock.clone(),
            keys: self.keys.clone(),
            runs: runs.clone(),
            wake: Arc::default(),
        }
    }

    pub(super) fn triggers(&self, runs: &Runs) -> Triggers {
        Triggers {
            store: self.store.clone(),
            vault: self.vault.clone(),
            clock: self.clock.clone(),
            keys: self.keys.clone(),
            runs: runs.clone(),
            transport: self.transport.clone(),
        }
    }

    /// Starts to deliver what the outbox holds.
    pub(super) async fn deliverer(
        &self,
        runs: &Runs,
        settings: webhook::Settings,
    ) -> Result<Arc<Deliverer>> {
        let (webhooks, runs, observer) = (self.webhooks(), runs.clone(), self.observer.clone());
        Deliverer::start(webhook::Parts { webhooks, runs, observer }, settings).await
    }

    pub(super) fn connector(
        &self,
        (executor, tasks): (Arc<Executor>, &TaskTracker),
        return_urls: BTreeSet<String>,
    ) -> Connector {
        Connector {
            store: self.store.clone(),
            vault: self.vault.clone(),
            credentials: self.credentials.clone(),
            connections: self.connections.clone(),
            apps: self.apps.clone(),
            keys: self.keys.clone(),
            links: self.links.clone(),
            executor,
            clock: self.clock.clone(),
            return_urls,
            tasks: tasks.clone(),
        }
    }
}
