//! The guard in front of every JSON text that comes from outside.
//!
//! `serde_json` keeps the last of two members with one name, lets skipped fields nest without end,
//! and turns 8 MB of `{"":0}` into 800 MB of `Value`. [`check`] reads a whole text once, builds
//! nothing and does not recurse, and says whether the text is JSON (RFC 8259, to the letter) within
//! [`Limits`]. What passes can be handed to `serde_json`, or passed on as it is.

mod names;
mod pointer;
mod problem;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use self::pointer::Pointer;
pub use self::problem::{Excerpt, Problem};

use self::names::Names;
use self::text::Text;

/// How large and how strange a JSON text may be.
///
/// ```
/// use skill_core::json::{self, Duplicates, Limits};
///
/// let limits = Limits { depth: 2, ..Limits::CALL };
/// assert!(json::check(b"[[1]]", &limits).is_ok());
/// assert!(json::check(b"[[[1]]]", &limits).is_err());
/// assert!(json::check(br#"{"a":1,"a":2}"#, &limits).is_err());
/// assert!(json::check(br#"{"a":1,"a":2}"#, &Limits::ANSWER).is_ok());
/// assert_eq!(Limits::CALL.duplicates, Duplicates::Refuse);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many arrays and objects may be open at once. Below 128, where `serde_json` stops.
    pub depth: usize,
    /// How many values there may be, arrays and objects counted with what they hold.
    pub nodes: usize,
    /// How many characters one number may have.
    pub number_chars: usize,
    /// Whether one object may name a member twice.
    pub duplicates: Duplicates,
}

impl Limits {
    /// For what a caller sends: it becomes a `Value`, and two readers must not see two calls in it.
    pub const CALL: Self =
        Self { depth: 64, nodes: 20_000, number_chars: 400, duplicates: Duplicates::Refuse };

    /// For what a service answers: it is passed on as it came, so size is bounded by bytes alone.
    pub const ANSWER: Self = Self {
        depth: 64,
        nodes: usize::MAX,
        number_chars: usize::MAX,
        duplicates: Duplicates::Allow,
    };
}

/// Whether one object may name a member twice; see [`Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// A second member of one name is a problem, however it is escaped.
    Refuse,
    /// Names are not compared, which saves the time and the memory.
    Allow,
}

/// Checks that `bytes` are one JSON text in UTF-8 within `limits`, with nothing after it.
///
/// Takes time linear in the text (`n log n` in the members of one object if duplicates are
/// refused), and memory for the open containers and, if duplicates are refused, the names in them.
///
/// ```
/// use skill_core::json::{self, Limits};
///
/// assert!(json::check(br#" {"item": [1, null]} "#, &Limits::CALL).is_ok());
/// let problem = json::check(br#"{"a": 1, "\u0061": 2}"#, &Limits::CALL).unwrap_err();
/// assert_eq!(problem.to_string(), "the member `a` stands twice (byte 9)");
/// ```
///
/// # Errors
///
/// The first problem of the text; its display is fit for the caller who sent it.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<(), Problem> {
    let text = Text::new(bytes)?;
    let names = match limits.duplicates {
        Duplicates::Refuse => Some(Names::default()),
        Duplicates::Allow => None,
    };
    Checker { text, limits, nodes: 0, open: Vec::new(), names }.run()
}

/// One container that has begun and not ended.
#[derive(Debug, Clone, Copy)]
enum Open {
    Array,
    /// With the count of names that stood on the list when it began.
    Object(usize),
}

/// The machine: a cursor, and a stack of its own in place of recursion.
struct Checker<'a> {
    text: Text<'a>,
    limits: &'a Limits,
    nodes: usize,
    open: Vec<Open>,
    names: Option<Names<'a>>,
}

impl Checker<'_> {
    fn run(mut self) -> Result<(), Problem> {
        loop {
            self.text.skip_space();
            self.count()?;
            let complete = match self.text.peek() {
                Some(b'{') => self.begin_object()?,
                Some(b'[') => self.begin_array()?,
                _ => self.scalar()?,
            };
            if complete && self.after_value()? == Next::End {
                return Ok(());
            }
        }
    }

    fn count(&mut self) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err(Problem::Nodes { limit: self.limits.nodes });
        }
        Ok(())
    }

    fn scalar(&mut self) -> Result<bool, Problem> {
        match self.text.peek() {
            Some(b'"') => self.text.string().map(drop)?,
            Some(b'-' | b'0'..=b'9') => self.text.number(self.limits.number_chars)?,
            Some(b't') => self.text.word("true")?,
            Some(b'f') => self.text.word("false")?,
            Some(b'n') => self.text.word("null")?,
            _ => return Err(self.text.unexpected("a value")),
        }
        Ok(true)
    }

    /// Enters an array; returns whether it ended at once.
    fn begin_array(&mut self) -> Result<bool, Problem> {
        self.push(Open::Array)?;
        let empty = self.text.peek() == Some(b']');
        if empty {
            self.pop()?;
        }
        Ok(empty)
    }

    /// Enters an object up to its first value; returns whether it ended at once.
    fn begin_object(&mut self) -> Result<bool, Problem> {
        self.push(Open::Object(self.names.as_ref().map_or(0, Names::len)))?;
        let empty = self.text.peek() == Some(b'}');
        if empty {
            self.pop()?;
        } else {
            self.name("a member name or `}`")?;
        }
        Ok(empty)
    }

    fn push(&mut self, container: Open) -> Result<(), Problem> {
        if self.open.len() >= self.limits.depth {
            return Err(Problem::Deep { limit: self.limits.depth });
        }
        self.open.push(container);
        self.text.bump();
        self.text.skip_space();
        Ok(())
    }

    fn pop(&mut self) -> Result<(), Problem> {
        self.text.bump();
        if let (Some(Open::Object(first)), Some(names)) = (self.open.pop(), &mut self.names) {
            names.close(first)?;
        }
        Ok(())
    }

    /// Reads a member's name and the colon after it.
    fn name(&mut self, expected: &'static str) -> Result<(), Problem> {
        if self.text.peek() != Some(b'"') {
            return Err(self.text.unexpected(expected));
        }
        let name = self.text.string()?;
        if let Some(names) = &mut self.names {
            names.add(name);
        }
        self.text.skip_space();
        self.text.expect(b':', "`:`")
    }

    /// Goes on behind a value: ends containers, up to the next value or the end of the text.
    fn after_value(&mut self) -> Result<Next, Problem> {
        loop {
            self.text.skip_space();
            let byte = self.text.peek();
            match (self.open.last(), byte) {
                (None, None) => return Ok(Next::End),
                (None, Some(_)) => return Err(Problem::Trailing { byte: self.text.offset() }),
                (Some(Open::Array), Some(b']')) | (Some(Open::Object(_)), Some(b'}')) => {
                    self.pop()?;
                }
                (Some(Open::Array), Some(b',')) => {
                    self.text.bump();
                    return Ok(Next::Value);
                }
                (Some(Open::Object(_)), Some(b',')) => {
                    self.text.bump();
                    self.text.skip_space();
                    self.name("a member name")?;
                    return Ok(Next::Value);
                }
                (Some(Open::Array), _) => return Err(self.text.unexpected("`,` or `]`")),
                (Some(Open::Object(_)), _) => return Err(self.text.unexpected("`,` or `}`")),
            }
        }
    }
}

/// What stands behind a value.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Value,
    End,
}
