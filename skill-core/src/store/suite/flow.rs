//! Cases: flows.

use std::sync::Arc;

use super::fixture::{at, at_once, connection, departure, flow, kept_connection, token, user};
use crate::{
    id::FlowId,
    record::{
        connection::Connection,
        flow::{Departure, Flow},
    },
    store::Store,
};

/// A flow that is kept, begun at 0.
async fn kept_flow(store: &dyn Store) -> Flow {
    let connection = kept_connection(store, 0).await;
    let flow = flow(&connection, 0);
    store.insert_flow(&flow, at(0)).await.unwrap();
    flow
}

/// A flow that left at 1; its state ends at 900.
async fn departed_flow(store: &dyn Store) -> (Flow, Departure) {
    let (flow, departure) = (kept_flow(store).await, departure(900));
    assert!(store.depart(&flow.link, Some(&departure), at(1)).await.unwrap());
    (flow, departure)
}

pub(super) async fn a_flow_reads_back_as_it_was_kept(store: Arc<dyn Store>) {
    let anns = Connection { user: user("ann"), ..connection(0) };
    assert!(store.insert_connection(&anns, None).await.unwrap());
    let full = Flow {
        scopes: vec!["repo".into(), "gist".into()],
        return_url: Some("https://app.example/done?a=1".into()),
        ..flow(&anns, 1)
    };
    for kept in [flow(&anns, 0), full] {
        store.insert_flow(&kept, at(0)).await.unwrap();
        assert_eq!(store.flow_by_link(&kept.link, at(1)).await.unwrap().as_ref(), Some(&kept));
        let leaving = Departure { issuer: None, ..departure(900) };
        assert!(store.depart(&kept.link, Some(&leaving), at(1)).await.unwrap());
        let arrived = store.arrive(&leaving.state, &leaving.browser, at(2)).await.unwrap();
        assert_eq!(arrived, Some((kept, leaving)));
    }
    assert_eq!(store.flow_by_link(&token(), at(0)).await.unwrap(), None);
}

pub(super) async fn a_flow_may_come_before_its_connection(store: Arc<dyn Store>) {
    let early = flow(&connection(1), 0);
    store.insert_flow(&early, at(0)).await.unwrap();
    assert_eq!(store.flow_by_link(&early.link, at(1)).await.unwrap(), Some(early));
}

pub(super) async fn a_link_ends(store: Arc<dyn Store>) {
    let flow = kept_flow(&*store).await;
    assert!(store.flow_by_link(&flow.link, at(599)).await.unwrap().is_some());
    assert_eq!(store.flow_by_link(&flow.link, at(600)).await.unwrap(), None);
    assert!(!store.depart(&flow.link, Some(&departure(900)), at(600)).await.unwrap());
    assert!(!store.depart(&flow.link, None, at(600)).await.unwrap());
}

pub(super) async fn a_link_is_used_once(store: Arc<dyn Store>) {
    let (flow, first) = departed_flow(&*store).await;
    assert_eq!(store.flow_by_link(&flow.link, at(2)).await.unwrap(), None);
    let second = departure(900);
    assert!(!store.depart(&flow.link, Some(&second), at(2)).await.unwrap());
    assert!(!store.depart(&flow.link, None, at(2)).await.unwrap());
    assert_eq!(store.arrive(&second.state, &second.browser, at(3)).await.unwrap(), None);
    assert!(store.arrive(&first.state, &first.browser, at(3)).await.unwrap().is_some());
    assert!(!store.depart(&flow.link, None, at(4)).await.unwrap());
}

pub(super) async fn a_link_may_end_without_a_departure(store: Arc<dyn Store>) {
    let flow = kept_flow(&*store).await;
    assert!(store.depart(&flow.link, None, at(1)).await.unwrap());
    assert!(!store.depart(&flow.link, None, at(1)).await.unwrap());
    assert!(!store.depart(&flow.link, Some(&departure(900)), at(1)).await.unwrap());
    assert_eq!(store.flow_by_link(&flow.link, at(1)).await.unwrap(), None);
}

pub(super) async fn a_state_is_used_once(store: Arc<dyn Store>) {
    let (flow, left) = departed_flow(&*store).await;
    assert_eq!(store.arrive(&token(), &left.browser, at(2)).await.unwrap(), None);
    let arrived = store.arrive(&left.state, &left.browser, at(2)).await.unwrap();
    assert_eq!(arrived, Some((flow, left.clone())));
    assert_eq!(store.arrive(&left.state, &left.browser, at(2)).await.unwrap(), None);
}

pub(super) async fn a_state_ends(store: Arc<dyn Store>) {
    let (_, left) = departed_flow(&*store).await;
    assert_eq!(store.arrive(&left.state, &left.browser, at(900)).await.unwrap(), None);
    assert!(store.arrive(&left.state, &left.browser, at(899)).await.unwrap().is_some());
}

pub(super) async fn another_browser_uses_nothing_up(store: Arc<dyn Store>) {
    let (_, left) = departed_flow(&*store).await;
    assert_eq!(store.arrive(&left.state, &token(), at(2)).await.unwrap(), None);
    assert!(store.arrive(&left.state, &left.browser, at(2)).await.unwrap().is_some());
}

pub(super) async fn ended_flows_are_swept(store: Arc<dyn Store>) {
    let old = kept_flow(&*store).await;
    let next = Flow { connection: old.connection.clone(), ..flow(&connection(0), 600) };
    store.insert_flow(&next, at(599)).await.unwrap();
    assert!(store.flow_by_link(&old.link, at(1)).await.unwrap().is_some());
    let last = Flow { connection: old.connection.clone(), ..flow(&connection(0), 600) };
    store.insert_flow(&last, at(600)).await.unwrap();
    assert_eq!(store.flow_by_link(&old.link, at(1)).await.unwrap(), None);
    assert!(store.flow_by_link(&next.link, at(600)).await.unwrap().is_some());
}

pub(super) async fn a_departed_flow_outlives_its_link(store: Arc<dyn Store>) {
    let (flow, left) = departed_flow(&*store).await;
    let next = Flow { link: token(), id: FlowId::fresh(at(700)).unwrap(), ..flow };
    store.insert_flow(&next, at(700)).await.unwrap();
    assert!(store.arrive(&left.state, &left.browser, at(700)).await.unwrap().is_some());
}

pub(super) async fn parallel_departures_let_one_go(store: Arc<dyn Store>) {
    let link = kept_flow(&*store).await.link;
    let gone = at_once(&store, 30, move |store, _| async move {
        store.depart(&link, Some(&departure(900)), at(1)).await.unwrap()
    });
    assert_eq!(gone.await.into_iter().filter(|gone| *gone).count(), 1);
}

pub(super) async fn parallel_arrivals_let_one_in(store: Arc<dyn Store>) {
    let (_, left) = departed_flow(&*store).await;
    let (state, browser) = (left.state, left.browser);
    let arrived = at_once(&store, 30, move |store, _| async move {
        store.arrive(&state, &browser, at(1)).await.unwrap()
    });
    assert_eq!(arrived.await.into_iter().flatten().count(), 1);
}
