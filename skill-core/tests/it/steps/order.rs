//! The order of steps: the same in every attempt, and said when it is not.

use super::*;

/// What a run comes to whose skill does these in turn, one for each attempt.
async fn in_turn(names: &'static [&'static [&'static str]]) -> (Run, Log) {
    let log = Log::default();
    let desk = Desk::new([order(&log, move |context, log| async move {
        let attempt = log.add("attempt");
        for name in names[attempt - 1] {
            step(&context, &log, name).await?;
        }
        if attempt < names.len() { Err(passing()) } else { Ok(json!("done")) }
    })])
    .await;
    let id = desk.submit().await;
    (desk.ended(id).await, log)
}

fn message(run: &Run) -> &str {
    assert_eq!(run.execution.state, State::Error);
    match &run.outcome {
        Some(Outcome::Failed(failure)) => &failure.message,
        other => panic!("no failure: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_order_is_said_and_not_tried_again() {
    let (run, log) =
        in_turn(&[&["open", "pack", "charge"], &["open", "pack", "refund"], &[]]).await;
    assert_eq!(
        message(&run),
        "the skill's steps changed: expected `charge` as step 3, found `refund`"
    );
    assert_eq!((run.execution.attempts, run.execution.error), (2, Some(ErrorKind::ActionFailed)));
    assert_eq!(log.count("refund"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_left_out_at_the_end_is_said() {
    let (run, _) = in_turn(&[&["open", "pack"], &["open"]]).await;
    assert_eq!(
        message(&run),
        "the skill's steps changed: expected `pack` as step 2, found the end"
    );
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_one_name_counts() {
    let (run, log) = in_turn(&[&["page", "page"], &["page", "page", "page"]]).await;
    assert_eq!(run.execution.state, State::Success);
    assert_eq!(log.count("page"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_swallowed_refusal_ends_the_run_nevertheless() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        if log.add("attempt") == 1 {
            step(&context, &log, "charge").await?;
            return Err(passing());
        }
        let refused = step(&context, &log, "refund").await;
        assert!(refused.is_err());
        // Nothing goes on from here.
        assert!(step(&context, &log, "more").await.is_err());
        Ok(json!("all is well"))
    })])
    .await;
    let id = desk.submit().await;
    let failure = desk.failure(id).await;
    assert!(failure.message.contains("expected `charge` as step 1, found `refund`"));
    assert_eq!(log.all(), "attempt charge attempt");
}

#[tokio::test(start_paused = true)]
async fn steps_that_all_begin_before_one_ends_run_at_the_same_time() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let slow = |name: &'static str, time| {
            let (context, log) = (&context, &log);
            let work = move || async move {
                tokio::time::sleep(Duration::from_millis(time)).await;
                log.add(name);
                Ok(time)
            };
            context.step(name, work)
        };
        let (a, b, c) = tokio::join!(slow("a", 30), slow("b", 10), slow("c", 20));
        let sum = a? + b? + c?;
        step(&context, &log, "after").await?;
        if log.add("attempt") == 1 { Err(passing()) } else { Ok(json!(sum)) }
    })])
    .await;
    let id = desk.submit().await;
    assert_eq!(desk.value(id).await, 60);
    assert_eq!(log.all(), "b c a after attempt attempt");
}

#[tokio::test(start_paused = true)]
async fn an_order_that_luck_decides_is_refused() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let two = |first: &'static str, time, second: &'static str| {
            let (context, log) = (&context, &log);
            async move {
                let work = || async {
                    tokio::time::sleep(Duration::from_millis(time)).await;
                    Ok(())
                };
                context.step(first, work).await?;
                step(context, log, second).await
            }
        };
        _ = tokio::join!(two("a1", 10, "a2"), two("b1", 20, "b2"));
        Ok(json!("all is well"))
    })])
    .await;
    let id = desk.submit().await;
    let failure = desk.failure(id).await;
    assert_eq!(failure.kind, ErrorKind::ActionFailed);
    assert!(failure.message.starts_with("the skill began step `a2` while others had not ended"));
}

#[tokio::test(start_paused = true)]
async fn a_step_inside_of_a_step_is_refused() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let inner = || async { step(&context, &log, "inner").await };
        let outer: Result<u32> = context.step("outer", inner).await;
        outer.map(|one| json!(one))
    })])
    .await;
    let id = desk.submit().await;
    let failure = desk.failure(id).await;
    assert_eq!(failure.message, "the skill began step `inner` inside of another step");
    assert_eq!(log.all(), "");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_was_given_up_never_ends_in_a_later_attempt_either() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let wait = || async {
            log.add("wait");
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(())
        };
        let waited = tokio::time::timeout(Duration::from_secs(1), context.step("wait", wait)).await;
        assert!(waited.is_err());
        step(&context, &log, "instead").await?;
        if log.add("attempt") == 1 { Err(passing()) } else { Ok(json!("done")) }
    })])
    .await;
    let id = desk.submit().await;
    assert_eq!(desk.value(id).await, "done");
    assert_eq!(log.all(), "wait instead attempt attempt");
}

#[tokio::test(start_paused = true)]
async fn a_bad_name_of_a_step_is_an_error() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        step(&context, &log, "two\nlines").await.map(|one| json!(one))
    })])
    .await;
    let id = desk.submit().await;
    assert_eq!(desk.failure(id).await.kind, ErrorKind::InvalidInput);
}
