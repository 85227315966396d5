//! Sleeping: without a place, through restarts, and without a way around it.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Wakes up after an hour.
fn sleeper(log: &Log) -> Arc<dyn Skill> {
    let sleeps = |context: SkillContext, log: Log| async move {
        step(&context, &log, "before").await?;
        context.sleep(HOUR).await?;
        step(&context, &log, "after").await?;
        Ok(json!({"attempt": context.run().attempt}))
    };
    named("order", log, sleeps).deadline(3 * HOUR).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_sleep_survives_a_restart() {
    let log = Log::default();
    let first = Desk::new([sleeper(&log)]).await;
    let id = first.submit().await;
    first.until(&log, "before", 1).await;
    first.until_queued(id).await;
    first.world.engine.stop().await;
    let second = first.restarted([sleeper(&log)]).await;
    second.world.clock.advance(HOUR - Duration::from_secs(10));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(log.all(), "before");
    second.world.clock.advance(Duration::from_secs(10));
    // What was slept through was no attempt.
    assert_eq!(second.value(id).await, json!({"attempt": 1}));
    assert_eq!(log.all(), "before after");
}

#[tokio::test(start_paused = true)]
async fn who_sleeps_takes_no_place() {
    let log = Log::default();
    let busy = order(&log, |context, log| async move {
        log.add("begun");
        context.sleep(Duration::from_secs(600)).await?;
        Ok(json!(null))
    });
    let desk = Desk::new([busy]).await;
    for _ in 0..100 {
        desk.submit().await;
    }
    desk.until(&log, "begun", 100).await;
}

#[tokio::test(start_paused = true)]
async fn a_short_sleep_is_slept_in_place() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        log.add("attempt");
        context.sleep(Duration::from_secs(3)).await?;
        context.sleep(Duration::ZERO).await?;
        Ok(json!(null))
    })])
    .await;
    let started = tokio::time::Instant::now();
    let id = desk.submit().await;
    assert_eq!(desk.ended(id).await.execution.state, State::Success);
    assert_eq!(started.elapsed().as_secs(), 3);
    assert_eq!(log.all(), "attempt");
}

#[tokio::test(start_paused = true)]
async fn a_swallowed_suspension_does_not_end_the_run() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        log.add("attempt");
        let slept = context.sleep(Duration::from_secs(600)).await;
        // Whatever it does now does not count.
        let more = step(&context, &log, "more").await;
        assert_eq!(slept.is_ok(), more.is_ok());
        Ok(json!("done"))
    })])
    .await;
    let id = desk.submit().await;
    desk.until(&log, "attempt", 1).await;
    desk.until_queued(id).await;
    assert_eq!(log.count("more"), 0);
    desk.world.clock.advance(Duration::from_secs(600));
    assert_eq!(desk.value(id).await, "done");
    assert_eq!(log.all(), "attempt attempt more");
}

#[tokio::test(start_paused = true)]
async fn who_sleeps_waits_for_what_goes_on_beside_it() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let work = || async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            log.add("worked");
            Ok(7)
        };
        let (slept, worked) = tokio::join!(
            context.sleep(Duration::from_secs(60)),
            context.step::<u32, _>("work", work)
        );
        slept?;
        Ok(json!(worked?))
    })])
    .await;
    let id = desk.submit().await;
    desk.until(&log, "worked", 1).await;
    desk.until_queued(id).await;
    desk.world.clock.advance(Duration::from_secs(60));
    assert_eq!(desk.value(id).await, 7);
    assert_eq!(log.all(), "worked");
}

#[tokio::test(start_paused = true)]
async fn who_sleeps_can_be_cancelled() {
    let log = Log::default();
    let desk = Desk::new([sleeper(&log)]).await;
    let id = desk.submit().await;
    desk.until(&log, "before", 1).await;
    desk.until_queued(id).await;
    let runs = desk.world.engine.runs();
    assert_eq!(runs.cancel(&desk.world.caller, id).await.unwrap().state, State::Cancelled);
    desk.world.clock.advance(2 * HOUR);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(desk.run(id).await.execution.state, State::Cancelled);
    assert_eq!(log.all(), "before");
}

#[tokio::test(start_paused = true)]
async fn who_would_sleep_beyond_the_deadline_is_told_at_once() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, _| async move {
        _ = context.sleep(HOUR).await;
        Ok(json!("all is well"))
    })])
    .await;
    let id = desk.submit().await;
    let failure = desk.failure(id).await;
    assert_eq!(failure.kind, ErrorKind::Timeout);
    assert_eq!(failure.message, "the skill sleeps longer than its run may take");
}
