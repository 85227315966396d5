//! Inputs of a tool, as the action's parameters.

use serde_json::{Map, Value, json};

use crate::error::{Detail, Error, Result};

/// Where the value of a parameter comes from.
///
/// ```
/// use skill_core::tool::{Feed, Template};
/// let feed = Feed::Inputs(Template::parse("{owner}/{repo}").unwrap());
/// assert_ne!(feed, Feed::Fixed(100.into()));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Feed {
    /// From inputs.
    Inputs(Template),
    /// It is always this one, and no input.
    Fixed(Value),
}

/// One input, or several joined by text: `{number}`, `{owner}/{repo}`.
///
/// ```
/// use skill_core::tool::Template;
/// let template = Template::parse("{owner}/{repo}").unwrap();
/// assert_eq!(template.inputs().collect::<Vec<_>>(), ["owner", "repo"]);
/// assert!(Template::parse("{a}{b}").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// An input, and what it is; a lone input is described by its parameter.
    Input(String, Option<String>),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected inputs such as `{{owner}}/{{repo}}`, got `{text}`");
        let (mut pieces, mut rest) = (Vec::<Piece>::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(wrong)?;
            let follows_input = matches!(pieces.last(), Some(Piece::Input(..)));
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let is_bad = name.is_empty() || !name.chars().all(is_name) || before.contains('}');
            if is_bad || (before.is_empty() && follows_input) {
                return Err(wrong());
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Input(name.to_owned(), None));
            rest = after;
        }
        if pieces.is_empty() || rest.contains('}') {
            return Err(wrong());
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// Says what one of its inputs is; false when it has no such input.
    pub fn describe(&mut self, input: &str, text: &str) -> bool {
        let found = self.0.iter_mut().find_map(|piece| match piece {
            Piece::Input(name, description) if name == input => Some(description),
            Piece::Input(..) | Piece::Text(_) => None,
        });
        found.map(|description| *description = Some(text.to_owned())).is_some()
    }

    /// The names of its inputs.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.described().map(|(name, _)| name)
    }

    fn described(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Input(name, description) => Some((name.as_str(), description.as_deref())),
        })
    }

    /// The input that it is, when it joins nothing.
    fn alone(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Input(name, _)] => Some(name),
            _ => None,
        }
    }

    /// The characters between its inputs. No input holds one, so that what is joined can be taken
    /// apart in one way only.
    fn separators(&self) -> String {
        let texts = self.0.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Input(..) => None,
        });
        let mut characters = texts.flat_map(str::chars).collect::<Vec<_>>();
        characters.sort_unstable();
        characters.dedup();
        characters.into_iter().collect()
    }

    /// What one of several inputs must look like.
    fn part_schema(&self, parameter: &Value, description: Option<&str>) -> Value {
        let escape = |c: char| if "\\]^-[".contains(c) { format!("\\{c}") } else { c.to_string() };
        let separators = self.separators().chars().map(escape).collect::<String>();
        let mut schema = json!({"type": "string", "pattern": format!("^[^{separators}]+$")});
        let text = description.or_else(|| parameter.get("description").and_then(Value::as_str));
        if let Some(text) = text {
            schema["description"] = text.into();
        }
        schema
    }

    /// Takes the value of the parameter apart; `None` when it was not joined by this template.
    fn take_apart(&self, value: &Value, inputs: &mut Map<String, Value>) -> Option<()> {
        if let Some(name) = self.alone() {
            inputs.insert(name.to_owned(), value.clone());
            return Some(());
        }
        let mut rest = value.as_str()?;
        let mut pieces = self.0.iter().peekable();
        while let Some(piece) = pieces.next() {
            match (piece, pieces.peek()) {
                (Piece::Text(text), _) => rest = rest.strip_prefix(text.as_str())?,
                (Piece::Input(name, _), Some(Piece::Text(next))) => {
                    let (part, after) = rest.split_at(rest.find(next.as_str())?);
                    inputs.insert(name.clone(), part.into());
                    rest = after;
                }
                (Piece::Input(name, _), _) => {
                    inputs.insert(name.clone(), rest.into());
                    rest = "";
                }
            }
        }
        rest.is_empty().then_some(())
    }

    /// The value of the parameter; `None` when none of the inputs is given.
    fn fill(&self, inputs: &Map<String, Value>) -> Result<Option<Value>> {
        if let Some(name) = self.alone() {
            return Ok(inputs.get(name).cloned());
        }
        if self.inputs().all(|name| !inputs.contains_key(name)) {
            return Ok(None);
        }
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(between) => text.push_str(between),
                Piece::Input(name, _) => match inputs.get(name) {
                    Some(Value::String(value)) => text.push_str(value),
                    Some(_) => return Err(wrong(name, "expected type string")),
                    None => return Err(wrong(name, "expected a value, got nothing")),
                },
            }
        }
        Ok(Some(Value::String(text)))
    }
}

