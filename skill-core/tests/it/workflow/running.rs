//! What a document says is what happens.

use skill_core::{
    ErrorKind,
    access::NewKey,
    record::{execution::Class, key::Kind, scope::Scopes},
};

use super::*;
use crate::script::{cut, json as answer, with};

const COPY: &str = r"
  - workflowId: copyItem
    summary: Copy an item
    inputs:
      type: object
      required: [id]
      properties:
        id: {type: string}
        q: {type: string}
        note: {type: string, default: none}
    steps:
      - stepId: read
        operationId: get_item
        parameters:
          - {name: id, in: path, value: $inputs.id}
          - {name: q, in: query, value: $inputs.q}
        outputs:
          title: $response.body#/title
          tag: $response.header.X-Tag
          asked: $request.path.id
      - stepId: write
        operationId: $sourceDescriptions.open.makeItem
        parameters:
          - {name: tag, in: header, value: $steps.read.outputs.tag}
        requestBody:
          contentType: application/json
          payload:
            title: 'Copy of {$steps.read.outputs.title}'
            note: $inputs.note
            more: {from: $steps.read.outputs.asked, list: [1, $inputs.q]}
          replacements:
            - {target: /more/by, value: $sourceDescriptions.open.url}
            - {target: /more/list, value: [2]}
        outputs:
          made: $response.body#/id
    outputs:
      made: $steps.write.outputs.made
      q: $inputs.q
";

