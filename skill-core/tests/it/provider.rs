//! A provider and its service that keep book: tokens rotate, and a token used twice ends it all.

use std::sync::{Arc, Mutex};

use skill_core::{Result, transport::Response};

use super::script::{Script, Sent, json, me};

#[derive(Debug)]
struct Book {
    access: String,
    refresh: Option<String>,
    refreshes: u32,
    is_lenient: bool,
    expires_in: Option<u64>,
}

/// Where `desk` lives and who signs for it.
#[derive(Debug, Clone)]
pub(crate) struct Provider(Arc<Mutex<Book>>);

impl Provider {
    /// Answers for `script`. The grant of the fixture renews, and its access has ended.
    pub(crate) fn behind(script: &Script) -> Self {
        let book = Book {
            access: "access-1".into(),
            refresh: Some("refresh-0".into()),
            refreshes: 0,
            is_lenient: false,
            expires_in: None,
        };
        let provider = Self(Arc::new(Mutex::new(book)));
        let answering = provider.clone();
        script.on(move |sent| answering.answer(sent));
        provider
    }

    /// What it answers to a request.
    pub(crate) fn answer(&self, sent: &Sent) -> Result<Response> {
        match sent.place().as_str() {
            "auth.test/token" => self.token(sent),
            "auth.test/revoke" => json(200, "{}"),
            _ => self.serve(sent),
        }
    }

    fn serve(&self, sent: &Sent) -> Result<Response> {
        let is_good = {
            let book = self.0.lock().unwrap();
            sent.header("authorization") == Some(&format!("Bearer {}", book.access))
        };
        match (is_good, sent.url.path()) {
            (true, "/me") => me(),
            (true, _) => json(200, r#"{"ok":true}"#),
            (false, _) => json(401, r#"{"message":"bad token"}"#),
        }
    }

    fn token(&self, sent: &Sent) -> Result<Response> {
        let mut book = self.0.lock().unwrap();
        if sent.field("grant_type").as_deref() == Some("authorization_code") {
            book.refresh = Some("refresh-anew".into());
            book.access = "access-anew".into();
            return json(
                200,
                r#"{"access_token":"access-anew","refresh_token":"refresh-anew","scope":"read"}"#,
            );
        }
        book.refreshes += 1;
        if book.refresh.is_none() || sent.field("refresh_token") != book.refresh {
            // A token that was used before ends the whole grant.
            (book.refresh, book.access) = (None, "nothing".into());
            return json(400, r#"{"error":"invalid_grant"}"#);
        }
        let n = book.refreshes;
        book.access = format!("access-{n}");
        let mut answer = serde_json::json!({"access_token": book.access});
        if !book.is_lenient {
            let refresh = format!("refresh-{n}");
            answer["refresh_token"] = refresh.clone().into();
            book.refresh = Some(refresh);
        }
        if let Some(seconds) = book.expires_in {
            answer["expires_in"] = seconds.into();
        }
        json(200, &answer.to_string())
    }

    /// The present access ends.
    pub(crate) fn end_access(&self) {
        self.0.lock().unwrap().access = "ended".into();
    }

    /// The person takes the grant back.
    pub(crate) fn end_grant(&self) {
        let mut book = self.0.lock().unwrap();
        (book.refresh, book.access) = (None, "ended".into());
    }

    /// Keeps its refresh token instead of rotating it.
    pub(crate) fn keeps_refresh(&self) {
        self.0.lock().unwrap().is_lenient = true;
    }

    /// Says how long an access lives.
    pub(crate) fn expires_in(&self, seconds: u64) {
        self.0.lock().unwrap().expires_in = Some(seconds);
    }

    /// How often it was asked for a new access.
    pub(crate) fn refreshes(&self) -> u32 {
        self.0.lock().unwrap().refreshes
    }
}
