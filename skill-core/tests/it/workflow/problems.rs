//! What is wrong with a document is said, all of it, with file and line.

use super::*;

/// The problems of these workflows, as `line: what`; the first workflow begins in line 5.
fn problems(workflows: &str) -> Vec<String> {
    let problems = workflow::load(&[document(workflows)], &services()).unwrap_err();
    problems.iter().map(|problem| format!("{}: {}", problem.line, problem.what)).collect()
}

/// One workflow with one step, `step` in place of it.
fn one(step: &str) -> String {
    format!(
        "  - workflowId: one\n    inputs: {{type: object, properties: {{a: {{type: string}}}}}}\n    steps:\n      - {step}\n"
    )
}

#[test]
fn every_problem_is_named_at_once_with_its_line() {
    let found = problems(
        r"
  - workflowId: bad id
    colour: red
    x-anything: goes
    dependsOn: [nobody]
    steps:
      - stepId: a
        operationId: nothing
      - stepId: a
        operationId: get_item
        parameters:
          - {name: id, in: query, value: 1}
          - {name: gone, in: path, value: 1}
        outputs: {x: $steps.b.outputs.y, y: plain}
      - stepId: c
        operationId: make_item
        requestBody: {payload: {titel: x}}
        onSuccess: [{name: n, type: retry}, {name: m, type: goto, stepId: z}]
    outputs: {x: $response.body}
",
    );
    let expected = [
        "6: `workflowId`: expected letters, digits, `-` and `_`, got `bad id`",
        "6: `bad id` is no name of a skill: give it one as `x-skill.name`",
        "7: `colour` is not known here; known are",
        "9: there is no workflow `nobody` in this document",
        "12: `operationId`: the integration `open` has no endpoint `nothing`",
        "13: the step `a` stands twice",
        "16: `in`: `id` of `open/get_item` stands in the path, not in the query",
        "17: `open/get_item` has no parameter `gone`; it has `id`, `q`",
        "18: `$steps.b.outputs.y`: there is no step `b` in this workflow",
        "18: the output `y`: expected a runtime expression, got `plain`",
        "19: `open/make_item` needs the parameter `title`",
        "21: the body of `open/make_item` has no `titel`",
        "22: `type`: expected one of `end`, `goto`, got `retry`",
        "22: there is no step `z` in this workflow",
        "23: `$response.body`: there is no step that it could mean",
    ];
    for line in expected {
        assert!(found.iter().any(|found| found.starts_with(line)), "{line}\n{found:#?}");
    }
}

