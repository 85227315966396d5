//! Whether every expression of a workflow names something that is there by then.

use super::{
    expression::{Expression, Part, Place, Side},
    plan::{Act, Step, Target, To},
    site::{Site, Sketch, Source, Use, When},
};

/// A workflow, as far as its expressions are concerned.
pub(super) struct Checked<'a> {
    pub(super) site: &'a Site<'a>,
    pub(super) steps: &'a [Step],
    /// The inputs that it declares; `None` when it takes any.
    pub(super) inputs: Option<&'a [String]>,
    pub(super) depends: &'a [usize],
}

impl Checked<'_> {
    /// Notes what is wrong with the expressions that were used.
    pub(super) fn check(&self, uses: &[Use]) {
        let before = reached(self.steps);
        for noted in uses {
            if let Err(what) = self.one(noted, &before) {
                self.site.file.problem(noted.line, format!("`{}`: {what}", noted.expression));
            }
        }
    }

    fn one(&self, noted: &Use, before: &[Vec<bool>]) -> Result<(), String> {
        let step = noted.step.and_then(|at| self.steps.get(at));
        match &noted.expression {
            Expression::Url => Err("the address belongs to the connection, and is not known to a \
                                    workflow"
                .to_owned()),
            Expression::Component { .. } => {
                Err("a component is named by `reference` only".to_owned())
            }
            Expression::Source(rest) => self.source(rest),
            Expression::Input(place) => self.input(place, step),
            Expression::Step { step: name, output } => self.output(name, output, (noted, before)),
            Expression::Workflow { workflow, side, name } => self.other(workflow, *side, name),
            Expression::Method
            | Expression::Request(_)
            | Expression::StatusCode
            | Expression::Response(_)
            | Expression::Output(_)
                if noted.when == When::End =>
            {
                Err("there is no step that it could mean: use an output of a step".to_owned())
            }
            Expression::Method | Expression::Request(_) if noted.when == When::Call => {
                Err("the request is being made here".to_owned())
            }
            Expression::StatusCode | Expression::Response(_) | Expression::Output(_)
                if noted.when == When::Call =>
            {
                Err("there is no answer yet: use an output of an earlier step".to_owned())
            }
            Expression::Output(place) => self.result(place, step),
            Expression::Request(part) => request(part, step),
            Expression::Method | Expression::StatusCode | Expression::Response(_) => Ok(()),
        }
    }

    fn source(&self, rest: &str) -> Result<(), String> {
        let Some((Source { .. }, field)) = self.site.source(rest) else {
            return Err("there is no such source description".to_owned());
        };
        if ["url", "name"].contains(&field) {
            return Ok(());
        }
        Err("a source description has a `url` and a `name`".to_owned())
    }

    fn input(&self, place: &Place, step: Option<&Step>) -> Result<(), String> {
        let is_local = step.is_some_and(|step| step.locals().any(|name| is_named(place, name)));
        match self.inputs {
            Some(known) if !is_local && !known.iter().any(|name| is_named(place, name)) => {
                let known = known.join("`, `");
                Err(format!("the workflow has no such input; it has `{known}`"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn output(
        &self,
        name: &str,
        output: &Place,
        (noted, before): (&Use, &[Vec<bool>]),
    ) -> Result<(), String> {
        let Some(at) = self.steps.iter().position(|step| step.id == name) else {
            return Err(format!("there is no step `{name}` in this workflow"));
        };
        let step = &self.steps[at];
        if !step.outputs.iter().any(|(known, _)| is_named(output, known)) {
            let known = step.outputs.iter().map(|(known, _)| known.as_str());
            let known = known.collect::<Vec<_>>().join("`, `");
            let known = if known.is_empty() { "none".to_owned() } else { format!("`{known}`") };
            return Err(format!("the step `{name}` has no such output; it has {known}"));
        }
        let comes_before = match noted.step {
            None => true,
            Some(own) => {
                (own == at && noted.when != When::Call)
                    || before.get(at).and_then(|row| row.get(own)) == Some(&true)
            }
        };
        if comes_before { Ok(()) } else { Err(format!("the step `{name}` does not come before")) }
    }

    fn other(&self, name: &str, side: Side, place: &Place) -> Result<(), String> {
        let own = self.site.workflows.get(self.site.document);
        let Some(at) = own.and_then(|all| all.get(name)).copied() else {
            return Err(format!("there is no workflow `{name}` in this document"));
        };
        let is_called = |step: &Step| {
            let leads = |to: &Option<To>| *to == Some(To::Workflow(at));
            matches!(step.target, Some(Target::Workflow(called)) if called == at)
                || step.on_failure.iter().any(|action| match &action.act {
                    Act::Retry { first, .. } => leads(first),
                    Act::End | Act::Goto(_) => false,
                })
        };
        if !self.depends.contains(&at) && !self.steps.iter().any(is_called) {
            let what = "this workflow neither depends on it nor calls it";
            return Err(format!("`{name}`: {what}"));
        }
        let sketch = &self.site.sketches[at];
        let known = match side {
            Side::Outputs => Some(sketch.outputs.clone()),
            Side::Inputs => inputs(sketch),
        };
        match known {
            Some(known) if !known.iter().any(|known| is_named(place, known)) => {
                let known = known.join("`, `");
                Err(format!("the workflow `{name}` has no such value; it has `{known}`"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// `$outputs.x`: what the workflow that the step called came to.
    fn result(&self, place: &Place, step: Option<&Step>) -> Result<(), String> {
        let Some(Target::Workflow(at)) = step.and_then(|step| step.target.as_ref()) else {
            return Err("only a step that calls a workflow has its outputs".to_owned());
        };
        let known = &self.site.sketches[*at].outputs;
        if known.iter().any(|known| is_named(place, known)) {
            return Ok(());
        }
        let known = known.join("`, `");
        Err(format!("the workflow that is called has no such output; it has `{known}`"))
    }
}

/// The inputs that a workflow declares; `None` when it takes any.
pub(super) fn inputs(sketch: &Sketch) -> Option<Vec<String>> {
    let properties = sketch.inputs.get("properties")?.as_object()?;
    Some(properties.keys().cloned().collect())
}

fn request(part: &Part, step: Option<&Step>) -> Result<(), String> {
    let (name, place) = match part {
        Part::Body(_) => return Ok(()),
        Part::Header(name) => (name, "header"),
        Part::Query(name) => (name, "query"),
        Part::Path(name) => (name, "path"),
    };
    let is_it = |given: &str| match place {
        "header" => given.eq_ignore_ascii_case(name),
        _ => given == name,
    };
    let mut parameters = step.into_iter().flat_map(|step| &step.parameters);
    if parameters.any(|p| p.place.as_deref() == Some(place) && is_it(&p.name)) {
        return Ok(());
    }
    Err("the step gives no such parameter".to_owned())
}

/// Whether a place means this name: itself, or something inside of it behind a dot.
fn is_named(place: &Place, name: &str) -> bool {
    place.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// For each step, which steps can come after it.
fn reached(steps: &[Step]) -> Vec<Vec<bool>> {
    let next = steps.iter().enumerate().map(|(at, step)| after(at, step, steps.len()));
    let mut next = next.collect::<Vec<_>>();
    for (at, step) in steps.iter().enumerate() {
        // A step that is done before a retry comes back to the one that is retried.
        for action in &step.on_failure {
            if let Act::Retry { first: Some(To::Step(first)), .. } = action.act {
                next[first].push(at);
            }
        }
    }
    let walk = |from: usize| {
        let mut seen = vec![false; steps.len()];
        let mut open = next[from].clone();
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut seen[at], true) {
                open.extend(&next[at]);
            }
        }
        seen
    };
    (0..steps.len()).map(walk).collect()
}

/// The steps that may come right after one.
fn after(at: usize, step: &Step, count: usize) -> Vec<usize> {
    let mut next = Vec::new();
    if at + 1 < count {
        next.push(at + 1);
    }
    for action in step.on_success.iter().chain(&step.on_failure) {
        if let Act::Goto(To::Step(to)) | Act::Retry { first: Some(To::Step(to)), .. } = action.act {
            next.push(to);
        }
    }
    next
}
