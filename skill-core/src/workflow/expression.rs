//! Runtime expressions: values that are known once a workflow runs.
//!
//! The grammar is that of the specification, in its section "Runtime Expressions".

use std::fmt;

/// A runtime expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// `$url`
    Url,
    /// `$method`
    Method,
    /// `$statusCode`
    StatusCode,
    /// `$request.…`
    Request(Part),
    /// `$response.…`
    Response(Part),
    /// `$inputs.…`
    Input(Place),
    /// `$outputs.…`
    Output(Place),
    /// `$steps.STEP.outputs.…`
    Step { step: String, output: Place },
    /// `$workflows.WORKFLOW.inputs.…`, `$workflows.WORKFLOW.outputs.…`
    Workflow { workflow: String, side: Side, name: Place },
    /// `$sourceDescriptions.…`: what comes behind it is told apart where the sources are known.
    Source(String),
    /// `$components.KIND.NAME`
    Component { kind: String, name: String },
}

/// A part of a request or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Header(String),
    Query(String),
    Path(String),
    /// The body, from a JSON Pointer on.
    Body(String),
}

/// Which values of a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Inputs,
    Outputs,
}

/// A name, and a JSON Pointer into what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) pointer: String,
}

/// What expressions begin with.
const EXPECTED: &str = "expected `$url`, `$method`, `$statusCode`, `$request.`, `$response.`, `$inputs.`, `$outputs.`, \
                        `$steps.`, `$workflows.`, `$sourceDescriptions.` or `$components.`";

impl Expression {
    /// Whether a value is meant as an expression: a dollar sign and a letter begin it.
    pub(super) fn is_meant(text: &str) -> bool {
        text.strip_prefix('$')
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic()))
    }

    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{text}` is no runtime expression: {what}");
        let inner = text.strip_prefix('$').ok_or_else(|| wrong(EXPECTED))?;
        let (head, rest) = inner.split_once('.').unwrap_or((inner, ""));
        let has_rest = inner.len() > head.len();
        let read = match (head, has_rest) {
            ("url", false) => Ok(Self::Url),
            ("method", false) => Ok(Self::Method),
            ("statusCode", false) => Ok(Self::StatusCode),
            ("request", true) => part(rest).map(Self::Request),
            ("response", true) => part(rest).and_then(|part| match part {
                Part::Query(_) | Part::Path(_) => {
                    Err("an answer has a `header` and a `body`".to_owned())
                }
                Part::Header(_) | Part::Body(_) => Ok(Self::Response(part)),
            }),
            ("inputs", true) => place(rest).map(Self::Input),
            ("outputs", true) => place(rest).map(Self::Output),
            ("steps", true) => step(rest),
            ("workflows", true) => workflow(rest),
            ("sourceDescriptions", true) if !rest.is_empty() => Ok(Self::Source(rest.to_owned())),
            ("components", true) => component(rest),
            _ => Err(EXPECTED.to_owned()),
        };
        read.map_err(|what| wrong(&what))
    }
}

fn part(text: &str) -> Result<Part, String> {
    let expected = "expected `header.NAME`, `query.NAME`, `path.NAME`, `body` or `body#/POINTER`";
    if let Some(rest) = text.strip_prefix("body") {
        return match rest.strip_prefix('#') {
            None if rest.is_empty() => Ok(Part::Body(String::new())),
            Some(pointer) => pointer_of(pointer).map(Part::Body),
            None => Err(expected.to_owned()),
        };
    }
    let (kind, name) = text.split_once('.').ok_or(expected)?;
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match kind {
        _ if name.is_empty() => Err(expected.to_owned()),
        "header" if name.bytes().all(is_token) => Ok(Part::Header(name.to_owned())),
        "query" => Ok(Part::Query(name.to_owned())),
        "path" => Ok(Part::Path(name.to_owned())),
        _ => Err(expected.to_owned()),
    }
}

/// RFC 6901.
fn pointer_of(text: &str) -> Result<String, String> {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if escapes && (text.is_empty() || text.starts_with('/')) {
        return Ok(text.to_owned());
    }
    Err(format!("expected a JSON Pointer such as `#/items/0` behind `#`, got `{text}`"))
}

fn place(text: &str) -> Result<Place, String> {
    let (name, pointer) = match text.split_once('#') {
        None => (text, String::new()),
        Some((name, pointer)) => (name, pointer_of(pointer)?),
    };
    if name.is_empty() {
        return Err("expected a name behind the dot".to_owned());
    }
    Ok(Place { name: name.to_owned(), pointer })
}