#[test]
fn the_head_of_a_document_is_checked() {
    let text = "arazzo: 2.0.0\ninfo: {title: T}\nsourceDescriptions:\n\
                - {name: a, url: 'https://a.test/openapi.yaml', type: openapi}\n\
                - {name: a, url: 'skill:nobody'}\n- {name: b, url: ./b.arazzo.yaml, type: arazzo}\n\
                - {name: open, url: 'https://a.test/x', x-skill: {integration: open}}\nworkflows: []\n";
    let document = Document { file: "x.arazzo.yaml".into(), text: text.into() };
    let problems = workflow::load(&[document], &services()).unwrap_err();
    let found = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = [
        "x.arazzo.yaml:1: `arazzo`: expected a version 1.0.x of the specification, got `2.0.0`",
        "x.arazzo.yaml:1: expected `workflows`, a list that holds something",
        "x.arazzo.yaml:2: expected `version`, a string",
        "x.arazzo.yaml:4: `url`: `https://a.test/openapi.yaml` is not fetched",
        "x.arazzo.yaml:5: the source description `a` stands twice",
        "x.arazzo.yaml:5: there is no integration `nobody`",
        "x.arazzo.yaml:6: `url`: expected a document beside this one",
    ];
    for line in expected {
        assert!(found.iter().any(|found| found.starts_with(line)), "{line}\n{found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

/// A step of `one`, and why it is refused.
const REFUSED: [(&str, &str); 18] = [
    (
        "{stepId: a, operationId: whoami, parameters: [{name: s, in: cookie, value: x}]}",
        "the parameter `s`: cookies are not supported",
    ),
    (
        "{stepId: a, operationId: whoami, successCriteria: [{type: xpath, context: $response.body, condition: //a}]}",
        "`xpath` is not supported",
    ),
    (
        "{stepId: a, operationId: make_item, requestBody: {contentType: application/xml, payload: <a/>}}",
        "`contentType`: `application/xml` is not supported",
    ),
    (
        "{stepId: a, operationId: make_item, requestBody: {payload: 'title=x'}}",
        "`payload`: a text has to be JSON",
    ),
    (
        "{stepId: a, operationId: whoami, outputs: {u: $url}}",
        "`$url`: the address belongs to the connection",
    ),
    (
        "{stepId: a, operationPath: '{$sourceDescriptions.open.url}#/paths/~1nowhere/get'}",
        "`operationPath`: no endpoint of the integration `open` has",
    ),
    (
        "{stepId: a, operationPath: '{$sourceDescriptions.open.url}#/paths/~1me'}",
        "`operationPath`: expected",
    ),
    ("{stepId: a, operationId: whoami, workflowId: one}", "`operationId`, `operationPath` and"),
    ("{stepId: a}", "expected one of `operationId`"),
    ("{stepId: a, operationId: whoami, requestBody: {payload: {}}}", "`open/whoami` takes no body"),
    (
        "{stepId: a, operationId: make_item, requestBody: {payload: {title: 7}}}",
        "the parameter `title` of `open/make_item`: expected type string, got a number",
    ),
    (
        "{stepId: a, operationId: whoami, parameters: [{reference: $components.parameters.p}]}",
        "`reference`: expected `$components.parameters.NAME`",
    ),
    (
        "{stepId: a, operationId: whoami, outputs: {x: $inputs.b}}",
        "`$inputs.b`: the workflow has no such input; it has `a`",
    ),
    (
        "{stepId: a, operationId: get_item, parameters: [{name: id, in: path, value: $response.body}]}",
        "`$response.body`: there is no answer yet",
    ),
    (
        "{stepId: a, operationId: whoami, onFailure: [{name: n, type: goto, stepId: a, retryLimit: 2}]}",
        "`retryAfter` and `retryLimit` belong to",
    ),
    (
        "{stepId: a, operationId: whoami, x-skill: {values: {v: {function: shell, with: 1}}}}",
        "there is no function `shell`",
    ),
    (
        "{stepId: a, operationId: whoami, x-skill: {forEach: $inputs.a, as: a}}",
        "`a` is an input of the workflow already",
    ),
    ("{stepId: a, operationId: whoami, x-skill: {grants: ['*']}}", "`grants` is not known here"),
];

#[test]
fn what_is_not_supported_is_refused_with_its_reason() {
    for (step, expected) in REFUSED {
        let found = workflow::load(&[document(&one(step))], &services()).unwrap_err();
        let is_said = found.iter().any(|found| found.line == 8 && found.what.starts_with(expected));
        assert!(is_said, "{expected}\n{found:#?}");
    }
}

#[test]
fn a_step_uses_what_comes_before_it() {
    let workflow = |action: &str| {
        format!(
            "
  - workflowId: w
    steps:
      - stepId: a
        operationId: get_item
        parameters: [{{name: id, in: path, value: $steps.b.outputs.x}}]
      - {{stepId: b, operationId: whoami, outputs: {{x: $response.body}}{action}}}
"
        )
    };
    let found = problems(&workflow(""));
    assert_eq!(found, ["10: `$steps.b.outputs.x`: the step `b` does not come before"]);
    assert_eq!(load(&workflow(", onSuccess: [{name: n, type: goto, stepId: a}]")).len(), 1);
}

#[test]
fn documents_beside_one_another_name_each_other_and_no_skill_twice() {
    let other = Document {
        file: "dir/other.arazzo.json".into(),
        text: json!({
            "arazzo": "1.0.0",
            "info": {"title": "Other", "version": "1.2"},
            "sourceDescriptions": [{"name": "tests", "url": "./tests.arazzo.yaml", "type": "arazzo"}],
            "workflows": [{
                "workflowId": "caller",
                "x-skill": {"category": "shop"},
                "steps": [{"stepId": "call", "workflowId": "$sourceDescriptions.tests.one",
                           "parameters": [{"name": "a", "value": "x"}]}],
            }],
        })
        .to_string(),
    };
    let step = "{stepId: a, operationId: whoami}";
    let skills = loaded(&[document(&one(step)), other.clone()], &services());
    let names = skills.iter().map(|loaded| loaded.skill.info().action().to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["shop/one", "shop/caller"]);
    let text = other.text.replace("caller", "one");
    let problems = workflow::load(&[document(&one(step)), Document { text, ..other }], &services())
        .unwrap_err();
    assert!(
        problems[0].to_string().contains("`shop/one` v1.2 stands in tests.arazzo.yaml already"),
        "{problems:?}"
    );
}

#[test]
fn x_skill_says_what_arazzo_has_no_word_for() {
    let skills = load(
        r"
  - workflowId: w
    description: |
      Does something.
      At length.
    inputs: {$ref: '#/components/inputs/none'}
    x-skill:
      {name: other-name, version: v3.1, class: destructive, timeout: 60, deadline: 7200, attempts: 2,
       rate_limit: 5, grants: [open, desk/get_item],
       tool: {id: my-tool, category: monitoring, outputs: {who: {at: /login, type: string}},
              examples: [{name: Try, input: {}}]}}
    steps: [{stepId: a, operationId: whoami, outputs: {login: $response.body#/login}}]
    outputs: {login: $steps.a.outputs.login}
components:
  inputs: {none: {type: object, properties: {}}}
",
    );
    let info = skills[0].skill.info();
    assert_eq!(info.action().to_string(), "shop/other-name");
    assert_eq!((info.version.to_string().as_str(), info.class.as_str()), ("v3.1", "destructive"));
    assert_eq!(
        (info.summary.as_str(), info.attempts, info.rate_limit),
        ("Does something.", Some(2), Some(5))
    );
    assert_eq!((info.timeout.as_secs(), info.deadline.unwrap().as_secs()), (60, 7200));
    let grants = info.grants.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(grants, ["open", "desk/get_item"]);
    assert_eq!(info.tool.id.as_ref().unwrap().as_str(), "my-tool");
    assert_eq!(info.tool.outputs.as_ref().unwrap().names().collect::<Vec<_>>(), ["who"]);
    let catalog = skill_core::catalog::Catalog::build(services(), [skills[0].skill.clone()]);
    assert!(catalog.unwrap().tool("my-tool").is_some());
}

#[test]
fn a_workflow_does_not_wait_for_itself() {
    let found = problems(
        r"
  - {workflowId: a, dependsOn: [b], steps: [{stepId: s, operationId: whoami}]}
  - {workflowId: b, dependsOn: [a], steps: [{stepId: s, operationId: whoami}]}
",
    );
    assert_eq!(found[0], "6: `dependsOn`: `a` would wait for itself");
    assert_eq!(found.len(), 2);
}
