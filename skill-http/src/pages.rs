//! Pages for people: connecting an account, and what came of it.
//!
//! Plain HTML without a script, under a policy that allows nothing else. No page holds a token.

mod device;

use std::sync::LazyLock;

use askama::Template;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use skill_core::{
    Error, ErrorKind,
    connect::{Return, Visit},
    credential::Field,
};
use url::{Url, form_urlencoded};

use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

const STYLE: &str = include_str!("../templates/page.css");

/// Allows the page's own style, by its hash, and nothing else. There is no `form-action`: browsers
/// apply it to every redirect that follows, and the provider may redirect wherever it likes.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'"
    )
});

/// No other site learns where a person comes from. Not `no-referrer`: with it a browser sends our
/// own form with `Origin: null` (Fetch, "append a request Origin header"), which is refused.
const REFERRER: &str = "same-origin";

/// The pages' routes.
pub(crate) fn routes() -> Vec<Route> {
    let page = |id, summary| Operation::new(id, summary);
    let access = || Access::Page;
    let mut routes = vec![
        Route::new(
            Method::GET,
            "/connect/{token}",
            access(),
            page("connect_page", "Say what will be connected to whom"),
            |cx| Box::pin(open(cx)),
        ),
        Route::new(
            Method::POST,
            "/connect/{token}",
            access(),
            page("connect_go", "Leave for the provider, or hand a key over"),
            |cx| Box::pin(go(cx)),
        ),
        Route::new(
            Method::GET,
            "/oauth/callback",
            access(),
            page("callback", "Come back from the provider"),
            |cx| Box::pin(callback(cx)),
        ),
        Route::new(
            Method::GET,
            "/limits",
            access(),
            page("limits", "Say what limits there are"),
            |_| Box::pin(async { Ok(limits()) }),
        ),
    ];
    routes.extend(device::routes());
    routes
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    style: &'static str,
    title: &'a str,
    paragraphs: Vec<String>,
    form: Option<Form<'a>>,
}

struct Form<'a> {
    action: &'a str,
    button: &'a str,
    fields: &'a [Field],
}

fn show(status: StatusCode, title: &str, paragraphs: Vec<String>, form: Option<Form<'_>>) -> Reply {
    let page = Page { style: STYLE, title, paragraphs, form };
    let html = page.render().unwrap_or_else(|_| title.to_owned());
    Reply::html(status, html)
        .with(header::CONTENT_SECURITY_POLICY, &POLICY)
        .with(header::REFERRER_POLICY, REFERRER)
        .with(header::X_FRAME_OPTIONS, "DENY")
}

/// A failure as a page.
pub(crate) fn failure(status: StatusCode, message: &str) -> Reply {
    let title = if status == StatusCode::NOT_FOUND { "Not found" } else { "That did not work" };
    let mut sentence = message.to_owned();
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    show(status, title, vec![format!("{}.", sentence.trim_end_matches('.'))], None)
}

async fn open(cx: Context) -> Result<Reply, Failure> {
    let link = SecretString::from(cx.value(0));
    let visit = cx.app.engine.connector().open(&link).await?;
    Ok(visited(&cx, &visit, StatusCode::OK, None))
}

fn visited(cx: &Context, visit: &Visit, status: StatusCode, problem: Option<String>) -> Reply {
    let title = format!("Connect {}", visit.integration);
    let mut paragraphs = problem.into_iter().collect::<Vec<_>>();
    paragraphs.push(format!("{} will be connected to {}.", visit.integration, visit.owner));
    let button = if visit.leaves {
        paragraphs.push(format!(
            "The next page is {}'s own: it asks for your consent.",
            visit.integration
        ));
        format!("Continue to {}", visit.integration)
    } else {
        "Connect".to_owned()
    };
    // The public URL may have a path, which a proxy takes away.
    let action = format!("{}{}", cx.app.engine.pages().connect.path(), cx.value(0));
    let form = Form { action: &action, button: &button, fields: &visit.fields };
    show(status, &title, paragraphs, Some(form))
}

async fn go(cx: Context) -> Result<Reply, Failure> {
    check_origin(&cx)?;
    let link = SecretString::from(cx.value(0));
    let connector = cx.app.engine.connector();
    let visit = connector.open(&link).await?;
    if visit.leaves {
        if !visit.fields.is_empty()
            && let Err(error) = connector.fill(&link, &form_members(&cx)?).await
        {
            return unfit(&cx, &visit, error);
        }
        let browser = cx.cookie(cookie_name(&cx.app.public_url)).map(SecretString::from);
        let leaving = connector.depart(&link, browser).await?;
        let cookie = cookie(&cx.app.public_url, leaving.browser.expose_secret());
        return Ok(Reply::see_other(leaving.url.as_str())
            .with(header::SET_COOKIE, &cookie)
            .with(header::REFERRER_POLICY, "no-referrer"));
    }
    match connector.submit(&link, &form_members(&cx)?).await {
        Ok(connection) => {
            let what = format!("{} is connected. You can close this page.", connection.integration);
            Ok(show(StatusCode::OK, "Connected", vec![what], None))
        }
        Err(error) => unfit(&cx, &visit, error),
    }
}

