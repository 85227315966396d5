//! What follows a step: success actions and failure actions.

use std::time::Duration;

use super::{
    criterion::Criterion,
    plan::{Act, Action, To},
    reader::Object,
    site::{Site, When},
    tree::Node,
};

/// The longest pause before a retry.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
}

impl Outcome {
    /// Their name among the components.
    pub(super) fn components(self) -> &'static str {
        match self {
            Self::Success => "successActions",
            Self::Failure => "failureActions",
        }
    }
}

/// Reads criteria.
pub(super) fn criteria<'a>(site: &Site<'a>, nodes: &'a [Node], what: &str) -> Vec<Criterion> {
    let read = site.objects(nodes, what).into_iter().filter_map(|object| {
        let criterion = Criterion::read(&object)?;
        criterion.each(&mut |expression| site.note(expression, object.line, When::Answer));
        Some(criterion)
    });
    read.collect()
}

/// Reads a list of actions, which may refer to components.
pub(super) fn actions<'a>(
    site: &Site<'a>,
    nodes: &'a [Node],
    (outcome, steps): (Outcome, &[&str]),
) -> Vec<Action> {
    let mut read = Vec::<Action>::new();
    for node in nodes {
        let found = match site.reusable(node, outcome.components()) {
            None => node,
            Some(Ok(component)) => component,
            Some(Err(())) => continue,
        };
        let Some(action) = action(site, found, (outcome, steps)) else { continue };
        if read.iter().any(|known| known.name == action.name) {
            site.file.problem(node.line, format!("the action `{}` stands twice", action.name));
        }
        read.push(action);
    }
    read
}

/// Reads one action.
pub(super) fn action<'a>(
    site: &Site<'a>,
    node: &'a Node,
    (outcome, steps): (Outcome, &[&str]),
) -> Option<Action> {
    let object = Object::of(site.file, node, "an action")?;
    let name = object.required_text("name");
    let kinds: &[&str] = match outcome {
        Outcome::Success => &["end", "goto"],
        Outcome::Failure => &["end", "goto", "retry"],
    };
    if !object.has("type") {
        object.problem(format!("expected `type`, one of `{}`", kinds.join("`, `")));
    }
    let kind = object.choice("type", kinds);
    let to = to(site, &object, steps);
    let (after, most) = match outcome {
        Outcome::Success => (None, None),
        Outcome::Failure => (object.amount("retryAfter"), object.count("retryLimit")),
    };
    let criteria = criteria(site, object.items("criteria"), "a criterion");
    object.end();
    if kind != Some("retry") && (after.is_some() || most.is_some()) {
        object.problem("`retryAfter` and `retryLimit` belong to an action of type `retry`");
    }
    if kind == Some("end") && (object.has("stepId") || object.has("workflowId")) {
        object
            .problem("an action of type `end` leads nowhere: leave `stepId` and `workflowId` out");
    }
    let act = match kind? {
        "goto" if !object.has("stepId") && !object.has("workflowId") => {
            object.problem("an action of type `goto` needs a `stepId` or a `workflowId`");
            return None;
        }
        "goto" => Act::Goto(to?),
        "retry" => {
            let after = Duration::try_from_secs_f64(after.unwrap_or(0.0)).unwrap_or(LONGEST);
            Act::Retry { first: to, after: after.min(LONGEST), most: most.unwrap_or(1) }
        }
        _ => Act::End,
    };
    Some(Action { name: name?.to_owned(), criteria, act })
}

fn to(site: &Site<'_>, object: &Object<'_>, steps: &[&str]) -> Option<To> {
    match (object.text("stepId"), object.text("workflowId")) {
        (Some(_), Some(_)) => {
            object.problem("`stepId` and `workflowId` exclude one another");
            None
        }
        (Some(step), None) => {
            let found = steps.iter().position(|known| *known == step);
            if found.is_none() {
                let what = format!("there is no step `{step}` in this workflow");
                object.problem_at("stepId", what);
            }
            found.map(To::Step)
        }
        (None, Some(workflow)) => {
            let line = object.get("workflowId").map_or(object.line, |node| node.line);
            site.workflow(workflow, line).map(To::Workflow)
        }
        (None, None) => None,
    }
}