fn wrong(input: &str, issue: &str) -> Error {
    Error::invalid(format!("`{input}`: {issue}")).details([Detail::new(input, issue)])
}

/// How a tool's inputs become parameters. A parameter that is not named here is an input as it is.
///
/// ```
/// use serde_json::json;
/// use skill_core::tool::{Feed, Inputs, Template};
/// let repo = Feed::Inputs(Template::parse("{owner}/{repo}").unwrap());
/// let inputs = Inputs::new([("repo".to_owned(), repo)]);
/// let given = json!({"owner": "acme", "repo": "web", "state": "open"});
/// let params = inputs.params(given.as_object().unwrap().clone())?;
/// assert_eq!(params["repo"], "acme/web");
/// assert_eq!(params["state"], "open");
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inputs(Vec<(String, Feed)>);

impl Inputs {
    /// Returns inputs that feed the named parameters.
    pub fn new(feeds: impl IntoIterator<Item = (String, Feed)>) -> Self {
        Self(feeds.into_iter().collect())
    }

    /// Whether every parameter is an input as it is.
    pub fn is_plain(&self) -> bool {
        self.0.is_empty()
    }

    /// The tool's schema, made of the action's. Nothing here repeats what the action's schema
    /// checks: the parameters are checked once more when it is called.
    ///
    /// # Errors
    /// What does not fit together: a parameter that is not there, an input that stands twice.
    pub fn schema(&self, action: &Value) -> Result<Value, String> {
        let mut schema = action.clone();
        let all = action.get("properties").and_then(Value::as_object);
        let all = all.cloned().unwrap_or_default();
        let is_required = |name: &str| {
            let required = action.get("required").and_then(Value::as_array);
            required.is_some_and(|names| names.iter().any(|required| required == name))
        };
        let is_fed = |name: &str| self.0.iter().any(|(parameter, _)| parameter == name);
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for (parameter, feed) in &self.0 {
            let Some(own) = all.get(parameter) else {
                return Err(format!("there is no parameter `{parameter}`"));
            };
            let Feed::Inputs(template) = feed else { continue };
            for (name, description) in template.described() {
                let mut part = match template.alone() {
                    None => template.part_schema(own, description),
                    Some(_) => own.clone(),
                };
                if let (Some(text), Some(_)) = (description, template.alone()) {
                    part["description"] = text.into();
                }
                if properties.insert(name.to_owned(), part).is_some() {
                    return Err(format!("the input `{name}` stands twice"));
                }
                if is_required(parameter) {
                    required.push(name.to_owned());
                }
            }
        }
        for (name, own) in all.iter().filter(|(name, _)| !is_fed(name)) {
            if properties.insert(name.clone(), own.clone()).is_some() {
                return Err(format!("the input `{name}` is the name of another parameter"));
            }
            if is_required(name) {
                required.push(name.clone());
            }
        }
        schema["properties"] = Value::Object(properties);
        schema["required"] = required.into();
        Ok(schema)
    }

    /// The inputs for these parameters; `None` when no inputs make them.
    pub fn given(&self, params: &Map<String, Value>) -> Option<Map<String, Value>> {
        let mut inputs = params.clone();
        for (parameter, feed) in &self.0 {
            let value = inputs.remove(parameter);
            match (feed, value) {
                (Feed::Fixed(_), _) | (Feed::Inputs(_), None) => {}
                (Feed::Inputs(template), Some(value)) => {
                    template.take_apart(&value, &mut inputs)?;
                }
            }
        }
        Some(inputs)
    }

