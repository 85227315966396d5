//! What a skill says: once, however often its run is tried.

use super::*;
use crate::watched::Watched;

impl Desk {
    /// What the run said.
    async fn said(&self, id: ExecutionId) -> Vec<String> {
        let (runs, caller) = (self.world.engine.runs(), &self.world.caller);
        runs.said(caller, id).await.unwrap().into_iter().map(|(_, text)| text).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_said_is_not_said_again() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        context.say("one").await?;
        step(&context, &log, "pack").await?;
        context.say("two").await?;
        if log.add("attempt") < 3 { Err(passing()) } else { Ok(json!("done")) }
    })])
    .await;
    let id = desk.submit().await;
    assert_eq!(desk.ended(id).await.execution.attempts, 3);
    assert_eq!(desk.said(id).await, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_its_step_was_recorded_is_said_once() {
    let (log, store) = (Log::default(), Watched::new());
    let healing = store.clone();
    let skill = order(&log, move |context, log| {
        let attempt = log.add("attempt");
        if attempt == 2 {
            healing.heal("record_step");
        }
        async move {
            context.say(format!("attempt {attempt}")).await?;
            Ok(json!(null))
        }
    });
    store.fail("record_step");
    let desk = Desk::over(store.clone(), [skill]).await;
    let id = desk.submit().await;
    assert_eq!(desk.ended(id).await.execution.attempts, 2);
    assert_eq!(store.count("say"), 2);
    assert_eq!(desk.said(id).await, ["attempt 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_skill_that_says_too_much_is_ended() {
    for (size, times) in [(0, 1), (16 * 1024 + 1, 1), (1, 201)] {
        let log = Log::default();
        let desk = Desk::new([order(&log, move |context, _| async move {
            for _ in 0..times {
                // It is ended although it goes on from the error.
                drop(context.say("x".repeat(size)).await);
            }
            Ok(json!(null))
        })])
        .await;
        let id = desk.submit().await;
        assert_eq!(desk.ended(id).await.execution.state, State::Error, "{size} {times}");
        assert_eq!(desk.said(id).await.len(), times - 1);
    }
}
