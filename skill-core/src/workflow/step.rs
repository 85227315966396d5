//! Reading steps.

use super::{
    action::{self, Outcome},
    extension::StepSettings,
    operation,
    parameter::{self, Given, Taker},
    plan::{Action, Body, Call, Output, Parameter, Step, Target},
    reader::{Object, is_id},
    site::{Site, When},
    tree::{Kind, Node},
};

/// What a workflow says for all of its steps.
pub(super) struct Common<'a> {
    pub(super) parameters: &'a [Node],
    pub(super) success: &'a [Node],
    pub(super) failure: &'a [Node],
    /// The ids of its steps.
    pub(super) ids: &'a [&'a str],
}

/// A step that was read, and which parameters of the workflow it takes.
pub(super) struct Read {
    pub(super) step: Step,
    pub(super) takes: Vec<String>,
}

/// Reads one step.
pub(super) fn step<'a>(site: &Site<'a>, object: &Object<'a>, common: &Common<'a>) -> Read {
    let id = object.required_text("stepId").unwrap_or_default();
    if !is_id(id) && object.has("stepId") {
        object.problem_at(
            "stepId",
            format!("`stepId`: expected letters, digits, `-` and `_`, got `{id}`"),
        );
    }
    object.text("description");
    let extension = object.object("x-skill");
    let settings = extension.map(|inner| StepSettings::read(site, &inner)).unwrap_or_default();
    let own = parameter::given(site, object.items("parameters"));
    let shared = parameter::given(site, common.parameters);
    let called = called(site, object);
    let success = action::criteria(site, object.items("successCriteria"), "a criterion");
    let both = |key, shared, outcome| {
        let own = action::actions(site, object.items(key), (outcome, common.ids));
        with_shared(own, action::actions(site, shared, (outcome, common.ids)))
    };
    let on_success = both("onSuccess", common.success, Outcome::Success);
    let on_failure = both("onFailure", common.failure, Outcome::Failure);
    let outputs = outputs(site, object, settings.outputs);
    let body = object.object("requestBody");
    object.end();
    let Resolved { target, parameters, body, takes } =
        resolved(site, object, (called, (own, shared), body));
    let takes = if target.is_none() { common_names(common) } else { takes };
    if let (Some(each), Some(Target::Workflow(_))) = (&settings.each, &target)
        && each.at_once > 1
    {
        object.problem_at("x-skill", "`concurrency`: workflows run one after another");
    }
    let step = Step {
        id: id.to_owned(),
        line: object.line,
        target,
        values: settings.values,
        each: settings.each,
        sleep: settings.sleep,
        connection: settings.connection,
        parameters,
        body,
        success,
        on_success,
        on_failure,
        outputs,
        error: settings.error,
    };
    Read { step, takes }
}

/// So that nothing is said of parameters whose step could not be read.
fn common_names(common: &Common<'_>) -> Vec<String> {
    let names = common.parameters.iter().filter_map(|node| node.get("name")?.text());
    names.map(str::to_owned).collect()
}

/// The actions of the step, and those of the workflow that it does not override.
fn with_shared(mut own: Vec<Action>, shared: Vec<Action>) -> Vec<Action> {
    for action in shared {
        if own.iter().all(|known| known.name != action.name) {
            own.push(action);
        }
    }
    own
}

enum Called {
    Endpoint(operation::Found),
    Workflow(usize),
}

fn called(site: &Site<'_>, object: &Object<'_>) -> Option<Called> {
    let keys = ["operationId", "operationPath", "workflowId"];
    let [id, path, workflow] = keys.map(|key| object.text(key));
    match keys.iter().filter(|key| object.has(key)).count() {
        1 => {}
        0 => {
            object.problem("expected one of `operationId`, `operationPath` or `workflowId`");
            return None;
        }
        _ => {
            object.problem("`operationId`, `operationPath` and `workflowId` exclude one another");
            return None;
        }
    }
    let wrong =
        |key: &'static str| move |what: String| object.problem_at(key, format!("`{key}`: {what}"));
    if let Some(id) = id {
        let found = operation::by_id(site, id).map_err(wrong("operationId"));
        return found.ok().flatten().map(Called::Endpoint);
    }
    if let Some(path) = path {
        let found = operation::by_path(site, path).map_err(wrong("operationPath"));
        return found.ok().flatten().map(Called::Endpoint);
    }
    let line = object.get("workflowId").map_or(object.line, |node| node.line);
    site.workflow(workflow?, line).map(Called::Workflow)
}

/// Parameters of the step, and of the workflow.
type Both = (Vec<Given>, Vec<Given>);

/// What is called, and with what.
#[derive(Default)]
struct Resolved {
    target: Option<Target>,
    parameters: Vec<Parameter>,
    body: Option<Body>,
    /// Which parameters of the workflow it takes.
    takes: Vec<String>,
}

