//! The endpoints of the issues themselves, for callers with an access token.

use std::collections::HashMap;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::State;
use super::fields::{Draft, Page};
use super::grants::{Caller, Rate, Scopes};
use super::reply::{self, Reply};

/// How long a key is remembered.
const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Answers everything that needs an access token.
pub(super) fn route(service: &State, head: &Parts, body: &[u8]) -> Reply {
    let token = bearer(&head.headers);
    let Some(caller) = token.and_then(|token| service.ledger().caller(token)) else {
        let reply = reply::message(StatusCode::UNAUTHORIZED, "Bad credentials");
        return reply::with(reply, WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"");
    };
    let rate = caller.rate;
    if rate.used > rate.limit {
        let reply = reply::message(StatusCode::TOO_MANY_REQUESTS, "API rate limit exceeded");
        let wait = rate.reset.as_secs().saturating_add(1).to_string();
        return limited(service, reply::with(reply, RETRY_AFTER, &wait), rate);
    }
    let call = Call { service, caller, head, body };
    let reply = call.answer().unwrap_or_else(Problem::reply);
    limited(service, reply, rate)
}

/// Every repository with its issues.
pub(super) struct Issues {
    repositories: HashMap<String, Vec<Issue>>,
    keys: HashMap<(String, String, String), Keyed>,
    next_id: u64,
}

impl Issues {
    /// Returns repositories without issues.
    pub(super) fn new(repositories: &[String]) -> Self {
        let repositories = repositories.iter().map(|name| (name.clone(), Vec::new())).collect();
        Self { repositories, keys: HashMap::new(), next_id: 1001 }
    }

    /// Returns a number no other issue or comment has.
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }
}

/// One issue; its number is its place in the repository, from one.
struct Issue {
    id: u64,
    title: String,
    body: Option<String>,
    labels: Vec<String>,
    is_open: bool,
    comments: u64,
    created_at: String,
}

impl Issue {
    /// Takes over the fields that a draft has.
    fn apply(&mut self, draft: Draft) {
        if let Some(title) = draft.title {
            self.title = title;
        }
        if let Some(body) = draft.body {
            self.body = body;
        }
        if let Some(labels) = draft.labels {
            self.labels = labels;
        }
        if let Some(is_open) = draft.is_open {
            self.is_open = is_open;
        }
    }
}

/// What a key was used for.
struct Keyed {
    request: Value,
    answer: Value,
    at: Instant,
}

