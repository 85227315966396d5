//! Cases: agents, and what they keep in mind.

use std::sync::Arc;

use super::fixture::{acme, at, rival, sealed, user};
use crate::{
    id::{ConnectionId, MemoryId},
    name::AgentId,
    record::{
        agent::{Agent, Kept, Memory},
        scope::Scopes,
    },
    store::{MemoryFilter, Store},
};

fn name(text: &str) -> AgentId {
    AgentId::parse(text).unwrap()
}

/// An agent of acme made at `seconds`.
fn agent(id: &str, seconds: i64) -> Agent {
    Agent {
        id: name(id),
        name: "Bookkeeper".into(),
        description: Some("closes the month".into()),
        scopes: Scopes::parse(["quickbooks", "slack/post"]).unwrap(),
        connections: Some(vec![ConnectionId::fresh(at(0)).unwrap()]),
        created_at: at(seconds),
        updated_at: at(seconds),
        ..Agent::standard(acme())
    }
}

/// A memory of acme's standard agent made at `seconds`.
pub(super) fn memory(seconds: i64) -> Memory {
    Memory {
        id: MemoryId::fresh(at(seconds)).unwrap(),
        owner: acme(),
        agent: AgentId::standard(),
        user: None,
        tag: None,
        content: sealed("content"),
        created_at: at(seconds),
        updated_at: at(seconds),
    }
}

pub(super) async fn an_agent_reads_back_as_it_was_kept(store: Arc<dyn Store>) {
    let few = agent("few", 0);
    let all = Agent { connections: None, description: None, ..agent("all", 1) };
    for agent in [&few, &all] {
        assert_eq!(store.insert_agent(agent, 9).await.unwrap(), Kept::Done);
        assert_eq!(store.agent(&acme(), &agent.id).await.unwrap().as_ref(), Some(agent));
    }
    let changed = Agent {
        name: "Other".into(),
        scopes: Scopes::all(),
        connections: Some(Vec::new()),
        updated_at: at(5),
        ..few.clone()
    };
    let later = Agent { created_at: at(7), ..changed.clone() };
    assert!(store.update_agent(&later).await.unwrap());
    assert_eq!(store.agent(&acme(), &few.id).await.unwrap(), Some(changed));
    assert!(!store.update_agent(&agent("none", 0)).await.unwrap());
}

pub(super) async fn agents_are_capped_and_listed_the_oldest_first(store: Arc<dyn Store>) {
    let (first, second, third) = (agent("z", 0), agent("b", 1), agent("a", 1));
    for agent in [&second, &first, &third] {
        assert_eq!(store.insert_agent(agent, 3).await.unwrap(), Kept::Done);
    }
    assert_eq!(store.insert_agent(&agent("d", 2), 3).await.unwrap(), Kept::Full);
    assert_eq!(store.insert_agent(&agent("a", 9), 9).await.unwrap(), Kept::Refused);
    assert_eq!(store.agents(&acme()).await.unwrap(), [first, third, second]);
}

pub(super) async fn another_owners_agent_acts_like_a_missing_one(store: Arc<dyn Store>) {
    let mine = agent("a", 0);
    store.insert_agent(&mine, 9).await.unwrap();
    assert_eq!(store.agent(&rival(), &mine.id).await.unwrap(), None);
    assert_eq!(store.agents(&rival()).await.unwrap(), []);
    let theirs = Agent { owner: rival(), name: "theirs".into(), ..mine.clone() };
    assert!(!store.update_agent(&theirs).await.unwrap());
    assert!(!store.delete_agent(&rival(), &mine.id).await.unwrap());
    assert_eq!(store.insert_agent(&theirs, 9).await.unwrap(), Kept::Done);
    assert_eq!(store.agent(&acme(), &mine.id).await.unwrap(), Some(mine));
}

