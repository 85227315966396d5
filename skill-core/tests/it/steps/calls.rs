//! Calls of a skill: of services, and of other skills.

use skill_core::{
    access::{NewKey, Plan, Plans},
    call::Reply,
    record::{key::Kind, scope::Scopes},
};

use super::*;
use crate::script::{cut, json as answer, unreachable};

/// Calls `open/ENDPOINT`.
async fn ask(context: &SkillContext, endpoint: &str) -> Result<Reply> {
    context.call(call("open", endpoint)).await
}

/// A skill that calls an endpoint of `open`, is tried once more, and answers with the status.
fn asks(log: &Log, endpoint: &'static str) -> Arc<dyn Skill> {
    order(log, move |context, log| async move {
        let reply = ask(&context, endpoint).await?;
        if log.add("attempt") == 1 { Err(passing()) } else { Ok(json!(reply.status.as_u16())) }
    })
}

#[tokio::test(start_paused = true)]
async fn a_call_is_made_once_and_has_a_row_of_its_own() {
    let log = Log::default();
    let desk = Desk::new([asks(&log, "charge")]).await;
    let id = desk.submit().await;
    assert_eq!(desk.value(id).await, 200);
    assert_eq!(log.count("attempt"), 2);
    let sent = desk.world.script.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].header("idempotency-key").unwrap(), format!("{id}.1"));
    let calls = desk.world.engine.runs().calls(&desk.world.caller, id).await.unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].parent, calls[0].state), (Some(id), State::Success));
    assert_eq!(calls[0].action.to_string(), "open/charge");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_the_same_in_every_attempt() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let reply = context.call(call("open", "whoami")).await?;
        let seen = json!({
            "status": reply.status.as_u16(),
            "type": reply.headers["content-type"].to_str().unwrap(),
            "cookie": reply.headers.contains_key("set-cookie"),
            "body": reply.data.json()?,
            "run": reply.execution.to_string(),
        });
        log.add(&seen.to_string());
        if log.add("attempt") == 1 { Err(passing()) } else { Ok(seen) }
    })])
    .await;
    desk.world.script.on(|_| {
        let answer = answer(418, r#"{"tea": [1, 2.50]}"#);
        crate::script::with(answer, "set-cookie", "a=b")
    });
    let id = desk.submit().await;
    let seen = desk.value(id).await;
    assert_eq!((&seen["status"], &seen["cookie"]), (&json!(418), &json!(false)));
    assert_eq!(log.count(&seen.to_string()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_must_not_be_made_twice_and_was_cut_is_never_sent_again() {
    let log = Log::default();
    let first = Desk::new([asks(&log, "pay")]).await;
    first.world.script.hang();
    let id = first.submit().await;
    while first.world.script.count("open.test/payments") == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = first.restarted([asks(&log, "pay")]).await;
    let failure = second.failure(id).await;
    assert_eq!(failure.kind, ErrorKind::OutcomeUnknown);
    assert!(failure.message.starts_with("a call of `open/pay` was cut"));
    assert_eq!(second.world.script.count("open.test/payments"), 1);
    assert_eq!(log.all(), "");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_be_repeated_is_sent_again_with_the_same_key() {
    let log = Log::default();
    let desk = Desk::new([asks(&log, "charge")]).await;
    desk.world.script.queue([Err(cut()), answer(503, "{}"), answer(200, "{}")]);
    // Its answer is the skill's to judge: this one tries again.
    let skill = order(&log, |context, log| async move {
        let reply = ask(&context, "charge").await?;
        log.add("answer");
        if reply.status.is_server_error() { Err(passing()) } else { Ok(json!("paid")) }
    });
    let desk = desk.restarted([skill]).await;
    let id = desk.submit().await;
    assert_eq!(desk.value(id).await, "paid");
    let sent = desk.world.script.sent();
    let keys = sent.iter().map(|sent| sent.header("idempotency-key").unwrap());
    assert_eq!(keys.collect::<Vec<_>>(), vec![format!("{id}.1"); 3]);
    assert_eq!(log.all(), "answer answer");
}

#[tokio::test(start_paused = true)]
async fn what_certainly_was_not_taken_is_sent_again_although_it_must_not_be_doubled() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let reply = ask(&context, "pay").await?;
        log.add("answer");
        if reply.status == 503 { Err(passing()) } else { Ok(json!("paid")) }
    })])
    .await;
    desk.world.script.queue([Err(unreachable()), answer(503, "{}"), answer(200, "{}")]);
    let id = desk.submit().await;
    assert_eq!(desk.value(id).await, "paid");
    assert_eq!(desk.world.script.count("open.test/payments"), 3);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_taken_ends_the_run() {
    let log = Log::default();
    let desk = Desk::new([asks(&log, "pay")]).await;
    desk.world.script.queue([Err(cut())]);
    let id = desk.submit().await;
    assert_eq!(desk.failure(id).await.kind, ErrorKind::OutcomeUnknown);
    let run = desk.run(id).await;
    assert_eq!((run.execution.attempts, log.all().as_str()), (1, ""));
    let calls = desk.world.engine.runs().calls(&desk.world.caller, id).await.unwrap();
    assert_eq!(calls[0].error, Some(ErrorKind::OutcomeUnknown));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_a_skill_goes_on_from_is_the_same_after_a_crash() {
    let log = Log::default();
    let skill = order(&log, |context, log| async move {
        let paid = ask(&context, "pay").await;
        log.add(paid.unwrap_err().kind().as_str());
        ask(&context, "whoami").await?;
        if log.add("attempt") == 1 {
            std::future::pending::<()>().await;
        }
        Ok(json!("told them"))
    });
    let first = Desk::new([skill.clone()]).await;
    first.world.script.queue([Err(cut()), answer(200, "{}")]);
    let id = first.submit().await;
    first.until(&log, "attempt", 1).await;
    let second = first.restarted([skill]).await;
    assert_eq!(second.value(id).await, "told them");
    assert_eq!(log.all(), "outcome_unknown attempt outcome_unknown attempt");
}

#[tokio::test(start_paused = true)]
async fn calls_may_be_made_at_the_same_time() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        let get = |id: &str| context.call(call("open", "get_item").param("id", id));
        let (a, b) = tokio::join!(get("a"), get("b"));
        let both = json!([a?.data.json()?, b?.data.json()?]);
        if log.add("attempt") == 1 { Err(passing()) } else { Ok(both) }
    })])
    .await;
    desk.world.script.on(|sent| answer(200, &format!("\"{}\"", sent.url.path())));
    let id = desk.submit().await;
    assert_eq!(desk.value(id).await, json!(["/items/a", "/items/b"]));
    assert_eq!(desk.world.script.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_called_is_said() {
    let log = Log::default();
    let wrong = |call: skill_core::call::CallRequest| {
        order(&Log::default(), move |context, _| {
            let call = call.clone();
            async move { context.call(call).await.map(|_| json!(null)) }
        })
    };
    let cases = [
        (call("open", "nothing"), ErrorKind::NotFound),
        (call("open", "make_item"), ErrorKind::InvalidInput),
        (call("open", "whoami").idempotency_key("k"), ErrorKind::InvalidInput),
        (call("desk", "whoami"), ErrorKind::NotConnected),
    ];
    for (call, kind) in cases {
        let desk = Desk::new([wrong(call)]).await;
        let id = desk.submit().await;
        assert_eq!(desk.failure(id).await.kind, kind);
        assert_eq!(desk.world.script.sent().len(), 0);
    }
    assert_eq!(log.all(), "");
}

/// A key with these scopes, and who presents it.
async fn key(desk: &Desk, scopes: &[&str]) -> (skill_core::id::KeyId, Caller) {
    let keys = desk.world.engine.keys();
    let scopes = Scopes::parse(scopes.iter().copied()).unwrap();
    let wanted = NewKey { scopes, ..NewKey::new("test", Kind::Api) };
    let (key, plain) = keys.create(&desk.world.caller, wanted).await.unwrap();
    (key.id, desk.world.present(plain.expose()).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_call_needs_the_scope_of_its_own_action() {
    let log = Log::default();
    for (scopes, kind) in [
        (&["shop"][..], Some(ErrorKind::ScopeMissing)),
        (&["shop", "open/pay"], Some(ErrorKind::ScopeMissing)),
        (&["shop", "open/charge"], None),
    ] {
        let desk = Desk::new([asks(&log, "charge")]).await;
        let (_, caller) = key(&desk, scopes).await;
        let id = desk.submit_as(&caller).await;
        assert_eq!(desk.ended(id).await.execution.error, kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_stops_the_calls_of_its_runs_at_once() {
    let (log, gate) = (Log::default(), Arc::new(Semaphore::new(0)));
    let pass = gate.clone();
    let desk = Desk::new([order(&log, move |context, log| {
        let gate = pass.clone();
        async move {
            ask(&context, "whoami").await?;
            log.add("asked");
            gate.acquire().await.unwrap().forget();
            _ = ask(&context, "whoami").await;
            Ok(json!("all is well"))
        }
    })])
    .await;
    let (id_of_key, caller) = key(&desk, &["*"]).await;
    let id = desk.submit_as(&caller).await;
    desk.until(&log, "asked", 1).await;
    desk.world.engine.keys().revoke(&desk.world.caller, id_of_key).await.unwrap();
    gate.add_permits(1);
    assert_eq!(desk.failure(id).await.kind, ErrorKind::Unauthenticated);
    assert_eq!(desk.world.script.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_used_up_is_waited_for() {
    let log = Log::default();
    let skill = order(&log, |context, log| async move {
        for _ in 0..3 {
            ask(&context, "whoami").await?;
            log.add("asked");
        }
        Ok(json!(context.run().attempt))
    });
    let plan = Plan { per_minute: Some(3), ..Plan::default() };
    let plans = Plans::new("small", [("small".to_owned(), plan)], []).unwrap();
    let world = World::with(Arc::new(MemoryStore::new()), |builder| {
        with(builder.plans(plans.clone()), std::slice::from_ref(&skill))
    });
    let desk = Desk { world: world.await };
    let (_, caller) = key(&desk, &["*"]).await;
    // The submit is the first request, two calls follow.
    let id = desk.submit_as(&caller).await;
    desk.until(&log, "asked", 2).await;
    desk.until_queued(id).await;
    assert_eq!(desk.world.script.sent().len(), 2);
    desk.world.clock.advance(Duration::from_secs(61));
    // Waiting is no attempt.
    assert_eq!(desk.value(id).await, 1);
    assert_eq!(desk.world.script.sent().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_ends_after_the_deadline_ends_the_run() {
    let log = Log::default();
    let plan = Plan { per_day: Some(2), ..Plan::default() };
    let plans = Plans::new("small", [("small".to_owned(), plan)], []).unwrap();
    let skill = order(&log, |context, _| async move {
        ask(&context, "whoami").await?;
        ask(&context, "whoami").await.map(|_| json!(null))
    });
    let world = World::with(Arc::new(MemoryStore::new()), |builder| {
        with(builder.plans(plans.clone()), std::slice::from_ref(&skill))
    });
    let desk = Desk { world: world.await };
    let (_, caller) = key(&desk, &["*"]).await;
    // The submit is the first request of the day.
    let id = desk.submit_as(&caller).await;
    assert_eq!(desk.failure(id).await.kind, ErrorKind::DailyLimit);
    assert_eq!(desk.world.script.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_an_action_is_waited_for() {
    let log = Log::default();
    let inner = named("inner", &log, |_, log| async move {
        log.add("inner");
        Ok(json!(null))
    });
    let skill = order(&log, |context, _| async move {
        context.call(call("shop", "inner")).await?;
        context.call(call("shop", "inner")).await?;
        Ok(json!(context.run().attempt))
    });
    let desk = Desk::new([skill, inner.rate_limit(1).build().unwrap()]).await;
    let id = desk.submit().await;
    desk.until(&log, "inner", 1).await;
    desk.until_queued(id).await;
    desk.world.clock.advance(Duration::from_secs(61));
    assert_eq!(desk.value(id).await, 1);
    assert_eq!(log.count("inner"), 2);
}

/// `shop/order` calls `shop/NAME` and adds what that comes to.
fn calls(log: &Log, name: &'static str) -> Arc<dyn Skill> {
    order(log, move |context, log| async move {
        step(&context, &log, "before").await?;
        let reply = context.call(call("shop", name)).await?;
        step(&context, &log, "after").await?;
        if log.add("attempt") == 1 { Err(passing()) } else { reply.data.json() }
    })
}

#[tokio::test(start_paused = true)]
async fn a_skill_that_is_called_runs_with_its_steps_in_the_same_journal() {
    let log = Log::default();
    let inner = named("inner", &log, |context, log| async move {
        step(&context, &log, "one").await?;
        ask(&context, "charge").await?;
        step(&context, &log, "two").await?;
        Ok(json!({"in": context.run().action.to_string()}))
    });
    let desk = Desk::new([calls(&log, "inner"), inner.build().unwrap()]).await;
    let id = desk.submit().await;
    assert_eq!(desk.value(id).await, json!({"in": "shop/inner"}));
    assert_eq!(log.all(), "before one two after attempt attempt");
    let sent = desk.world.script.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].header("idempotency-key").unwrap(), format!("{id}.4"));
    let made = desk.world.engine.runs().calls(&desk.world.caller, id).await.unwrap();
    let made = made.iter().map(|call| call.action.to_string()).collect::<Vec<_>>();
    assert_eq!(made.len(), 2);
    assert!(made.contains(&"shop/inner".to_owned()) && made.contains(&"open/charge".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_skill_that_is_called_goes_on_after_a_crash_and_a_sleep() {
    let log = Log::default();
    let inner = named("inner", &log, |context, log| async move {
        step(&context, &log, "one").await?;
        let work = || async {
            if log.add("two") == 1 {
                std::future::pending::<()>().await;
            }
            Ok(())
        };
        context.step("two", work).await?;
        // Swallowed by a skill in between, a suspension is one all the same.
        _ = context.sleep(Duration::from_secs(300)).await;
        Ok(json!("slept"))
    });
    let inner = inner.build().unwrap();
    let first = Desk::new([calls(&log, "inner"), inner.clone()]).await;
    let id = first.submit().await;
    first.until(&log, "two", 1).await;
    let second = first.restarted([calls(&log, "inner"), inner]).await;
    second.until(&log, "two", 2).await;
    second.until_queued(id).await;
    assert_eq!(log.all(), "before one two two");
    second.world.clock.advance(Duration::from_secs(300));
    assert_eq!(second.value(id).await, "slept");
    assert_eq!(log.all(), "before one two two after attempt attempt");
}

#[tokio::test(start_paused = true)]
async fn a_skill_that_calls_itself_comes_to_an_end() {
    let log = Log::default();
    let desk = Desk::new([order(&log, |context, log| async move {
        log.add("called");
        context.call(call("shop", "order")).await?.data.json()
    })])
    .await;
    let id = desk.submit().await;
    let failure = desk.failure(id).await;
    assert_eq!(failure.kind, ErrorKind::ActionFailed);
    assert!(failure.message.contains("8 deep"), "{}", failure.message);
    assert_eq!(log.count("called"), 8);
}

#[tokio::test(start_paused = true)]
async fn a_skill_that_is_called_runs_alone() {
    let log = Log::default();
    let inner = named("inner", &log, |_, _| async { Ok(json!(null)) });
    let desk = Desk::new([
        order(&log, |context, _| async move {
            let get = || context.call(call("shop", "inner"));
            _ = tokio::join!(ask(&context, "whoami"), get());
            Ok(json!(null))
        }),
        inner.build().unwrap(),
    ])
    .await;
    desk.world.script.hang();
    let id = desk.submit().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    desk.world.script.on(|_| answer(200, "{}"));
    let failure = desk.failure(id).await;
    assert!(failure.message.contains("while others had not ended"), "{}", failure.message);
}

#[tokio::test(start_paused = true)]
async fn a_skill_may_ask_for_more_scopes_than_its_own() {
    let log = Log::default();
    let inner = named("inner", &log, |_, _| async { Ok(json!(null)) });
    let inner = inner.scopes([skill_core::record::scope::Scope::parse("bank").unwrap()]);
    let desk = Desk::new([calls(&log, "inner"), inner.build().unwrap()]).await;
    let (_, caller) = key(&desk, &["shop"]).await;
    let id = desk.submit_as(&caller).await;
    let failure = desk.failure(id).await;
    assert_eq!(failure.kind, ErrorKind::ScopeMissing);
    assert!(failure.message.contains("'bank'"), "{}", failure.message);
}