/// The form once more, with what was wrong.
fn unfit(cx: &Context, visit: &Visit, error: Error) -> Result<Reply, Failure> {
    if error.kind() != ErrorKind::InvalidInput {
        return Err(error.into());
    }
    let problem = Some(format!("That did not work: {error}."));
    Ok(visited(cx, visit, StatusCode::BAD_REQUEST, problem))
}

/// Refuses a form that another site's page sent: it would connect the visitor's account to
/// whoever made the link. Programs send neither header.
fn check_origin(cx: &Context) -> Result<(), Failure> {
    let text = |name: &str| cx.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let own = cx.app.public_url.origin().ascii_serialization();
    let is_foreign = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site != "same-origin",
        (None, Some(origin)) => origin != own,
        (None, None) => false,
    };
    if is_foreign {
        let message = "open the link yourself: another page sent this form";
        return Err(Failure::request(StatusCode::FORBIDDEN, message));
    }
    Ok(())
}

/// What was typed in. Empty fields count as left out.
fn form_members(cx: &Context) -> Result<Map<String, Value>, Failure> {
    let kind = cx.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = |kind: &str| kind.starts_with("application/x-www-form-urlencoded");
    if !kind.is_some_and(is_form) {
        let message = "expected the fields of the form";
        return Err(Failure::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(&cx.body).filter(|(_, value)| !value.is_empty()) {
        if members.insert(name.into_owned(), Value::String(value.into_owned())).is_some() {
            return Err(Error::invalid("expected each field of the form once").into());
        }
    }
    Ok(members)
}

async fn callback(cx: Context) -> Result<Reply, Failure> {
    let query = cx.query();
    let text = |name| query.text(name);
    let back = Return {
        state: text("state")?.unwrap_or_default().into(),
        code: text("code")?.map(SecretString::from),
        error: text("error")?,
        issuer: text("iss")?,
        rest: query.others(&["state", "code", "error", "iss"]),
    };
    let browser = cx.cookie(cookie_name(&cx.app.public_url)).unwrap_or_default();
    let browser = SecretString::from(browser);
    let (connection, next) = cx.app.engine.connector().arrive(&back, &browser).await?;
    if let Some(next) = next {
        return Ok(Reply::see_other(&next).with(header::REFERRER_POLICY, "no-referrer"));
    }
    let whose = connection.account.map(|account| format!(" as {account}")).unwrap_or_default();
    let what = format!("{} is connected{whose}. You can close this page.", connection.integration);
    Ok(show(StatusCode::OK, "Connected", vec![what], None))
}

fn limits() -> Reply {
    let what = "This server limits calls per minute and per day, connections and keys, as its \
                operator's plans say. Every answer carries the figures in its X-RateLimit headers; \
                a refusal says when to try again. Ask the operator for another plan.";
    show(StatusCode::OK, "Limits", vec![what.to_owned()], None)
}

/// The cookie that binds a sign-in to its browser. Its name keeps other hosts from setting it,
/// where that can be had: RFC 6265bis section 4.1.3.
fn cookie_name(public: &Url) -> &'static str {
    if public.scheme() == "https" { "__Host-skill-connect" } else { "skill-connect" }
}

fn cookie(public: &Url, value: &str) -> String {
    let secure = if public.scheme() == "https" { "; Secure" } else { "" };
    format!("{}={value}; Path=/; Max-Age=600; HttpOnly; SameSite=Lax{secure}", cookie_name(public))
}

/// Whether a request is for a page, so that its failures are pages too.
pub(crate) fn is_page(path: &str) -> bool {
    let is_one = matches!(path, "/oauth/callback" | "/limits" | "/auth/device");
    is_one || path.starts_with("/connect/")
}

/// Sends a browser that arrived under another name to the public one.
pub(crate) fn to_public(public: &Url, path: &str, query: &str) -> Reply {
    let base = public.as_str().trim_end_matches('/');
    let mark = if query.is_empty() { "" } else { "?" };
    Reply::see_other(&format!("{base}{path}{mark}{query}"))
}

/// What a query carries with which a browser was sent to the public name, so that it is sent once.
const SENT: &str = "sent=1";

/// The query of a browser that is sent to the public name.
pub(crate) fn sent(query: &str) -> String {
    let mark = if query.is_empty() { "" } else { "&" };
    format!("{query}{mark}{SENT}")
}

/// Whether a browser was sent to the public name before.
pub(crate) fn was_sent(query: &str) -> bool {
    query.split('&').any(|pair| pair == SENT)
}
