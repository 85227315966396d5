//! `web/v1/retrieve-site`: a page, as text, as links or as it is.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    charset,
    page::{self, Link},
    reach::{self, Answer},
};
use crate::{
    error::{Error, ErrorKind, Result},
    record::execution::Class,
    skill::{Skill, SkillContext, from_fn},
    tool::{Category, Form},
};

/// How long one hop may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The most bytes of a page.
const LARGEST: usize = 4 << 20;
/// How many redirects are followed.
const HOPS: usize = 5;

/// What is kept of a page.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Its text.
    #[default]
    Text,
    /// Its links alone.
    Links,
    /// The HTML.
    Html,
}

#[derive(Deserialize, JsonSchema)]
struct Input {
    /// The page, at a public address.
    url: String,
    /// What is kept of it: its text, its links alone, or the HTML.
    #[serde(default)]
    mode: Mode,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Output {
    /// The status of the answer.
    status: u16,
    /// Where the page was in the end.
    url: String,
    /// Its title, when it has one.
    title: Option<String>,
    /// Its text or its HTML; nothing for links alone.
    content: Option<String>,
    /// Where it leads, and with what words.
    links: Vec<Link>,
}

pub(super) fn skill() -> Result<Arc<dyn Skill>> {
    from_fn("web", "v1", "retrieve-site", run)
        .summary("Fetch a web page: its title, its text or HTML, and its links")
        .class(Class::Read)
        .timeout(Duration::from_secs(90))
        .tool(Form { category: Some(Category::Automation), ..Form::default() })
        .build()
}

async fn run(context: SkillContext, input: Input) -> Result<Output> {
    let url = reach::address("url", &input.url)?;
    context.step("fetch", || retrieve(&context, url, input.mode)).await
}

/// Redirects are followed one by one: the rules hold for each of them.
async fn retrieve(context: &SkillContext, mut url: Url, mode: Mode) -> Result<Output> {
    for _ in 0..=HOPS {
        let mut request = reach::request(Method::GET, url.clone());
        let accept =
            HeaderValue::from_static("text/html, application/xhtml+xml, text/*;q=0.8, */*;q=0.1");
        request.headers.insert(header::ACCEPT, accept);
        let answer = reach::fetch(context, ("url", request), (TIMEOUT, LARGEST)).await?;
        let location = answer.headers.get(header::LOCATION).filter(|_| is_redirect(&answer));
        let Some(location) = location else { return kept(&answer, &url, mode) };
        let next = location.to_str().ok().and_then(|location| url.join(location).ok());
        url = next.ok_or_else(|| unusable("expected a redirect that leads somewhere"))?;
    }
    Err(unusable("expected at most 5 redirects"))
}

fn is_redirect(answer: &Answer) -> bool {
    matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn unusable(message: &'static str) -> Error {
    Error::new(ErrorKind::UpstreamInvalid, message)
}

fn kept(answer: &Answer, url: &Url, mode: Mode) -> Result<Output> {
    let content_type = answer.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or("text/html");
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_html = matches!(essence.as_str(), "text/html" | "application/xhtml+xml");
    let is_text = essence.starts_with("text/")
        || matches!(essence.as_str(), "application/json" | "application/xml")
        || essence.ends_with("+json")
        || essence.ends_with("+xml");
    if !is_text && !answer.body.is_empty() {
        return Err(unusable("expected a page or another text at this address"));
    }
    let text = charset::text(&answer.body, content_type);
    let page = if is_html { page::read(&text, url) } else { page::Page::default() };
    let content = match mode {
        Mode::Links => None,
        Mode::Text if is_html => Some(page.text),
        Mode::Text | Mode::Html => Some(text),
    };
    let status = answer.status.as_u16();
    Ok(Output { status, url: url.to_string(), title: page.title, content, links: page.links })
}
