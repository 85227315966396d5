//! Running a workflow: its calls are steps of the run's journal, and everything between them is a
//! function of what they came to, so that every attempt goes the same way.

use std::{collections::HashMap, pin::Pin};

use serde_json::{Map, Value};

use super::{
    criterion::Criterion,
    fill::Known,
    plan::{Act, Action, Step, To, Workflow},
    scope::{Ended, Exchange, Frame, Scope},
};
use crate::{
    error::{Error, ErrorKind, Result},
    executor::retry_after,
    skill::SkillContext,
};

/// How deep workflows may run workflows.
const DEEPEST: usize = 8;

/// Some future of this module: workflows run workflows.
pub(super) type Running<'r, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'r>>;

/// One run of a workflow, with all that it runs itself.
pub(super) struct Run<'a> {
    pub(super) context: SkillContext,
    pub(super) plans: &'a [Workflow],
    pub(super) ended: HashMap<usize, Ended>,
    /// How many step executions are left.
    left: u32,
    pub(super) depth: usize,
}

/// Where control goes after a step.
enum Next {
    Step(usize),
    End,
    Leave(usize),
}

impl<'a> Run<'a> {
    /// Runs the workflow at `index`.
    ///
    /// # Errors
    /// As [`Skill::run`](crate::skill::Skill::run).
    pub(super) async fn start(
        context: SkillContext,
        plans: &'a [Workflow],
        (index, inputs): (usize, Map<String, Value>),
    ) -> Result<Value> {
        let left = plans.get(index).map_or(0, |plan| plan.most);
        let mut run = Self { context, plans, ended: HashMap::new(), left, depth: 0 };
        run.workflow(index, inputs).await.map(Value::Object)
    }