/// Why a call is refused.
enum Problem {
    /// The token lacks this scope.
    Scope(&'static str),
    /// There is nothing at this path.
    NotFound,
    /// The path has other methods, these.
    Method(&'static str),
    /// The body is not declared as JSON.
    MediaType,
    /// The body is not a JSON object.
    Json,
    /// The idempotency key cannot be used, or not for this.
    Key(StatusCode, &'static str),
    /// These fields are wrong.
    Invalid(Vec<Value>),
}

impl Problem {
    /// Returns the answer that says so.
    fn reply(self) -> Reply {
        match self {
            Self::Scope(scope) => {
                let text = "The access token does not allow this";
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
                let reply = reply::message(StatusCode::FORBIDDEN, text);
                reply::with(reply, WWW_AUTHENTICATE, &challenge)
            }
            Self::NotFound => reply::message(StatusCode::NOT_FOUND, "Not Found"),
            Self::Method(methods) => reply::not_allowed(methods),
            Self::MediaType => reply::message(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be application/json",
            ),
            Self::Json => reply::message(StatusCode::BAD_REQUEST, "The body must be a JSON object"),
            Self::Key(status, text) => reply::message(status, text),
            Self::Invalid(errors) => reply::json(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({ "message": "Validation Failed", "errors": errors }),
            ),
        }
    }
}

/// One call, with whom it comes from.
struct Call<'a> {
    service: &'a State,
    caller: Caller,
    head: &'a Parts,
    body: &'a [u8],
}

impl Call<'_> {
    /// Chooses the endpoint.
    fn answer(&self) -> Result<Reply, Problem> {
        let path = self.head.uri.path().trim_start_matches('/');
        let decoded: Result<Vec<_>, _> =
            path.split('/').map(|segment| percent_decode_str(segment).decode_utf8()).collect();
        let decoded = decoded.map_err(|_| Problem::NotFound)?;
        let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
        match (segments.as_slice(), &self.head.method) {
            (["user"], &Method::GET) => Ok(self.user()),
            (["user"], _) => Err(Problem::Method("GET")),
            (["repos", owner, name, "issues", rest @ ..], method) => {
                let repository = format!("{owner}/{name}");
                match (rest, method) {
                    ([], &Method::GET) => self.list(&repository),
                    ([], &Method::POST) => self.create(&repository),
                    ([], _) => Err(Problem::Method("GET, POST")),
                    ([number], &Method::GET) => self.show(&repository, number),
                    ([number], &Method::PATCH) => self.change(&repository, number),
                    ([_], _) => Err(Problem::Method("GET, PATCH")),
                    ([number, "comments"], &Method::POST) => self.comment(&repository, number),
                    ([_, "comments"], _) => Err(Problem::Method("POST")),
                    _ => Err(Problem::NotFound),
                }
            }
            _ => Err(Problem::NotFound),
        }
    }

    /// Returns the person behind the token.
    fn user(&self) -> Reply {
        let settings = &self.service.settings;
        let user = json!({ "login": settings.login, "name": settings.name });
        reply::json(StatusCode::OK, &user)
    }

    /// Lists the issues of a repository, the latest first.
    fn list(&self, repository: &str) -> Result<Reply, Problem> {
        self.may(Scopes::READ)?;
        let page =
            Page::parse(self.head.uri.query().unwrap_or_default()).map_err(Problem::Invalid)?;
        let issues = self.service.issues();
        let all = issues.repositories.get(repository).ok_or(Problem::NotFound)?;
        let mut matching = all
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, issue)| page.is_open.is_none_or(|is_open| issue.is_open == is_open))
            .skip((page.number - 1).saturating_mul(page.size));
        let shown: Vec<Value> = matching
            .by_ref()
            .take(page.size)
            .map(|(index, issue)| self.render(repository, index, issue))
            .collect();
        let links = page.links(&self.address(repository), matching.next().is_some());
        let reply = reply::json(StatusCode::OK, &Value::Array(shown));
        Ok(if links.is_empty() { reply } else { reply::with(reply, LINK, &links) })
    }

    /// Opens an issue, or returns the one its key opened before.
    fn create(&self, repository: &str) -> Result<Reply, Problem> {
        self.may(Scopes::WRITE)?;
        let request = self.object()?;
        let mut issues = self.service.issues();
        if !issues.repositories.contains_key(repository) {
            return Err(Problem::NotFound);
        }
        let slot = self
            .key()?
            .map(|key| (self.caller.client_id.clone(), repository.to_owned(), key.to_owned()));
        issues.keys.retain(|_, keyed| keyed.at.elapsed() < KEY_LIFE);
        if let Some(keyed) = slot.as_ref().and_then(|slot| issues.keys.get(slot)) {
            return replay(keyed, &request);
        }
        let draft = Draft::read(&request, &["title"]).map_err(Problem::Invalid)?;
        let issue = Issue {
            id: issues.id(),
            title: draft.title.unwrap_or_default(),
            body: draft.body.flatten(),
            labels: draft.labels.unwrap_or_default(),
            is_open: true,
            comments: 0,
            created_at: self.timestamp(),
        };
        let all = issues.repositories.get_mut(repository).ok_or(Problem::NotFound)?;
        let answer = self.render(repository, all.len(), &issue);
        all.push(issue);
        let location = format!("{}/{}", self.address(repository), all.len());
        let reply = reply::json(StatusCode::CREATED, &answer);
        if let Some(slot) = slot {
            let request = Value::Object(request);
            issues.keys.insert(slot, Keyed { request, answer, at: Instant::now() });
        }
        Ok(reply::with(reply, LOCATION, &location))
    }

    /// Returns one issue.
    fn show(&self, repository: &str, number: &str) -> Result<Reply, Problem> {
        self.may(Scopes::READ)?;
        let issues = self.service.issues();
        let index = index(number)?;
        let all = issues.repositories.get(repository).ok_or(Problem::NotFound)?;
        let issue = all.get(index).ok_or(Problem::NotFound)?;
        Ok(reply::json(StatusCode::OK, &self.render(repository, index, issue)))
    }

    /// Changes the fields of an issue that the request names.
    fn change(&self, repository: &str, number: &str) -> Result<Reply, Problem> {
        self.may(Scopes::WRITE)?;
        let request = self.object()?;
        let mut issues = self.service.issues();
        let index = index(number)?;
        let all = issues.repositories.get_mut(repository).ok_or(Problem::NotFound)?;
        let issue = all.get_mut(index).ok_or(Problem::NotFound)?;
        let draft = Draft::read(&request, &[]).map_err(Problem::Invalid)?;
        issue.apply(draft);
        Ok(reply::json(StatusCode::OK, &self.render(repository, index, issue)))
    }

    /// Adds a comment, of which the issue keeps the count.
    fn comment(&self, repository: &str, number: &str) -> Result<Reply, Problem> {
        self.may(Scopes::WRITE)?;
        let request = self.object()?;
        let mut issues = self.service.issues();
        let index = index(number)?;
        let id = issues.id();
        let all = issues.repositories.get_mut(repository).ok_or(Problem::NotFound)?;
        let issue = all.get_mut(index).ok_or(Problem::NotFound)?;
        let draft = Draft::read(&request, &["body"]).map_err(Problem::Invalid)?;
        issue.comments += 1;
        let page = self.page(repository, index);
        let comment = json!({
            "id": id,
            "body": draft.body.flatten(),
            "user": { "login": self.service.settings.login },
            "html_url": format!("{page}#comment-{id}"),
            "created_at": self.timestamp(),
        });
        Ok(reply::json(StatusCode::CREATED, &comment))
    }

    /// Checks that the token allows a kind of access; to write includes to read.
    fn may(&self, scope: &'static str) -> Result<(), Problem> {
        let scopes = &self.caller.scopes;
        if scopes.contains(scope) || (scope == Scopes::READ && scopes.contains(Scopes::WRITE)) {
            return Ok(());
        }
        Err(Problem::Scope(scope))
    }

    /// Reads the body as a JSON object.
    fn object(&self) -> Result<Map<String, Value>, Problem> {
        let media_type = self.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("application/json") {
            return Err(Problem::MediaType);
        }
        serde_json::from_slice(self.body).map_err(|_| Problem::Json)
    }

    /// Reads the `Idempotency-Key`, if one was sent.
    fn key(&self) -> Result<Option<&str>, Problem> {
        let mut values = self.head.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(None) };
        let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
        match key {
            Some(key) if values.next().is_none() => Ok(Some(key)),
            _ => Err(Problem::Key(StatusCode::BAD_REQUEST, "The Idempotency-Key is not usable")),
        }
    }

    /// Returns an issue as callers see it.
    fn render(&self, repository: &str, index: usize, issue: &Issue) -> Value {
        json!({
            "id": issue.id,
            "number": index + 1,
            "title": issue.title,
            "body": issue.body,
            "labels": issue.labels,
            "state": if issue.is_open { "open" } else { "closed" },
            "comments": issue.comments,
            "html_url": self.page(repository, index),
            "user": { "login": self.service.settings.login },
            "created_at": issue.created_at,
        })
    }

    /// Returns where the issues of a repository are for programs.
    fn address(&self, repository: &str) -> String {
        format!("{}/repos/{repository}/issues", self.service.base_url)
    }

    /// Returns where an issue is for people.
    fn page(&self, repository: &str, index: usize) -> String {
        format!("{}/{repository}/issues/{}", self.service.base_url, index + 1)
    }

    /// Returns the time of day, to the second.
    fn timestamp(&self) -> String {
        self.service.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}