fn step(text: &str) -> Result<Expression, String> {
    let expected = "expected `$steps.STEP.outputs.NAME`";
    let (step, output) = text.split_once(".outputs.").ok_or(expected)?;
    if step.is_empty() {
        return Err(expected.to_owned());
    }
    Ok(Expression::Step { step: step.to_owned(), output: place(output)? })
}

fn workflow(text: &str) -> Result<Expression, String> {
    let expected =
        "expected `$workflows.WORKFLOW.inputs.NAME` or `$workflows.WORKFLOW.outputs.NAME`";
    let sides = [(".inputs.", Side::Inputs), (".outputs.", Side::Outputs)];
    let found = sides.into_iter().filter_map(|(word, side)| {
        let at = text.find(word)?;
        Some((at, word, side))
    });
    let (at, word, side) = found.min_by_key(|(at, ..)| *at).ok_or(expected)?;
    if at == 0 {
        return Err(expected.to_owned());
    }
    let name = place(&text[at + word.len()..])?;
    Ok(Expression::Workflow { workflow: text[..at].to_owned(), side, name })
}

fn component(text: &str) -> Result<Expression, String> {
    let expected = "expected `$components.parameters.NAME`, `$components.successActions.NAME` or \
                    `$components.failureActions.NAME`";
    let (kind, name) = text.split_once('.').ok_or(expected)?;
    let is_known = ["inputs", "parameters", "successActions", "failureActions"].contains(&kind);
    if !is_known || name.is_empty() {
        return Err(expected.to_owned());
    }
    Ok(Expression::Component { kind: kind.to_owned(), name: name.to_owned() })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.pointer.is_empty() { Ok(()) } else { write!(f, "#{}", self.pointer) }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Body(pointer) if pointer.is_empty() => f.write_str("body"),
            Self::Body(pointer) => write!(f, "body#{pointer}"),
        }
    }
}

/// As it was written.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("$url"),
            Self::Method => f.write_str("$method"),
            Self::StatusCode => f.write_str("$statusCode"),
            Self::Request(part) => write!(f, "$request.{part}"),
            Self::Response(part) => write!(f, "$response.{part}"),
            Self::Input(place) => write!(f, "$inputs.{place}"),
            Self::Output(place) => write!(f, "$outputs.{place}"),
            Self::Step { step, output } => write!(f, "$steps.{step}.outputs.{output}"),
            Self::Workflow { workflow, side: Side::Inputs, name } => {
                write!(f, "$workflows.{workflow}.inputs.{name}")
            }
            Self::Workflow { workflow, side: Side::Outputs, name } => {
                write!(f, "$workflows.{workflow}.outputs.{name}")
            }
            Self::Source(rest) => write!(f, "$sourceDescriptions.{rest}"),
            Self::Component { kind, name } => write!(f, "$components.{kind}.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_specification_is_read_and_written_back() {
        let texts = [
            "$url",
            "$method",
            "$statusCode",
            "$request.header.accept",
            "$request.path.id",
            "$request.query.page",
            "$request.body#/user/uuid",
            "$response.body#/status",
            "$response.body",
            "$response.header.X-Rate-Limit",
            "$inputs.username",
            "$inputs.customer#/firstName",
            "$inputs.x-api-key",
            "$outputs.bar",
            "$steps.someStepId.outputs.pets",
            "$steps.some-step.outputs.pets#/0/id",
            "$steps.a.outputs.my.name",
            "$workflows.foo.inputs.username",
            "$workflows.foo.outputs.mappedResponse#/name",
            "$sourceDescriptions.petStore.findPets",
            "$components.parameters.foo",
            "$components.successActions.notify",
        ];
        for text in texts {
            assert_eq!(Expression::parse(text).map(|read| read.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let texts = [
            "",
            "$",
            "url",
            "$uri",
            "$url.x",
            "$statuscode",
            "$request",
            "$request.",
            "$request.cookie.x",
            "$request.header.a b",
            "$response.query.x",
            "$response.path.x",
            "$response.bodyx",
            "$response.body#x",
            "$response.body#/~2",
            "$inputs.",
            "$inputs",
            "$inputs.#/x",
            "$steps.a.b",
            "$steps..outputs.x",
            "$steps.a.outputs.",
            "$workflows.a.x",
            "$components.x.y",
            "$components.parameters.",
            "$sourceDescriptions.",
        ];
        for text in texts {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn money_is_no_expression() {
        assert!(!Expression::is_meant("$5 off"));
        assert!(!Expression::is_meant("$"));
        assert!(Expression::is_meant("$input.x"));
    }
}