pub(super) async fn memories_belong_to_an_agent_that_is_there(store: Arc<dyn Store>) {
    let other = agent("a", 0);
    let of_other = Memory { agent: other.id.clone(), ..memory(0) };
    assert_eq!(store.insert_memory(&of_other, 9).await.unwrap(), Kept::Refused);
    store.insert_agent(&other, 9).await.unwrap();
    let mine = memory(1);
    for kept in [&of_other, &mine] {
        assert_eq!(store.insert_memory(kept, 1).await.unwrap(), Kept::Done);
        let read = store.memory(&acme(), &kept.agent, kept.id).await.unwrap();
        assert_eq!(read.as_ref(), Some(kept));
    }
    assert_eq!(store.insert_memory(&memory(2), 1).await.unwrap(), Kept::Full);
    assert_eq!(store.memory(&rival(), &mine.agent, mine.id).await.unwrap(), None);
    assert_eq!(store.memory(&acme(), &other.id, mine.id).await.unwrap(), None);
    let foreign = Memory { owner: rival(), ..mine.clone() };
    assert!(!store.update_memory(&foreign).await.unwrap());
    assert!(!store.delete_memory(&rival(), &mine.agent, mine.id).await.unwrap());
    assert!(!store.delete_memory(&acme(), &other.id, mine.id).await.unwrap());
    let tag = Some("t".to_owned());
    let changed = Memory { tag, content: sealed("new"), updated_at: at(9), ..mine.clone() };
    assert!(store.update_memory(&changed).await.unwrap());
    assert_eq!(store.memory(&acme(), &mine.agent, mine.id).await.unwrap(), Some(changed));
    assert!(store.delete_memory(&acme(), &mine.agent, mine.id).await.unwrap());
    assert_eq!(store.memory(&acme(), &mine.agent, mine.id).await.unwrap(), None);
}

pub(super) async fn memories_are_listed_by_tag_and_user_the_newest_first(store: Arc<dyn Store>) {
    let tagged = Memory { tag: Some("tax".into()), ..memory(0) };
    let users = Memory { user: user("ann"), tag: Some("tax".into()), ..memory(1) };
    let plain = memory(2);
    for kept in [&users, &plain, &tagged] {
        store.insert_memory(kept, 9).await.unwrap();
    }
    let all = MemoryFilter::of(AgentId::standard());
    let listed = |filter: MemoryFilter| {
        let store = store.clone();
        async move { store.memories(&acme(), &filter).await.unwrap() }
    };
    let everything = vec![plain.clone(), users.clone(), tagged.clone()];
    assert_eq!(listed(all.clone()).await, (everything, 3));
    let tag = Some("tax".to_owned());
    let by_tag = MemoryFilter { tag, limit: 1, offset: 1, ..all.clone() };
    assert_eq!(listed(by_tag).await, (vec![tagged], 2));
    let by_user = MemoryFilter { user: user("ann"), ..all.clone() };
    assert_eq!(listed(by_user).await, (vec![users], 1));
    assert_eq!(store.memories(&rival(), &all).await.unwrap(), (Vec::new(), 0));
    assert_eq!(listed(MemoryFilter::of(name("other"))).await, (Vec::new(), 0));
}

pub(super) async fn a_deleted_agent_takes_its_memories_along(store: Arc<dyn Store>) {
    let gone = agent("gone", 0);
    store.insert_agent(&gone, 9).await.unwrap();
    let of_gone = Memory { agent: gone.id.clone(), ..memory(0) };
    let stays = memory(1);
    for kept in [&of_gone, &stays] {
        store.insert_memory(kept, 9).await.unwrap();
    }
    assert!(store.delete_agent(&acme(), &gone.id).await.unwrap());
    assert!(!store.delete_agent(&acme(), &gone.id).await.unwrap());
    assert_eq!(store.agent(&acme(), &gone.id).await.unwrap(), None);
    assert_eq!(store.memory(&acme(), &gone.id, of_gone.id).await.unwrap(), None);
    assert!(store.memory(&acme(), &stays.agent, stays.id).await.unwrap().is_some());
}
