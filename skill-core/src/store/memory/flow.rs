//! Flows in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Tables, exists};
use crate::{
    error::Result,
    id::FlowId,
    record::flow::{Departure, Flow, TokenHash},
    store::FlowStore,
};

#[async_trait]
impl FlowStore for MemoryStore {
    async fn insert_flow(&self, flow: &Flow, now: Timestamp) -> Result<()> {
        let mut tables = self.lock();
        tables.flows.retain(|_, (flow, departure)| {
            now < departure.as_ref().map_or(flow.expires_at, |departure| departure.expires_at)
        });
        if tables.flows.values().any(|(old, _)| old.id == flow.id || old.link == flow.link) {
            return Err(exists("a flow"));
        }
        tables.flows.insert(flow.id, (flow.clone(), None));
        Ok(())
    }

    async fn flow_by_link(&self, link: &TokenHash, now: Timestamp) -> Result<Option<Flow>> {
        let tables = self.lock();
        Ok(waiting(&tables, link, now).map(|id| tables.flows[&id].0.clone()))
    }

    async fn depart(
        &self,
        link: &TokenHash,
        departure: Option<&Departure>,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tables = self.lock();
        let Some(id) = waiting(&tables, link, now) else { return Ok(false) };
        let Some(departure) = departure else {
            return Ok(tables.flows.remove(&id).is_some());
        };
        tables.flows.entry(id).and_modify(|flow| flow.1 = Some(departure.clone()));
        Ok(true)
    }

    async fn arrive(
        &self,
        state: &TokenHash,
        browser: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<(Flow, Departure)>> {
        let mut tables = self.lock();
        let is_wanted = |left: &Departure| {
            left.state == *state && left.browser == *browser && now < left.expires_at
        };
        let found = tables.flows.iter().find(|(_, (_, left))| left.as_ref().is_some_and(is_wanted));
        let Some(id) = found.map(|(id, _)| *id) else { return Ok(None) };
        Ok(tables.flows.remove(&id).and_then(|(flow, left)| Some((flow, left?))))
    }
}

/// The flow whose link is neither used nor past its end.
fn waiting(tables: &Tables, link: &TokenHash, now: Timestamp) -> Option<FlowId> {
    let (flow, departure) = tables.flows.values().find(|(flow, _)| flow.link == *link)?;
    (departure.is_none() && now < flow.expires_at).then_some(flow.id)
}
