//! The memory store as a whole.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, Tables};
use crate::{
    error::Result,
    id::ExecutionId,
    name::OwnerId,
    record::{
        Sealed,
        connection::{ConnectionRef, Revision},
        execution::{Event, Execution, transition},
    },
    store::{
        Aged, Cursor, Part, Place, Restored, UpkeepStore,
        upkeep::{RESTORED, prolonged, version},
    },
};

#[async_trait]
impl UpkeepStore for MemoryStore {
    async fn owners(&self, after: Option<&OwnerId>, most: u32) -> Result<Vec<OwnerId>> {
        let tables = self.lock();
        let seen = tables.owners.keys();
        let seen = seen.chain(tables.keys.values().map(|key| &key.owner));
        let seen = seen.chain(tables.connections.values().map(|connection| &connection.owner));
        let behind = seen.filter(|owner| after.is_none_or(|after| after < *owner));
        let behind: BTreeSet<_> = behind.cloned().collect();
        Ok(behind.into_iter().take(most as usize).collect())
    }

    async fn facts(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let tables = self.lock();
        let facts = tables.meta.iter().filter(|(name, _)| name.starts_with(prefix));
        Ok(facts.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    async fn forget_fact(&self, name: &str) -> Result<()> {
        self.lock().meta.remove(name);
        Ok(())
    }

    async fn begin_epoch(&self, epoch: &str) -> Result<Restored> {
        let mut tables = self.lock();
        tables.meta.insert("epoch".into(), epoch.as_bytes().to_vec());
        let mut restored = Restored::default();
        for kept in tables.runs.values_mut().flat_map(|runs| runs.values_mut()) {
            if let Some(waiting) = &mut kept.waiting
                && let Some(state) = transition(kept.execution.state, Event::Hold)
            {
                kept.execution.state = state;
                waiting.hold();
                restored.runs += 1;
            }
        }
        let grants = tables.grants.iter().filter(|(_, grant)| grant.sealed.is_some());
        tables.restored = grants.map(|(id, grant)| (*id, grant.revision)).collect();
        restored.grants = tables.restored.len() as u64;
        for known in tables.schedules.values_mut().filter(|known| known.next_run_at.is_some()) {
            (known.next_run_at, known.stopped) = (None, Some(RESTORED.to_owned()));
            restored.schedules += 1;
        }
        tables.flows.clear();
        tables.logins.clear();
        tables.leases.clear();
        Ok(restored)
    }

    async fn is_restored(&self, at: &ConnectionRef, revision: Revision) -> Result<bool> {
        Ok(self.lock().restored.get(&at.id) == Some(&revision.0))
    }

    async fn release(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
        now: Timestamp,
    ) -> Result<Option<Execution>> {
        let mut tables = self.lock();
        let Some(kept) = tables.run_mut(owner, id) else { return Ok(None) };
        let run = &mut kept.execution;
        if let Some(state) = transition(run.state, Event::Release) {
            (run.state, run.progress) = (state, 0);
            if let Some(waiting) = &mut kept.waiting {
                let deadline = waiting.deadline();
                *deadline = prolonged(run.created_at, *deadline, now);
            }
        }
        Ok(Some(run.clone()))
    }

    async fn sealed_before(
        &self,
        part: Part,
        before: u32,
        after: Option<Cursor>,
        most: u32,
    ) -> Result<Vec<Aged>> {
        let mut tables = self.lock();
        let mut found = Vec::new();
        let mut number = 0;
        tables.each_sealed(part, &mut |place, sealed| {
            let cursor = Cursor(number, 0);
            number += 1;
            let is_wanted = version(sealed) < before && after.is_none_or(|after| after < cursor);
            if is_wanted && found.len() < most as usize {
                found.push(Aged { place, sealed: sealed.clone(), cursor });
            }
        });
        Ok(found)
    }

    async fn reseal(&self, part: Part, values: &[(Aged, Sealed)]) -> Result<u64> {
        let mut tables = self.lock();
        let mut replaced = 0;
        tables.each_sealed(part, &mut |_, sealed| {
            // A nonce is never used twice: what is the same is the same value.
            if let Some((_, new)) = values.iter().find(|(old, _)| old.sealed == *sealed) {
                *sealed = new.clone();
                replaced += 1;
            }
        });
        Ok(replaced)
    }
}

impl Tables {
    /// Shows every sealed value of a part.
    fn each_sealed(&mut self, part: Part, show: &mut dyn FnMut(Place, &mut Sealed)) {
        match part {
            Part::Grants => {
                for (id, grant) in &mut self.grants {
                    if let (Some(sealed), Some(c)) = (&mut grant.sealed, self.connections.get(id)) {
                        show(Place::Grant(c.at()), sealed);
                    }
                }
            }
            Part::Clients => {
                for app in self.apps.values_mut() {
                    let place = Place::Client { holder: app.holder.clone(), app: app.id };
                    app.client_secret.iter_mut().for_each(|sealed| show(place.clone(), sealed));
                }
            }
            Part::Flows => {
                for (flow, departure) in self.flows.values_mut() {
                    let owner = flow.connection.owner.clone();
                    if let Some(left) = departure {
                        show(Place::Verifier { owner, flow: flow.id }, &mut left.verifier);
                    }
                }
            }
            Part::Webhooks | Part::RetiringSecrets => {
                for w in self.webhooks.values_mut() {
                    let (owner, user) = (w.owner.clone(), w.user.clone());
                    let place = Place::Webhook { owner, user, webhook: w.id };
                    match (part, &mut w.previous) {
                        (Part::RetiringSecrets, None) => {}
                        (Part::RetiringSecrets, Some((secret, _))) => show(place, secret),
                        _ => show(place, &mut w.secret),
                    }
                }
            }
            Part::Replays => {
                for ((owner, _, _), repeat) in &mut self.repeats {
                    let place = Place::Outcome { owner: owner.clone(), run: repeat.run };
                    repeat.outcome.iter_mut().for_each(|sealed| show(place.clone(), sealed));
                }
            }
            Part::Schedules => {
                for known in self.schedules.values_mut() {
                    let (owner, schedule) = (known.owner.clone(), known.id);
                    show(Place::Schedule { owner, schedule }, &mut known.input);
                }
            }
            Part::Triggers | Part::Memories => self.each_of_agents(part, show),
            Part::Inputs | Part::Outcomes | Part::Steps | Part::Said | Part::Callbacks => {
                self.each_body(part, show);
            }
        }
    }

    fn each_of_agents(&mut self, part: Part, show: &mut dyn FnMut(Place, &mut Sealed)) {
        if part == Part::Triggers {
            for known in self.triggers.values_mut() {
                let (owner, trigger) = (known.owner.clone(), known.id);
                show(Place::Trigger { owner, trigger }, &mut known.secret);
            }
            return;
        }
        for known in self.memories.values_mut() {
            let (owner, memory) = (known.owner.clone(), known.id);
            show(Place::Memory { owner, memory }, &mut known.content);
        }
    }

    fn each_body(&mut self, part: Part, show: &mut dyn FnMut(Place, &mut Sealed)) {
        for kept in self.runs.values_mut().flat_map(|runs| runs.values_mut()) {
            let (owner, run) = (kept.execution.owner.clone(), kept.execution.id);
            if part == Part::Steps {
                for step in kept.steps.values_mut() {
                    let (owner, name) = (owner.clone(), step.name.clone());
                    let place = Place::Step { owner, run, position: step.position, name };
                    step.value.iter_mut().for_each(|sealed| show(place.clone(), sealed));
                }
            } else if part == Part::Callbacks {
                let callback = kept.source.as_mut().and_then(|source| source.callback.as_mut());
                if let Some(callback) = callback {
                    show(Place::Callback { owner, run }, &mut callback.secret);
                }
            } else if part == Part::Said {
                for said in kept.said.values_mut() {
                    let (owner, position) = (owner.clone(), said.position);
                    show(Place::Said { owner, run, position }, &mut said.text);
                }
            } else if part == Part::Inputs {
                let place = Place::Input { owner, run };
                kept.input.iter_mut().for_each(|sealed| show(place.clone(), sealed));
            } else {
                let place = Place::Outcome { owner, run };
                kept.outcome.iter_mut().for_each(|sealed| show(place.clone(), sealed));
            }
        }
    }
}
