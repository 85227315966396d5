//! The examples that the Arazzo Specification itself publishes: over integrations that have their
//! operations they load and run, or are refused for a reason that is said.

use std::{collections::BTreeMap, fs, path::Path};

use skill_core::integration::{Overrides, declared};

use super::*;
use crate::script::json as answer;

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/arazzo");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// An integration with these endpoints: name, method, path, parameters in TOML.
fn integration(slug: &str, endpoints: &[(&str, &str, &str, &str)]) -> Arc<dyn Integration> {
    let mut text = format!(
        "name = \"The {slug}\"\ndescription = \"Of an example.\"\nbase_url = \"https://{slug}.test\"\n\
         auth = {{ scheme = \"none\" }}\n"
    );
    for (name, method, path, params) in endpoints {
        text.push_str(&format!(
            "[endpoints.{name}]\nsummary = \"{name}\"\nmethod = \"{method}\"\npath = \"{path}\"\n\
             params = {{ {params} }}\n"
        ));
    }
    declared(&format!("{slug}.toml"), &text, &Overrides::default()).unwrap()
}

/// The integrations that stand for the descriptions of the examples.
fn integrations() -> BTreeMap<&'static str, Arc<dyn Integration>> {
    const TEXT: &str = "type = \"string\"";
    let text = |names: &[&str]| {
        names.iter().map(|name| format!("{name} = {{ {TEXT} }}")).collect::<Vec<_>>().join(", ")
    };
    let queried = |names: &[&str]| {
        let one = |name: &&str| format!("{name} = {{ {TEXT}, in = \"query\" }}");
        names.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let client = ["client_id", "client_assertion_type"];
    let asserted = format!(
        "{}, client_assertion = {{ type = \"object\", in = \"query\" }}, ",
        queried(&client)
    );
    BTreeMap::from([
        (
            "ExtendedParametersExample.arazzo.yaml",
            integration(
                "zoo",
                &[
                    ("post_animal", "POST", "/animals", ""),
                    ("get_random_animal", "GET", "/animals/random", ""),
                ],
            ),
        ),
        (
            "FAPI-PAR.arazzo.yaml",
            integration(
                "bank",
                &[
                    (
                        "par",
                        "POST",
                        "/par",
                        &format!("{asserted}{}", text(&["response_type", "scope"])),
                    ),
                    ("authorization", "GET", "/authorize", &queried(&["request_uri", "client_id"])),
                    (
                        "token",
                        "POST",
                        "/token",
                        &format!(
                            "{asserted}{}",
                            text(&["grant_type", "code", "redirect_uri", "code_verifier"])
                        ),
                    ),
                ],
            ),
        ),
        (
            "LoginAndRetrievePets.arazzo.yaml",
            integration(
                "petstore",
                &[
                    ("login_user", "GET", "/user/login", &queried(&["username", "password"])),
                    ("find_pets_by_status", "GET", "/pet/findByStatus", &queried(&["status"])),
                ],
            ),
        ),
        (
            "bnpl-arazzo.yaml",
            integration(
                "bnpl",
                &[
                    (
                        "find_eligible_products",
                        "POST",
                        "/products",
                        "customer = { type = \"object\" }, products = { type = \"array\" }",
                    ),
                    ("get_terms_and_conditions", "GET", "/terms", ""),
                    (
                        "create_customer",
                        "POST",
                        "/customers",
                        &format!(
                            "{}, termsAndConditionsAccepted = {{ type = \"boolean\" }}",
                            text(&["firstName", "lastName", "dateOfBirth", "postalCode"])
                        ),
                    ),
                    (
                        "create_bnpl_transaction",
                        "POST",
                        "/loans",
                        &format!(
                            "{}, products = {{ type = \"array\" }}",
                            text(&["enrolledCustomer", "newCustomer"])
                        ),
                    ),
                    ("get_authorization", "GET", "/authorize", &queried(&["redirectAuthToken"])),
                    (
                        "retrieve_bnpl_loan_transaction",
                        "GET",
                        "/loans/{loanTransactionId}",
                        "loanTransactionId = { type = \"string\", in = \"path\" }",
                    ),
                    (
                        "update_bnpl_loan_transaction_status",
                        "PATCH",
                        "/loans/{loanTransactionId}",
                        "loanTransactionId = { type = \"string\", in = \"path\" }, loanStatus = { type = \"string\" }",
                    ),
                ],
            ),
        ),
        (
            "oauth.arazzo.yaml",
            integration(
                "apim",
                &[
                    (
                        "authorize",
                        "GET",
                        "/authorize",
                        &queried(&["client_id", "redirect_uri", "response_type", "scope", "state"]),
                    ),
                    (
                        "get-token",
                        "POST",
                        "/token",
                        &text(&[
                            "grant_type",
                            "refresh_token",
                            "client_id",
                            "client_secret",
                            "code",
                            "redirect_uri",
                        ]),
                    ),
                ],
            ),
        ),
        (
            "pet-coupons.arazzo.yaml",
            integration(
                "pets",
                &[
                    (
                        "find_pets_by_tags",
                        "GET",
                        "/pet/findByTags",
                        "pet_tags = { type = \"array\", items = { type = \"string\" } }",
                    ),
                    (
                        "find_pets_by_status",
                        "GET",
                        "/pet/findByStatus",
                        "status = { type = \"string\" }, page = { type = \"integer\" }, pageSize = { type = \"integer\" }",
                    ),
                    (
                        "get_pet_coupons",
                        "GET",
                        "/pet/{pet_id}/coupons",
                        "pet_id = { type = \"integer\", in = \"path\" }",
                    ),
                    (
                        "place_order",
                        "POST",
                        "/store/order",
                        "petId = { type = \"integer\" }, quantity = { type = \"integer\" }, couponCode = { type = \"string\" }, status = { type = \"string\" }, complete = { type = \"boolean\" }",
                    ),
                ],
            ),
        ),
    ])
}

/// The example with the URL of its description in the words of this engine.
fn mapped(name: &str) -> (Document, Arc<dyn Integration>) {
    let integration = integrations().remove(name).unwrap();
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
    for (name, integration) in integrations() {
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
