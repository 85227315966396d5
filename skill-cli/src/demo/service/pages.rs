//! The pages a person sees: the question for consent, and the refusal to ask it.

use std::fmt::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::StatusCode;
use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use sha2::{Digest as _, Sha256};

use super::grants::Scopes;
use super::reply::{self, Reply};

/// The style of both pages; the policy names it by its hash.
const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;background:#f6f7f9;color:#1c2330;margin:0}\
main{max-width:26rem;margin:12vh auto;background:#fff;border:1px solid #dfe3ea;\
border-radius:12px;padding:2rem}h1{font-size:1.25rem;margin:0 0 1rem}\
button{font:inherit;padding:.5rem 1.25rem;border-radius:8px;border:1px solid #b8c0cc;\
background:#fff;cursor:pointer;margin-right:.5rem}\
button[value=approve]{background:#1f6feb;border-color:#1f6feb;color:#fff}small{color:#5a6576}";

/// What the consent page shows.
pub(super) struct Question<'a> {
    /// Names this one question; the answer brings it back.
    pub(super) consent: &'a str,
    /// The application that asks.
    pub(super) client: &'a str,
    /// The person who is asked.
    pub(super) person: &'a str,
    /// What the application would be allowed.
    pub(super) scopes: &'a Scopes,
    /// Where the browser goes next.
    pub(super) redirect_uri: &'a str,
}

/// Returns the page that asks for consent.
pub(super) fn consent(question: &Question<'_>) -> Reply {
    let mut scopes = String::new();
    for scope in question.scopes.iter() {
        // Writing to a string cannot fail.
        let _ = write!(scopes, "<li><code>{}</code></li>", escape(scope));
    }
    let body = format!(
        "<h1>{client} wants to use Tracker as {person}</h1><p>It would be allowed:</p>\
         <ul>{scopes}</ul><form method=\"post\" action=\"/oauth/authorize\">\
         <input type=\"hidden\" name=\"consent\" value=\"{consent}\">\
         <button name=\"decision\" value=\"approve\">Approve</button>\
         <button name=\"decision\" value=\"deny\">Deny</button></form>\
         <p><small>Either answer returns you to {redirect_uri}</small></p>",
        client = escape(question.client),
        person = escape(question.person),
        consent = escape(question.consent),
        redirect_uri = escape(question.redirect_uri),
    );
    page(StatusCode::OK, "Approve access", &body)
}

/// Returns the page for a request that cannot be sent back to whoever made it.
pub(super) fn refusal(reason: &str) -> Reply {
    let body = format!(
        "<h1>This request cannot continue</h1><p>{}.</p>\
         <p><small>Tracker did not send you back, because it cannot know to whom.</small></p>",
        escape(reason)
    );
    page(StatusCode::BAD_REQUEST, "Request refused", &body)
}

/// Puts a body into a page that runs no script and shows in no frame.
///
/// The policy has no `form-action`: browsers apply it to every redirect after the form, and those
/// belong to the client.
fn page(status: StatusCode, title: &str, body: &str) -> Reply {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; frame-ancestors 'none'"
    );
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} - Tracker</title>\
         <style>{STYLE}</style></head><body><main>{body}</main></body></html>"
    );
    let reply = reply::html(status, text);
    let reply = reply::with(reply, CONTENT_SECURITY_POLICY, &policy);
    let reply = reply::with(reply, X_FRAME_OPTIONS, "DENY");
    let reply = reply::with(reply, X_CONTENT_TYPE_OPTIONS, "nosniff");
    reply::with(reply, REFERRER_POLICY, "no-referrer")
}

/// Returns text that HTML shows as it is, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
