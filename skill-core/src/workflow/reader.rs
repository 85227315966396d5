//! Reading the objects of a document, with every problem noted by its line.

use std::{cell::RefCell, collections::BTreeSet};

use super::tree::{Kind, Member, Node};
use crate::declaration::Problem;

/// One document while it is being read.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: String,
    problems: RefCell<BTreeSet<Problem>>,
}

impl File {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), problems: RefCell::default() }
    }

    /// Notes a problem at a line.
    pub(super) fn problem(&self, line: usize, what: impl Into<String>) {
        let problem = Problem { file: self.name.clone(), line, what: what.into() };
        self.problems.borrow_mut().insert(problem);
    }

    /// What was noted so far, in the order of the lines.
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.problems.borrow().iter().cloned().collect()
    }
}

/// One object of a document. Whatever is not asked for is reported by [`Object::end`].
#[derive(Debug)]
pub(super) struct Object<'a> {
    pub(super) file: &'a File,
    pub(super) line: usize,
    members: &'a [Member],
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Object<'a> {
    /// The object that `node` is; notes when it is none.
    pub(super) fn of(file: &'a File, node: &'a Node, what: &str) -> Option<Self> {
        let Kind::Object(members) = &node.kind else {
            file.problem(node.line, format!("{what}: expected an object, got {}", node.kind()));
            return None;
        };
        Some(Self { file, line: node.line, members, asked: RefCell::default() })
    }

    /// Notes a problem with the object as a whole.
    pub(super) fn problem(&self, what: impl Into<String>) {
        self.file.problem(self.line, what);
    }

    /// Notes a problem with a member, or with the whole when there is no such member.
    pub(super) fn problem_at(&self, name: &str, what: impl Into<String>) {
        let line = self.member(name).map_or(self.line, |member| member.value.line);
        self.file.problem(line, what);
    }

    fn member(&self, name: &str) -> Option<&'a Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Whether there is such a member.
    pub(super) fn has(&self, name: &str) -> bool {
        self.member(name).is_some()
    }

    /// A member of any kind.
    pub(super) fn get(&self, name: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().insert(name);
        self.member(name).map(|member| &member.value)
    }

    fn expect<T>(
        &self,
        name: &'static str,
        what: &str,
        read: impl FnOnce(&'a Node) -> Option<T>,
    ) -> Option<T> {
        let node = self.get(name)?;
        let made = read(node);
        if made.is_none() {
            self.file.problem(node.line, format!("`{name}`: expected {what}, got {}", node.kind()));
        }
        made
    }

    /// A string.
    pub(super) fn text(&self, name: &'static str) -> Option<&'a str> {
        self.expect(name, "a string", Node::text)
    }

    /// A string that must be there.
    pub(super) fn required_text(&self, name: &'static str) -> Option<&'a str> {
        if !self.has(name) {
            self.problem(format!("expected `{name}`, a string"));
        }
        self.text(name)
    }

    /// A string out of a few.
    pub(super) fn choice(&self, name: &'static str, choices: &[&'static str]) -> Option<&'a str> {
        let text = self.text(name)?;
        if choices.contains(&text) {
            return Some(text);
        }
        let known = choices.join("`, `");
        self.problem_at(name, format!("`{name}`: expected one of `{known}`, got `{text}`"));
        None
    }

    /// A whole number that is not negative.
    pub(super) fn count(&self, name: &'static str) -> Option<u32> {
        self.expect(name, "a whole number that is not negative", |node| match &node.kind {
            Kind::Number(number) => u32::try_from(number.as_u64()?).ok(),
            Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Object(_) => None,
        })
    }

    /// A number that is not negative.
    pub(super) fn amount(&self, name: &'static str) -> Option<f64> {
        self.expect(name, "a number that is not negative", |node| match &node.kind {
            Kind::Number(number) => number.as_f64().filter(|number| *number >= 0.0),
            Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Object(_) => None,
        })
    }

    /// The items of a list; none when it is not there.
    pub(super) fn items(&self, name: &'static str) -> &'a [Node] {
        let items = self.expect(name, "a list", |node| match &node.kind {
            Kind::List(items) => Some(items.as_slice()),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Object(_) => None,
        });
        items.unwrap_or_default()
    }

    /// The items of a list that must be there and hold something.
    pub(super) fn required_items(&self, name: &'static str) -> &'a [Node] {
        let items = self.items(name);
        let is_list =
            self.member(name).is_none_or(|member| matches!(member.value.kind, Kind::List(_)));
        if items.is_empty() && is_list {
            self.problem(format!("expected `{name}`, a list that holds something"));
        }
        items
    }

    /// Strings.
    pub(super) fn texts(&self, name: &'static str) -> Vec<(&'a str, usize)> {
        let texts = self.items(name).iter().filter_map(|node| {
            if node.text().is_none() {
                let what = format!("`{name}`: expected strings, got {}", node.kind());
                self.file.problem(node.line, what);
            }
            Some((node.text()?, node.line))
        });
        texts.collect()
    }

    /// An object.
    pub(super) fn object(&self, name: &'static str) -> Option<Object<'a>> {
        Object::of(self.file, self.get(name)?, &format!("`{name}`"))
    }

    /// The members of an object that is a map; none when it is not there.
    pub(super) fn map(&self, name: &'static str) -> &'a [Member] {
        let map = self.expect(name, "an object", |node| match &node.kind {
            Kind::Object(members) => Some(members.as_slice()),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => None,
        });
        map.unwrap_or_default()
    }

    /// As [`map`](Self::map), with names such as the specification wants them.
    pub(super) fn named(&self, name: &'static str) -> &'a [Member] {
        let map = self.map(name);
        for member in map.iter().filter(|member| !is_key(&member.name)) {
            let what =
                format!("`{}`: expected a name of letters, digits, `.`, `-` and `_`", member.name);
            self.file.problem(member.line, what);
        }
        map
    }

    /// Reports every member that nobody asked for, but for extensions (`x-…`) that are not ours.
    pub(super) fn end(&self) {
        self.finish(|name| name.starts_with("x-") && name != "x-skill");
    }

    /// As [`end`](Self::end), where there are no extensions.
    pub(super) fn end_strictly(&self) {
        self.finish(|_| false);
    }

    fn finish(&self, is_free: impl Fn(&str) -> bool) {
        let asked = self.asked.borrow();
        for member in self.members {
            let name = member.name.as_str();
            if !asked.contains(name) && !is_free(name) {
                let known = asked.iter().copied().collect::<Vec<_>>().join("`, `");
                let what = format!("`{name}` is not known here; known are `{known}`");
                self.file.problem(member.line, what);
            }
        }
    }
}

/// `^[a-zA-Z0-9\.\-_]+$`
pub(super) fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

/// `[A-Za-z0-9_\-]+`, which ids have to be here, so that they can stand in expressions.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}
