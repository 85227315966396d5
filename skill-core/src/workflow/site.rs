//! What surrounds a workflow while it is read: its document, the sources, the other workflows.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    expression::Expression,
    fill::Fill,
    reader::{File, Object},
    tree::Node,
};
use crate::integration::Integration;

/// A source description.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) origin: Origin,
}

/// What a source description stands for.
#[derive(Debug)]
pub(super) enum Origin {
    Integration(Arc<dyn Integration>),
    /// Another document of the set.
    Document(usize),
    /// Nothing that is there; it was noted.
    Unknown,
}

/// What others know of a workflow before it is read.
#[derive(Debug)]
pub(super) struct Sketch {
    pub(super) id: String,
    pub(super) inputs: Value,
    pub(super) outputs: Vec<String>,
}

/// When an expression is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// For a call.
    Call,
    /// Once it was answered.
    Answer,
    /// At the end of the workflow.
    End,
}

/// Where an expression stands.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) expression: Expression,
    pub(super) line: usize,
    pub(super) when: When,
    /// The step.
    pub(super) step: Option<usize>,
}

/// A document and what it can name.
pub(super) struct Site<'a> {
    pub(super) file: &'a File,
    pub(super) sources: &'a [Source],
    pub(super) components: Option<&'a Node>,
    /// The workflows of each document, by id, as indexes into all.
    pub(super) workflows: &'a [BTreeMap<String, usize>],
    pub(super) document: usize,
    pub(super) sketches: &'a [Sketch],
    /// Every expression of the workflow that is being read.
    pub(super) uses: RefCell<Vec<Use>>,
    /// The step that is being read.
    pub(super) step: std::cell::Cell<Option<usize>>,
}

impl<'a> Site<'a> {
    /// Notes that an expression is used.
    pub(super) fn note(&self, expression: &Expression, line: usize, when: When) {
        let step = self.step.get();
        let noted = Use { expression: expression.clone(), line, when, step };
        self.uses.borrow_mut().push(noted);
    }

    /// Reads a value with expressions.
    pub(super) fn fill(&self, node: &Node, when: When) -> Fill {
        let fill = Fill::read(node, &mut |line, what| self.file.problem(line, what));
        fill.each(&mut |expression| self.note(expression, node.line, when));
        fill
    }

    /// Reads an expression.
    pub(super) fn expression(&self, node: &Node, what: &str, when: When) -> Option<Expression> {
        let wrong = |what: String| {
            self.file.problem(node.line, what);
            None
        };
        let Some(text) = node.text() else {
            return wrong(format!("{what}: expected a runtime expression, got {}", node.kind()));
        };
        match Fill::parse(text) {
            Ok(Fill::Expression(expression)) => {
                self.note(&expression, node.line, when);
                Some(expression)
            }
            Ok(_) => wrong(format!("{what}: expected a runtime expression, got `{text}`")),
            Err(problem) => wrong(format!("{what}: {problem}")),
        }
    }

    /// The component that a reusable object refers to, and the object itself.
    pub(super) fn reusable(&self, node: &'a Node, kind: &str) -> Option<Result<&'a Node, ()>> {
        let reference = node.get("reference")?;
        let found = reference.text().and_then(|text| match Expression::parse(text) {
            Ok(Expression::Component { kind: found, name }) if found == kind => {
                self.components?.get(kind)?.get(&name)
            }
            _ => None,
        });
        if found.is_none() {
            let what = format!("`reference`: expected `$components.{kind}.NAME` of this document");
            self.file.problem(reference.line, what);
        }
        Some(found.ok_or(()))
    }

    /// Finds a source by what stands behind `$sourceDescriptions.`: the source, and the rest.
    pub(super) fn source<'t>(&self, text: &'t str) -> Option<(&'a Source, &'t str)> {
        self.sources.iter().find_map(|source| {
            let rest = text.strip_prefix(source.name.as_str())?.strip_prefix('.')?;
            Some((source, rest))
        })
    }

    /// Finds the workflow that `text` names: an id of this document, or one of another one as
    /// `$sourceDescriptions.NAME.ID`.
    pub(super) fn workflow(&self, text: &str, line: usize) -> Option<usize> {
        let wrong = |what: String| {
            self.file.problem(line, what);
            None
        };
        let Some(rest) = text.strip_prefix("$sourceDescriptions.") else {
            let found = self.workflows.get(self.document).and_then(|own| own.get(text)).copied();
            return found
                .or_else(|| wrong(format!("there is no workflow `{text}` in this document")));
        };
        match self.source(rest) {
            None => wrong(format!("`{text}`: there is no such source description")),
            Some((Source { origin: Origin::Document(at), .. }, id)) => {
                let found = self.workflows.get(*at).and_then(|all| all.get(id)).copied();
                found.or_else(|| wrong(format!("there is no workflow `{id}` in that document")))
            }
            Some((Source { origin: Origin::Integration(_), .. }, _)) => {
                wrong(format!("`{text}`: that source is no Arazzo document"))
            }
            Some((Source { origin: Origin::Unknown, .. }, _)) => None,
        }
    }

    /// The objects of a list.
    pub(super) fn objects(&self, nodes: &'a [Node], what: &str) -> Vec<Object<'a>> {
        nodes.iter().filter_map(|node| Object::of(self.file, node, what)).collect()
    }
}