#[tokio::test(start_paused = true)]
async fn values_go_from_inputs_and_steps_into_calls_and_outputs() {
    let desk = Desk::new(COPY).await;
    desk.world.script.queue([
        with(answer(200, r#"{"title": "Tea"}"#), "x-tag", "hot"),
        answer(201, r#"{"id": 12}"#),
    ]);
    let made = desk.runs("shop/copy-item", json!({"id": "a/b"})).await;
    assert_eq!(made, json!({"made": 12, "q": null}));
    assert_eq!(desk.paths(), ["GET /items/a%2Fb", "POST /items"]);
    let sent = &desk.world.script.sent()[1];
    assert_eq!(sent.header("x-tag"), Some("hot"));
    assert_eq!(
        sent.json(),
        json!({
            "title": "Copy of Tea",
            "note": "none",
            "more": {"from": "a/b", "list": [2], "by": "skill:open"},
        })
    );
}

/// Two steps; what follows the first one is filled in.
fn two(actions: &str) -> String {
    format!(
        r"
  - workflowId: two
    steps:
      - stepId: first
        operationId: get_item
        parameters: [{{name: id, in: path, value: first}}]
        x-skill: {{error: $response.body#/why}}
{actions}
        outputs: {{state: $response.body#/state}}
      - stepId: second
        operationId: get_item
        parameters: [{{name: id, in: path, value: second}}]
      - stepId: third
        operationId: get_item
        parameters: [{{name: id, in: path, value: third}}]
    outputs: {{state: $steps.first.outputs.state}}
"
    )
}

#[tokio::test(start_paused = true)]
async fn a_failed_step_ends_the_run_and_says_what_the_service_said() {
    let desk = Desk::new(&two("")).await;
    desk.world.script.queue([answer(404, r#"{"why": "no such\nitem"}"#)]);
    let failure = desk.fails("shop/two", json!({})).await;
    assert_eq!(failure.kind, ErrorKind::ActionFailed);
    let said = "the step `first` of `two` failed: `open/get_item` answered 404: no such item";
    assert_eq!(failure.message, said);
    let strict = two("        successCriteria: [{condition: $response.body#/state == 'done'}]");
    let desk = Desk::new(&strict).await;
    desk.world.script.queue([answer(200, r#"{"state": "open", "why": "late"}"#)]);
    let failure = desk.fails("shop/two", json!({})).await;
    let said =
        "the step `first` of `two` failed: the answer does not meet the success criteria: late";
    assert_eq!(failure.message, said);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_passes_is_asked_for_again_by_another_attempt() {
    let desk = Desk::new(&two("")).await;
    desk.world.script.queue([
        answer(503, "{}"),
        Err(cut()),
        answer(200, r#"{"state": "good"}"#),
        answer(200, "{}"),
        answer(200, "{}"),
    ]);
    assert_eq!(desk.runs("shop/two", json!({})).await, json!({"state": "good"}));
}

#[tokio::test(start_paused = true)]
async fn the_first_action_whose_criteria_hold_says_where_control_goes() {
    let success = two(
        "        onSuccess:
          - {name: stop, type: end, criteria: [{condition: $response.body#/state == 'stop'}]}
          - {name: skip, type: goto, stepId: third, criteria: [{condition: $response.body#/state == 'skip'}]}",
    );
    for (state, asked) in [("stop", 1), ("skip", 2), ("on", 3)] {
        let desk = Desk::new(&success).await;
        desk.world.script.on(move |_| answer(200, &format!(r#"{{"state": "{state}"}}"#)));
        assert_eq!(desk.runs("shop/two", json!({})).await, json!({"state": state}));
        assert_eq!(desk.paths().len(), asked, "{state}");
    }
    let failure = two("        onFailure:
          - {name: stop, type: end, criteria: [{condition: $statusCode == 410}]}
          - {name: skip, type: goto, stepId: third, criteria: [{condition: $statusCode == 404}]}");
    for (status, asked) in [(410, 1), (404, 2)] {
        let desk = Desk::new(&failure).await;
        let of = move |first| if first { status } else { 200 };
        desk.world.script.on(move |sent| answer(of(sent.url.path() == "/items/first"), "{}"));
        desk.runs("shop/two", json!({})).await;
        assert_eq!(desk.paths().len(), asked, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_through_a_restart_and_has_its_limit() {
    let retry = two(
        "        onFailure:
          - {name: again, type: retry, retryAfter: 60, retryLimit: 2, criteria: [{condition: $statusCode == 404}]}
          - {name: give-up, type: goto, stepId: third}",
    );
    let (store, skills) = (Arc::new(MemoryStore::new()), load(&retry));
    let first = Desk::over(store, &skills).await;
    first.world.script.on(|sent| {
        let status = if sent.url.path() == "/items/first" { 404 } else { 200 };
        // What the service says counts more than the document.
        with(answer(status, "{}"), "retry-after", "300")
    });
    let id = first.submit("shop/two", json!({})).await;
    first.until_queued(id).await;
    first.world.engine.stop().await;
    let second = first.world.another_with(|builder| super::with(builder, &skills)).await;
    let second = Desk { world: second };
    second.world.clock.advance(Duration::from_secs(120));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(second.paths().len(), 1);
    second.world.clock.advance(Duration::from_secs(180));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(second.paths().len(), 2);
    second.world.clock.advance(Duration::from_secs(300));
    second.value(id).await;
    let asked = ["first", "first", "first", "third"].map(|id| format!("GET /items/{id}"));
    assert_eq!(second.paths(), asked);
}

#[tokio::test(start_paused = true)]
async fn a_retry_may_do_something_else_first() {
    let desk = Desk::new(&two(
        "        onFailure: [{name: mend, type: retry, stepId: second, criteria: [{condition: $statusCode == 401}]}]",
    ))
    .await;
    desk.world.script.queue([401, 200, 200, 200, 200].map(|status| answer(status, "{}")));
    desk.runs("shop/two", json!({})).await;
    let asked = ["first", "second", "first", "second", "third"];
    assert_eq!(desk.paths(), asked.map(|id| format!("GET /items/{id}")));
}

#[tokio::test(start_paused = true)]
async fn a_loop_ends_when_the_run_had_its_steps() {
    let endless = two("        onSuccess: [{name: again, type: goto, stepId: first}]")
        .replace("  - workflowId: two\n", "  - workflowId: two\n    x-skill: {steps: 7}\n");
    let desk = Desk::new(&endless).await;
    let failure = desk.fails("shop/two", json!({})).await;
    assert!(failure.message.contains("`two` ran more steps than it may"), "{}", failure.message);
    assert_eq!(desk.paths().len(), 7);
}

const NESTED: &str = r"
  - workflowId: outer
    inputs: {type: object, properties: {id: {type: string}}}
    dependsOn: [prepare]
    steps:
      - stepId: inner
        workflowId: inner
        parameters: [{name: item, value: $inputs.id}]
        successCriteria: [{condition: $statusCode == 200}, {condition: $outputs.state == 'good'}]
        outputs: {state: $outputs.state}
    outputs:
      state: $steps.inner.outputs.state
      login: $workflows.prepare.outputs.login
      item: $workflows.inner.inputs.item
  - workflowId: inner
    inputs: {type: object, required: [item], properties: {item: {type: string}}}
    steps:
      - stepId: read
        operationPath: '{$sourceDescriptions.open.url}#/paths/~1items~1{itemId}/get'
        parameters: [{name: id, in: path, value: $inputs.item}]
        outputs: {state: $response.body#/state}
    outputs: {state: $steps.read.outputs.state}
  - workflowId: prepare
    steps:
      - stepId: ask
        operationId: whoami
        outputs: {login: $response.body#/login}
    outputs: {login: $steps.ask.outputs.login}
  - workflowId: leave
    inputs: {type: object, properties: {item: {type: string}}}
    steps:
      - stepId: charge
        operationId: charge
        requestBody: {payload: {amount: 3}}
        onSuccess: [{name: leave, type: goto, workflowId: inner}]
    outputs: {never: $inputs.item}
";

#[tokio::test(start_paused = true)]
async fn workflows_run_others_before_within_and_after_them() {
    let desk = Desk::new(NESTED).await;
    let body = r#"{"login": "ada", "state": "good"}"#;
    desk.world.script.on(move |_| answer(200, body));
    let made = desk.runs("shop/outer", json!({"id": "7"})).await;
    assert_eq!(made, json!({"state": "good", "login": "ada", "item": "7"}));
    assert_eq!(desk.paths(), ["GET /me", "GET /items/7"]);
    let made = desk.runs("shop/leave", json!({"item": "8"})).await;
    assert_eq!(made, json!({"state": "good"}));
    assert_eq!(desk.paths()[2..], ["POST /charges", "GET /items/8"]);
}

#[tokio::test(start_paused = true)]
async fn a_skill_is_what_its_workflow_calls() {
    let skills = load(NESTED);
    let class = |name: &str| {
        let found = skills.iter().find(|loaded| loaded.skill.info().name.as_str() == name);
        found.unwrap().skill.info().class
    };
    assert_eq!((class("outer"), class("leave")), (Class::Read, Class::Write));
    let info = skills[0].skill.info();
    assert_eq!((info.version.to_string().as_str(), skills[0].line), ("v1.2", 6));
}

const EACH: &str = r"
  - workflowId: each
    inputs: {type: object, properties: {ids: {type: array}}}
    steps:
      - stepId: read
        operationId: get_item
        parameters: [{name: id, in: path, value: $inputs.id}]
        x-skill: {forEach: $inputs.ids, as: id, concurrency: 3}
        onFailure: [{name: again, type: retry, retryLimit: 1}]
        outputs: {state: $response.body#/state, id: $request.path.id}
    outputs: {states: $steps.read.outputs.state, ids: $steps.read.outputs.id}
";

#[tokio::test(start_paused = true)]
async fn a_step_for_each_item_keeps_their_order_and_its_bound() {
    let desk = Desk::new(EACH).await;
    let open = Arc::new(std::sync::Mutex::new((0_usize, 0_usize)));
    let seen = open.clone();
    desk.world.script.play(move |sent| {
        let open = open.clone();
        async move {
            {
                let mut open = open.lock().unwrap();
                open.0 += 1;
                open.1 = open.1.max(open.0);
            }
            let id = sent.url.path().rsplit('/').next().unwrap().to_owned();
            let slow = 100 - id.parse::<u64>().unwrap();
            tokio::time::sleep(Duration::from_millis(slow)).await;
            open.lock().unwrap().0 -= 1;
            answer(200, &format!(r#"{{"state": "s{id}"}}"#))
        }
    });
    let made = desk.runs("shop/each", json!({"ids": ["1", "2", "3", "4", "5"]})).await;
    assert_eq!(made["states"], json!(["s1", "s2", "s3", "s4", "s5"]));
    assert_eq!(made["ids"], json!(["1", "2", "3", "4", "5"]));
    assert_eq!(seen.lock().unwrap().1, 3);
    assert_eq!(desk.runs("shop/each", json!({"ids": []})).await, json!({"states": [], "ids": []}));
}

#[tokio::test(start_paused = true)]
async fn of_many_items_only_what_failed_is_retried() {
    let desk = Desk::new(EACH).await;
    let fails = std::sync::Mutex::new(true);
    desk.world.script.on(move |sent| {
        let is_bad = sent.url.path() == "/items/2" && std::mem::take(&mut *fails.lock().unwrap());
        answer(if is_bad { 404 } else { 200 }, "{}")
    });
    desk.runs("shop/each", json!({"ids": ["1", "2", "3", "4"]})).await;
    let count = |id: &str| desk.world.script.count(&format!("open.test/items/{id}"));
    assert_eq!(["1", "2", "3", "4"].map(count), [1, 2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_grant_lets_a_workflow_call_what_its_caller_may_not() {
    let plain = two("");
    let granted = plain.replace(
        "  - workflowId: two\n",
        "  - workflowId: two\n    x-skill: {grants: [open/get_item]}\n",
    );
    for (text, is_allowed) in [(plain, false), (granted, true)] {
        let desk = Desk::new(&text).await;
        desk.world.script.on(|_| answer(200, r#"{"state": "read"}"#));
        let new =
            NewKey { scopes: Scopes::parse(["shop"]).unwrap(), ..NewKey::new("test", Kind::Api) };
        let (_, key) = desk.world.engine.keys().create(&desk.world.caller, new).await.unwrap();
        let caller = desk.world.present(key.expose()).await.unwrap();
        let id = desk.submit_as(&caller, "shop/two", json!({})).await;
        if is_allowed {
            assert_eq!(desk.value(id).await, json!({"state": "read"}));
        } else {
            assert_eq!(desk.failure(id).await.kind, ErrorKind::ScopeMissing);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_only_the_run_shows_cannot_reach_other_parameters() {
    let desk = Desk::new(
        r"
  - workflowId: send
    inputs: {type: object, properties: {body: {type: object}}}
    steps:
      - {stepId: make, operationId: make_item, requestBody: {payload: $inputs.body}}
",
    )
    .await;
    let failure = desk.fails("shop/send", json!({"body": {"title": "x", "tag": "y"}})).await;
    assert_eq!(failure.message, "the body of step `make`: `open/make_item` has no `tag`");
    assert_eq!(desk.paths(), [""; 0]);
    desk.runs("shop/send", json!({"body": {"title": "x"}})).await;
    assert_eq!(desk.world.script.sent()[0].json(), json!({"title": "x"}));
}

#[tokio::test(start_paused = true)]
async fn a_step_may_sleep_first() {
    let desk = Desk::new(
        r"
  - workflowId: late
    inputs: {type: object, properties: {seconds: {type: number}}}
    steps:
      - {stepId: ask, operationId: whoami, x-skill: {sleep: $inputs.seconds}}
",
    )
    .await;
    let id = desk.submit("shop/late", json!({"seconds": 600})).await;
    desk.until_queued(id).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(desk.paths().len(), 0);
    desk.world.clock.advance(Duration::from_secs(600));
    desk.value(id).await;
    assert_eq!(desk.paths().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_taken_effect_is_not_retried() {
    let desk = Desk::new(
        r"
  - workflowId: pay
    steps:
      - stepId: pay
        operationId: pay
        requestBody: {payload: {amount: 1}}
        onFailure: [{name: again, type: retry, retryLimit: 5}]
",
    )
    .await;
    desk.world.script.queue([Err(cut())]);
    assert_eq!(desk.fails("shop/pay", json!({})).await.kind, ErrorKind::OutcomeUnknown);
}