fn resolved<'a>(
    site: &Site<'a>,
    object: &Object<'a>,
    (called, given, body): (Option<Called>, Both, Option<Object<'a>>),
) -> Resolved {
    match called {
        None => Resolved::default(),
        Some(Called::Workflow(at)) => {
            if body.is_some() {
                object.problem_at("requestBody", "`requestBody`: a workflow takes `parameters`");
            }
            let (parameters, takes) = for_workflow(site, object, (at, given));
            Resolved { target: Some(Target::Workflow(at)), parameters, body: None, takes }
        }
        Some(Called::Endpoint(found)) => {
            let (call, parameters, body, takes) =
                for_endpoint(site, object, (&found, given, body.as_ref()));
            Resolved { target: Some(Target::Endpoint(call)), parameters, body, takes }
        }
    }
}

fn for_endpoint<'a>(
    site: &Site<'a>,
    object: &Object<'a>,
    (found, (own, shared), body): (&operation::Found, Both, Option<&Object<'a>>),
) -> (Call, Vec<Parameter>, Option<Body>, Vec<String>) {
    let info = found.endpoint.info();
    let taker = Taker { name: found.to_string(), endpoint: &*found.endpoint };
    let (members, whole) = (taker.members(), taker.whole());
    let action = crate::name::ActionName {
        namespace: found.integration.info().slug.clone(),
        name: info.name.clone(),
    };
    let (method, class) = (info.method.clone(), info.class);
    let call = Call { action, method, class, may_repeat: info.may_repeat(true), whole, members };
    let body_was_given = body.is_some();
    let body = body.and_then(|inner| taker.body(site, inner, &call));
    let shared = shared.into_iter().filter(|given| taker.has(given)).collect::<Vec<_>>();
    let takes = shared.iter().map(|given| given.name.clone()).collect();
    let shared = shared.into_iter().filter(|given| own.iter().all(|o| o.name != given.name));
    let all = shared.collect::<Vec<_>>().into_iter().chain(own);
    let wanted = all.filter_map(|given| taker.take(site, given)).collect::<Vec<_>>();
    if body.is_some() == body_was_given {
        taker.check_required(site, object.line, (&wanted, body.as_ref()));
    }
    (call, wanted, body, takes)
}

fn for_workflow(
    site: &Site<'_>,
    object: &Object<'_>,
    (at, (own, shared)): (usize, Both),
) -> (Vec<Parameter>, Vec<String>) {
    let Some(sketch) = site.sketches.get(at) else { return (Vec::new(), Vec::new()) };
    let properties = sketch.inputs.get("properties").and_then(serde_json::Value::as_object);
    let has = |name: &str| properties.is_none_or(|all| all.contains_key(name));
    for given in own.iter().filter(|given| !has(&given.name)) {
        let known = properties.into_iter().flat_map(serde_json::Map::keys).cloned();
        let known = known.collect::<Vec<_>>().join("`, `");
        let what =
            format!("the workflow `{}` has no input `{}`; it has `{known}`", sketch.id, given.name);
        site.file.problem(given.line, what);
    }
    let shared =
        shared.into_iter().filter(|given| properties.is_some_and(|p| p.contains_key(&given.name)));
    let shared = shared.collect::<Vec<_>>();
    let takes = shared.iter().map(|given| given.name.clone()).collect();
    let shared = shared.into_iter().filter(|given| own.iter().all(|o| o.name != given.name));
    let all = shared.collect::<Vec<_>>().into_iter().chain(own);
    let parameter = |given: Given| Parameter { name: given.name, place: None, value: given.value };
    let parameters = all.map(parameter).collect::<Vec<_>>();
    let required = sketch.inputs.get("required").and_then(serde_json::Value::as_array);
    let required = required.into_iter().flatten().filter_map(serde_json::Value::as_str);
    for name in required.filter(|name| parameters.iter().all(|given| given.name != *name)) {
        object.problem(format!("the workflow `{}` needs the input `{name}`", sketch.id));
    }
    (parameters, takes)
}

/// The outputs of a step, and those that functions make.
fn outputs(
    site: &Site<'_>,
    object: &Object<'_>,
    made: Vec<(String, Output)>,
) -> Vec<(String, Output)> {
    let read = object.named("outputs").iter().filter_map(|member| {
        let what = format!("the output `{}`", member.name);
        let expression = site.expression(&member.value, &what, When::Answer)?;
        Some((member.name.clone(), Output::Value(expression)))
    });
    let mut outputs = read.collect::<Vec<_>>();
    for (name, output) in made {
        if outputs.iter().any(|(known, _)| *known == name) {
            object.problem(format!("the output `{name}` stands twice"));
        }
        outputs.push((name, output));
    }
    outputs
}

/// The ids of steps, whatever else is wrong with them.
pub(super) fn ids(nodes: &[Node]) -> Vec<&str> {
    let id = |node: &Node| match &node.kind {
        Kind::Object(_) => true,
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => false,
    };
    let objects = nodes.iter().filter(|node| id(node));
    objects.map(|node| node.get("stepId").and_then(Node::text).unwrap_or_default()).collect()
}
