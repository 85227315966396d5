//! Steps that must not be done twice.

use serde_json::json;
use skill_core::{Error, ErrorKind, error::Retry};

use super::{Desk, Log, order, passing, step};

#[tokio::test(start_paused = true)]
async fn what_was_cut_with_its_process_is_not_done_again() {
    let log = Log::default();
    let skill = order(&log, |context, log| async move {
        step(&context, &log, "pack").await?;
        let work = || async {
            log.add("pay");
            std::future::pending::<()>().await;
            Ok(1)
        };
        context.once::<u32, _>("pay", work).await?;
        Ok(json!(null))
    });
    let first = Desk::new([skill.clone()]).await;
    let id = first.submit().await;
    first.until(&log, "pay", 1).await;
    let second = first.restarted([skill]).await;
    assert_eq!(second.failure(id).await.kind, ErrorKind::OutcomeUnknown);
    assert_eq!(log.all(), "pack pay");
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_answers_with_what_it_came_to() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let work = || async { Ok(log.add("pay")) };
        let paid: usize = context.once("pay", work).await?;
        if log.add("attempt") == 1 { Err(passing()) } else { Ok(json!(paid)) }
    })])
    .await;
    let id = desk.submit().await;
    assert_eq!(desk.value(id).await, 1);
    assert_eq!(log.all(), "pay attempt attempt");
}

#[tokio::test(start_paused = true)]
async fn what_certainly_did_nothing_is_tried_again() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let work = || async { if log.add("pay") == 1 { Err(passing()) } else { Ok(2) } };
        let paid: u32 = context.once("pay", work).await?;
        Ok(json!(paid))
    })])
    .await;
    let id = desk.submit().await;
    assert_eq!(desk.value(id).await, 2);
    assert_eq!(log.all(), "pay pay");
}

#[tokio::test(start_paused = true)]
async fn what_may_have_happened_is_said_to_be_unknown() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let work = || async {
            log.add("pay");
            let cut = Error::new(ErrorKind::UpstreamUnreachable, "the connection was cut");
            Err::<u32, _>(cut.retry(Retry::IfIdempotent))
        };
        context.once("pay", work).await?;
        Ok(json!(null))
    })])
    .await;
    let id = desk.submit().await;
    let failure = desk.failure(id).await;
    assert_eq!((failure.kind, log.all().as_str()), (ErrorKind::OutcomeUnknown, "pay"));
}