    /// The parameters for these inputs.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) naming the input that is missing
    /// or no text.
    pub fn params(&self, mut inputs: Map<String, Value>) -> Result<Map<String, Value>> {
        let mut fed = Vec::new();
        for (parameter, feed) in &self.0 {
            let value = match feed {
                Feed::Fixed(value) => Some(value.clone()),
                Feed::Inputs(template) => template.fill(&inputs)?,
            };
            fed.push((parameter, value));
        }
        for (_, feed) in &self.0 {
            if let Feed::Inputs(template) = feed {
                template.inputs().for_each(|name| drop(inputs.remove(name)));
            }
        }
        for (parameter, value) in fed {
            // What is called like the parameter but is no input of the tool does not reach it.
            inputs.remove(parameter);
            if let Some(value) = value {
                inputs.insert(parameter.clone(), value);
            }
        }
        Ok(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(feeds: &[(&str, &str)]) -> Inputs {
        let feed = |text: &str| Feed::Inputs(Template::parse(text).unwrap());
        Inputs::new(feeds.iter().map(|(name, text)| ((*name).to_owned(), feed(text))))
    }

    fn action() -> Value {
        json!({
            "type": "object",
            "required": ["repo"],
            "properties": {
                "repo": {"type": "string", "description": "owner/name"},
                "state": {"enum": ["open", "closed"]},
                "per_page": {"type": "integer"},
            },
        })
    }

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn templates_that_could_be_read_in_two_ways_are_refused() {
        for text in ["", "x", "{", "}", "{}", "{a}{b}", "{a b}", "{a}}", "}{a}", "{{a}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        assert!(Template::parse("repos/{a}/x").is_ok());
    }

    #[test]
    fn the_schema_shows_inputs_where_parameters_were() {
        let schema = inputs(&[("repo", "{owner}/{repo}"), ("per_page", "{most}")]);
        let schema = schema.schema(&action()).unwrap();
        assert_eq!(schema["required"], json!(["owner", "repo"]));
        let properties = schema["properties"].as_object().unwrap();
        let mut names = properties.keys().map(String::as_str).collect::<Vec<_>>();
        names.sort_unstable();
        assert_eq!(names, ["most", "owner", "repo", "state"]);
        assert_eq!(properties["owner"]["pattern"], "^[^/]+$");
        assert_eq!(properties["most"], json!({"type": "integer"}));
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let problem = |feeds: &[(&str, &str)]| inputs(feeds).schema(&action()).unwrap_err();
        assert_eq!(problem(&[("nope", "{a}")]), "there is no parameter `nope`");
        assert_eq!(problem(&[("repo", "{a}/{a}")]), "the input `a` stands twice");
        let taken = "the input `state` is the name of another parameter";
        assert_eq!(problem(&[("repo", "{state}/{b}")]), taken);
    }

    #[test]
    fn inputs_become_parameters_and_nothing_slips_past() {
        let mut made = inputs(&[("repo", "{owner}/{name}"), ("per_page", "{most}")]);
        made.0.push(("state".to_owned(), Feed::Fixed("open".into())));
        let given = json!({"owner": "a", "name": "b", "most": 5, "repo": "evil/x", "state": "no"});
        let params = made.params(map(&given)).unwrap();
        assert_eq!(Value::Object(params), json!({"repo": "a/b", "per_page": 5, "state": "open"}));
        let params = made.params(map(&json!({"per_page": 7, "other": 1}))).unwrap();
        assert_eq!(Value::Object(params), json!({"state": "open", "other": 1}));
    }

    #[test]
    fn parameters_become_the_inputs_that_make_them() {
        let made = inputs(&[("repo", "{owner}/{name}"), ("per_page", "{most}")]);
        let params = map(&json!({"repo": "a/b", "per_page": 5, "state": "open"}));
        let given = made.given(&params).unwrap();
        assert_eq!(
            Value::Object(given.clone()),
            json!({
                "owner": "a", "name": "b", "most": 5, "state": "open",
            })
        );
        assert_eq!(made.params(given).unwrap(), params);
        assert_eq!(made.given(&map(&json!({"repo": "a"}))), None, "nothing makes this");
    }

    #[test]
    fn half_of_a_join_is_an_error_that_names_the_other_half() {
        let made = inputs(&[("repo", "{owner}/{name}")]);
        let error = made.params(map(&json!({"owner": "a"}))).unwrap_err();
        assert_eq!(error.field_details()[0].field, "name");
        let error = made.params(map(&json!({"owner": "a", "name": 1}))).unwrap_err();
        assert_eq!(error.field_details()[0].issue, "expected type string");
    }
}