/// Answers a request whose key was used before: as then, or not at all if it differs.
fn replay(keyed: &Keyed, request: &Map<String, Value>) -> Result<Reply, Problem> {
    if keyed.request.as_object() != Some(request) {
        let text = "The Idempotency-Key was used for a different request";
        return Err(Problem::Key(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    let reply = reply::json(StatusCode::CREATED, &keyed.answer);
    Ok(reply::with(reply, HeaderName::from_static("idempotent-replayed"), "true"))
}

/// Returns the token of `Authorization: Bearer`, if there is exactly one such header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = values.next()?.to_str().ok()?.split_once(' ')?;
    let is_only = values.next().is_none();
    (is_only && scheme.eq_ignore_ascii_case("bearer")).then_some(token.trim())
}

/// Returns the place of an issue, from its number in a path.
fn index(number: &str) -> Result<usize, Problem> {
    let parsed: Option<usize> = number.parse().ok().filter(|_| !number.starts_with('+'));
    parsed.and_then(|number| number.checked_sub(1)).ok_or(Problem::NotFound)
}

/// Returns `reply` with what is left of the caller's hour.
fn limited(service: &State, reply: Reply, rate: Rate) -> Reply {
    let remaining = rate.limit.saturating_sub(rate.used);
    let reset = service.now().as_second().saturating_add_unsigned(rate.reset.as_secs());
    let headers = [
        ("x-ratelimit-limit", rate.limit.to_string()),
        ("x-ratelimit-used", rate.used.min(rate.limit).to_string()),
        ("x-ratelimit-remaining", remaining.to_string()),
        ("x-ratelimit-reset", reset.to_string()),
    ];
    headers.into_iter().fold(reply, |reply, (name, value)| {
        reply::with(reply, HeaderName::from_static(name), &value)
    })
}
