//! The examples that the Arazzo Specification itself publishes: over integrations that have their
//! operations they load and run, or are refused for a reason that is said.

use std::{fs, path::Path};

use skill_core::integration::{Overrides, declared};

use super::*;
use crate::script::json as answer;

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/arazzo");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// The examples, and the integrations that have what they call.
const EXAMPLES: [(&str, &str); 6] = [
    ("ExtendedParametersExample.arazzo.yaml", "zoo"),
    ("FAPI-PAR.arazzo.yaml", "bank"),
    ("LoginAndRetrievePets.arazzo.yaml", "petstore"),
    ("bnpl-arazzo.yaml", "bnpl"),
    ("oauth.arazzo.yaml", "apim"),
    ("pet-coupons.arazzo.yaml", "pets"),
];

fn integration(name: &str) -> Arc<dyn Integration> {
    let (_, slug) = EXAMPLES.iter().find(|(known, _)| *known == name).unwrap();
    let file = format!("integrations/{slug}.toml");
    declared(&file, &example(&file), &Overrides::default()).unwrap()
}

/// The example with the URL of its description in the words of this engine.
fn mapped(name: &str) -> (Document, Arc<dyn Integration>) {
    let integration = integration(name);
    let slug = &integration.info().slug;
    let lines = example(name);
    let line = |line: &str| match line.split_once("url: ") {
        Some((before, url)) if url.contains("openapi") || url.contains("animals") => {
            format!("{before}url: skill:{slug}\n")
        }
        _ => format!("{line}\n"),
    };
    let text = lines.lines().map(line).collect();
    (Document { file: name.replace("-arazzo.yaml", ".arazzo.yaml"), text }, integration)
}

fn problems(name: &str) -> Vec<String> {
    let (document, integration) = mapped(name);
    let problems = workflow::load(&[document], &[integration]).unwrap_err();
    problems.iter().map(|problem| format!("{}: {}", problem.line, problem.what)).collect()
}

#[test]
fn as_they_are_they_are_refused_because_nothing_is_fetched() {
    for (name, _) in EXAMPLES {
        let integration = integration(name);
        let document = Document { file: name.to_owned(), text: example(name) };
        let problems = workflow::load(&[document], &[integration]).unwrap_err();
        assert!(problems.iter().any(|p| p.what.contains("is not fetched")), "{name}: {problems:?}");
    }
}

#[test]
fn those_that_this_engine_can_run_load() {
    let cases = [
        ("FAPI-PAR.arazzo.yaml", vec!["oidc-par-authz-code"]),
        (
            "oauth.arazzo.yaml",
            vec!["refresh-token-flow", "client-credentials-flow", "authorization-code-flow"],
        ),
        ("pet-coupons.arazzo.yaml", vec!["apply-coupon", "buy-available-pet", "place-order"]),
    ];
    for (name, expected) in cases {
        let (document, integration) = mapped(name);
        let skills = loaded(&[document], &[integration]);
        let names = skills.iter().map(|loaded| loaded.skill.info().name.to_string());
        assert_eq!(names.collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn the_others_are_refused_for_reasons_that_are_said() {
    let found = problems("ExtendedParametersExample.arazzo.yaml");
    assert_eq!(
        found,
        [
            "12: the parameter `workflowLevelParamOne`: cookies are not supported",
            "15: no step of the workflow takes the parameter `workflowLevelParamTwo` (header)",
            "21: the parameter `authentication`: cookies are not supported: what signs a request \
             belongs to the connection",
        ]
    );
    // It lacks the method, and sends a credential of its own.
    let found = problems("LoginAndRetrievePets.arazzo.yaml");
    assert!(found.iter().any(|found| found.contains("the method is missing")), "{found:?}");
    // It names outputs that its steps do not have.
    let found = problems("bnpl-arazzo.yaml");
    for expected in [
        "`$steps.authenticateCustomerAndAuthorizeLoan.outputs.redirectAuthToken`: the step",
        "`$steps.initiateBnplTransaction.outputs.loanTransactionId`: the step",
        "`$steps.retrieveFinalizedPaymentPlan.finalizedPaymentPlan` is no runtime expression",
    ] {
        assert!(found.iter().any(|found| found.contains(expected)), "{expected}\n{found:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_example_of_the_coupons_runs() {
    let (document, integration) = mapped("pet-coupons.arazzo.yaml");
    let skills = loaded(&[document], std::slice::from_ref(&integration));
    let store = Arc::new(MemoryStore::new());
    let world =
        World::with(store, |builder| with(builder.integrations([integration.clone()]), &skills));
    let desk = Desk { world: world.await };
    desk.world.script.queue([
        answer(200, r#"[{"id": 5}, {"id": 6}]"#),
        answer(200, r#"{"couponCode": "SAVE"}"#),
        answer(200, r#"{"id": 99}"#),
    ]);
    let made = desk.runs("workflows/apply-coupon", json!({"my_pet_tags": ["puppy"]})).await;
    assert_eq!(made, json!({"apply_coupon_pet_order_id": 99}));
    let asked = ["GET /pet/findByTags?pet_tags=puppy", "GET /pet/5/coupons", "POST /store/order"];
    assert_eq!(desk.paths(), asked);
    let order = json!({"petId": 5, "couponCode": "SAVE", "status": "placed", "complete": false});
    assert_eq!(desk.world.script.sent()[2].json(), order);
}