    /// Runs a workflow to its end, and keeps what it came to.
    pub(super) fn workflow<'r>(
        &'r mut self,
        index: usize,
        inputs: Map<String, Value>,
    ) -> Running<'r, Map<String, Value>>
    where
        'a: 'r,
    {
        Box::pin(async move {
            let plan = self.plans.get(index).ok_or_else(|| Error::internal("no such workflow"))?;
            if self.depth >= DEEPEST {
                let message = format!("workflows ran one another more than {DEEPEST} deep");
                return Err(Error::new(ErrorKind::ActionFailed, message));
            }
            self.depth += 1;
            let done = self.steps(plan, inputs.clone()).await;
            self.depth -= 1;
            let outputs = done?;
            self.ended.insert(index, Ended { inputs, outputs: outputs.clone() });
            Ok(outputs)
        })
    }

    async fn steps(
        &mut self,
        plan: &'a Workflow,
        inputs: Map<String, Value>,
    ) -> Result<Map<String, Value>> {
        let mut all = plan.defaults.clone();
        all.extend(inputs);
        let mut frame = Frame { workflow: plan, inputs: all, steps: HashMap::new() };
        for index in plan.depends.iter().copied() {
            if !self.ended.contains_key(&index) {
                let given = self.shared(index, &frame.inputs);
                self.workflow(index, given).await?;
            }
        }
        let mut at = 0;
        while let Some(step) = plan.steps.get(at) {
            if self.depth == 1 {
                let percent = at * 100 / plan.steps.len();
                self.context.progress(u8::try_from(percent).unwrap_or(99)).await?;
            }
            match self.step(&mut frame, step, at).await? {
                Next::Step(next) => at = next,
                Next::End => break,
                Next::Leave(index) => {
                    let given = self.shared(index, &frame.inputs);
                    return self.workflow(index, given).await;
                }
            }
        }
        let locals = Map::new();
        let scope = Scope { frame: &frame, ended: &self.ended, locals: &locals, exchange: None };
        let value = |(name, expression): &(String, super::expression::Expression)| {
            let value = scope.find(expression).map(std::borrow::Cow::into_owned);
            (name.clone(), value.unwrap_or_default())
        };
        Ok(plan.outputs.iter().map(value).collect())
    }

    /// Of `inputs`, those that another workflow declares.
    fn shared(&self, index: usize, inputs: &Map<String, Value>) -> Map<String, Value> {
        let declared = self.plans.get(index).and_then(|plan| plan.inputs.as_ref());
        let is_known = |name: &String| declared.is_none_or(|known| known.contains(name));
        let given = inputs.iter().filter(|(name, _)| is_known(name));
        given.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Runs a step until it succeeds, or until its failure leads elsewhere.
    async fn step(&mut self, frame: &mut Frame<'a>, step: &'a Step, at: usize) -> Result<Next> {
        let (mut retried, mut before) = (vec![0; step.on_failure.len()], None);
        loop {
            self.count(frame.workflow)?;
            let tried = self.once(frame, step, before.take()).await?;
            let exchange = tried.exchange();
            if tried.is_good() {
                let fits = |action: &&Action| self.fits(frame, action, exchange);
                let chosen = step.on_success.iter().find(fits);
                return Ok(match chosen.map(|action| action.act) {
                    None | Some(Act::Retry { .. }) => Next::Step(at + 1),
                    Some(Act::End) => Next::End,
                    Some(Act::Goto(To::Step(to))) => Next::Step(to),
                    Some(Act::Goto(To::Workflow(index))) => Next::Leave(index),
                });
            }
            let mut chosen = step.on_failure.iter().enumerate().filter(|(n, action)| {
                // What may have taken effect is not done again, whatever the document says.
                let is_spent = matches!(action.act, Act::Retry { most, .. } if retried[*n] >= most || tried.is_unknown());
                !is_spent && self.fits(frame, action, exchange)
            });
            let Some((n, action)) = chosen.next() else { return Err(tried.error(frame, step)) };
            match action.act {
                Act::End => return Ok(Next::End),
                Act::Goto(To::Step(to)) => return Ok(Next::Step(to)),
                Act::Goto(To::Workflow(index)) => return Ok(Next::Leave(index)),
                Act::Retry { first, after, .. } => {
                    retried[n] += 1;
                    let said = exchange.and_then(|e| retry_after(&e.headers, self.context.now()));
                    let after = said.unwrap_or(after);
                    if !after.is_zero() {
                        self.context.sleep(after).await?;
                    }
                    before = Some(tried);
                    self.before_retry(frame, first).await?;
                }
            }
        }
    }

    /// What an action of type `retry` does first.
    async fn before_retry(&mut self, frame: &mut Frame<'a>, first: Option<To>) -> Result<()> {
        match first {
            None => Ok(()),
            Some(To::Workflow(index)) => {
                let given = self.shared(index, &frame.inputs);
                self.workflow(index, given).await.map(drop)
            }
            Some(To::Step(to)) => {
                let Some(step) = frame.workflow.steps.get(to) else { return Ok(()) };
                self.count(frame.workflow)?;
                let tried = self.once(frame, step, None).await?;
                if tried.is_good() { Ok(()) } else { Err(tried.error(frame, step)) }
            }
        }
    }

    fn count(&mut self, plan: &Workflow) -> Result<()> {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            return Ok(());
        }
        let message = format!(
            "the workflow `{}` ran more steps than it may: `x-skill.steps` bounds them",
            plan.id
        );
        Err(Error::new(ErrorKind::ActionFailed, message))
    }

    fn fits(&self, frame: &Frame<'a>, action: &Action, exchange: Option<&Exchange>) -> bool {
        hold(&action.criteria, &self.scope(frame, &Map::new(), exchange))
    }

    pub(super) fn scope<'s>(
        &'s self,
        frame: &'s Frame<'a>,
        locals: &'s Map<String, Value>,
        exchange: Option<&'s Exchange>,
    ) -> Scope<'s> {
        Scope { frame, ended: &self.ended, locals, exchange }
    }
}

/// Whether all criteria hold.
pub(super) fn hold(criteria: &[Criterion], scope: &Scope<'_>) -> bool {
    criteria.iter().all(|criterion| criterion.holds(scope))
}
