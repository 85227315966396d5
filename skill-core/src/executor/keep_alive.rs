//! Renewing grants that rest: some providers take back what nobody uses.
//!
//! Where a declaration says how long a grant lives that rests, it is renewed at half of that. Each
//! round takes a few per integration, the longest resting ones first, so that many that are due
//! together are spread over time. What is due stands in the store: a restart loses nothing, and of
//! several processes one renews, as with any other renewal.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Executor;
use crate::{
    clock::Deadline,
    error::{ErrorKind, Result},
    integration::Integration,
    record::connection::Connection,
};

/// How often grants are looked at that rest; oftener where they live for minutes only.
const ROUND: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(1);
/// How many are renewed in one round for one integration.
const BATCH: u32 = 20;
/// How long a try may take, and how long it is until the next one.
const TRY: Duration = Duration::from_secs(40);
const AGAIN: Duration = Duration::from_secs(3600);

impl Executor {
    /// Renews grants that rest, until `stop`.
    pub(crate) async fn keep_alive(self: Arc<Self>, stop: CancellationToken) {
        let round = || tokio::time::sleep(self.round());
        while stop.run_until_cancelled(round()).await.is_some() {
            stop.run_until_cancelled(self.renew_resting(&stop)).await;
        }
    }

    /// How long it is until the next round.
    fn round(&self) -> Duration {
        let catalog = self.catalog.load();
        let lives = catalog.integrations().filter_map(|known| known.auth().idle_life());
        lives.min().map_or(ROUND, |life| (life / 8).clamp(SHORTEST, ROUND))
    }

    async fn renew_resting(&self, stop: &CancellationToken) {
        let catalog = self.catalog.load_full();
        for integration in catalog.integrations() {
            let Some(life) = integration.auth().idle_life() else { continue };
            let slug = &integration.info().slug;
            if let Err(error) = self.renew_some(integration, life, stop).await {
                let error = error.log_line();
                tracing::warn!(integration = %slug, error, "grants that rest are left for now");
            }
        }
    }

    /// One round for one integration. It ends with the first try that fails for a while: the
    /// service is not asked twenty times whether it is still away.
    async fn renew_some(
        &self,
        integration: &Arc<dyn Integration>,
        life: Duration,
        stop: &CancellationToken,
    ) -> Result<()> {
        let Ok(before) = self.clock.now().checked_sub(life / 2) else { return Ok(()) };
        let slug = &integration.info().slug;
        for connection in self.store.resting_connections(slug, before, BATCH).await? {
            if stop.is_cancelled() {
                break;
            }
            self.renew_one(&connection, integration, life).await?;
        }
        Ok(())
    }

    async fn renew_one(
        &self,
        connection: &Connection,
        integration: &Arc<dyn Integration>,
        life: Duration,
    ) -> Result<()> {
        let held = match self.credentials.reload(&connection.at()).await {
            // One that cannot be opened is in nobody's way.
            Err(error) if error.kind() == ErrorKind::Internal => None,
            loaded => loaded?,
        };
        let held = held.filter(|(held, _)| integration.auth().is_renewable(held));
        let Some((_, seen)) = held else { return self.rest(connection, Duration::ZERO).await };
        // What came out of a backup may be spent: a call finds that out, nobody else.
        if self.store.is_restored(&connection.at(), seen).await? {
            return self.rest(connection, Duration::ZERO).await;
        }
        // Somebody else may have renewed it since it was listed.
        let current = self.store.connection(&connection.owner, connection.id).await?;
        if current.is_none_or(|current| current.rests_since != connection.rests_since) {
            return Ok(());
        }
        let deadline = Deadline::after(TRY);
        match self.renewer.renew(connection, integration, seen, deadline).await {
            Ok(_) => Ok(()),
            // The connection says so, and comes up no more.
            Err(error) if error.kind() == ErrorKind::TokenExpired => Ok(()),
            Err(error) => {
                let due = life / 2;
                self.rest(connection, due.saturating_sub(AGAIN.min(life / 16))).await?;
                Err(error)
            }
        }
    }

    /// Dates the connection as if it had rested for `so_far`.
    async fn rest(&self, connection: &Connection, so_far: Duration) -> Result<()> {
        let current = self.store.connection(&connection.owner, connection.id).await?;
        let Some(mut current) = current else { return Ok(()) };
        current.rests_since = self.clock.now().checked_sub(so_far).ok();
        self.connections.update(&current).await.map(drop)
    }
}
