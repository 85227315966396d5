//! The page where a person logs a program in: its code, what it asks for, and who says so.
//!
//! There are no accounts: a key says who acts. It is typed into a page of the server that made it,
//! and nothing keeps it.

use std::sync::LazyLock;

use http::{Method, StatusCode};
use serde_json::{Map, Value};
use skill_core::{
    Error, ErrorKind,
    access::{Admission, Authentication, Caller},
    credential::Field,
    login::{Asked, Word},
};
use url::Position;

use super::{Form, check_origin, form_members, show};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

const PATH: &str = "/auth/device";
const YES: &str = "Log it in";
const NO: &str = "Refuse it";

/// What is asked for before anything is known.
static CODE: LazyLock<[Field; 1]> = LazyLock::new(|| [Field::plain("user_code", "Code")]);
/// What is asked for once it is known what the program wants.
static ANSWER: LazyLock<[Field; 2]> = LazyLock::new(|| {
    let answer = Field::plain("answer", "Your answer").among([YES, NO]);
    [Field::secret("api_key", "Your API key"), answer]
});

pub(super) fn routes() -> [Route; 2] {
    let page = |id, summary| Operation::new(id, summary);
    [
        Route::new(
            Method::GET,
            PATH,
            Access::Page,
            page("device_page", "Ask for a program's code, or say what it asks for"),
            |cx| Box::pin(open(cx)),
        ),
        Route::new(
            Method::POST,
            PATH,
            Access::Page,
            page("device_go", "Take a program's code, or a person's answer"),
            |cx| Box::pin(go(cx)),
        ),
    ]
}

async fn open(cx: Context) -> Result<Reply, Failure> {
    let Some(code) = cx.query().text("user_code")? else {
        return Ok(ask_for_code(&cx, StatusCode::OK, None));
    };
    match cx.app.engine.logins().open(&code, cx.address).await {
        Ok(asked) => Ok(ask_for_answer(&cx, (&code, &asked), StatusCode::OK, None)),
        Err(error) => again(&cx, error),
    }
}

async fn go(cx: Context) -> Result<Reply, Failure> {
    check_origin(&cx)?;
    let members = form_members(&cx)?;
    let Some(code) = cx.query().text("user_code")? else {
        let page = cx.app.engine.pages().device_of(text(&members, "user_code"));
        return Ok(Reply::see_other(page.as_str()));
    };
    let logins = cx.app.engine.logins();
    let asked = match logins.open(&code, cx.address).await {
        Ok(asked) => asked,
        Err(error) => return again(&cx, error),
    };
    let word = match text(&members, "answer") {
        YES => Word::Yes,
        NO => Word::No,
        _ => {
            let problem = Error::invalid("say what the answer is");
            return unfit(&cx, (&code, &asked), problem);
        }
    };
    let caller = match caller(&cx, text(&members, "api_key")).await {
        Ok(caller) => caller,
        Err(error) => return unfit(&cx, (&code, &asked), error),
    };
    match logins.answer(&caller, (&code, word), cx.address).await {
        Ok(()) => Ok(done(&asked, word)),
        Err(error) => unfit(&cx, (&code, &asked), error),
    }
}

/// Who says so; it counts like any other request with that key.
async fn caller(cx: &Context, key: &str) -> Result<Caller, Error> {
    let keys = cx.app.engine.keys();
    let caller = match keys.authenticate(key, cx.address).await? {
        Authentication::Good(caller) => caller,
        Authentication::Bad(allowance) => {
            let message = "this is no valid API key";
            let wrong = || Error::new(ErrorKind::Unauthenticated, message);
            return Err(allowance.refusal().unwrap_or_else(wrong));
        }
    };
    match keys.admit(caller).await? {
        Admission::Admitted(admitted) => Ok(admitted.caller().clone()),
        Admission::Refused(allowance) => {
            Err(allowance.refusal().unwrap_or_else(|| Error::internal("no reason")))
        }
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> &'a str {
    members.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn ask_for_code(cx: &Context, status: StatusCode, problem: Option<String>) -> Reply {
    let mut paragraphs = problem.into_iter().collect::<Vec<_>>();
    paragraphs.push("Type in the code that the program shows.".to_owned());
    // The public URL may have a path, which a proxy takes away.
    let action = cx.app.engine.pages().device.path();
    let form = Form { action, button: "Continue", fields: &*CODE };
    show(status, "Log a program in", paragraphs, Some(form))
}

fn ask_for_answer(
    cx: &Context,
    (code, asked): (&str, &Asked),
    status: StatusCode,
    problem: Option<String>,
) -> Reply {
    let mut paragraphs = problem.into_iter().collect::<Vec<_>>();
    paragraphs.push(format!(
        "A program that calls itself “{}” shows the code {code}. Go on only if you started it and \
         see this code there.",
        asked.name
    ));
    paragraphs.push(match &asked.scopes {
        None => "It wants to know for whom it acts.".to_owned(),
        Some(scopes) => {
            format!("It wants an API key of yours, good for: {}.", scopes.texts().join(", "))
        }
    });
    let page = cx.app.engine.pages().device_of(code);
    let form = Form { action: &page[Position::BeforePath..], button: "Answer", fields: &*ANSWER };
    show(status, "Log a program in", paragraphs, Some(form))
}

/// The form for an answer once more, when that can help.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are no matter of what was typed in")]
fn unfit(cx: &Context, of: (&str, &Asked), error: Error) -> Result<Reply, Failure> {
    let status = match error.kind() {
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated | ErrorKind::ScopeMissing => StatusCode::FORBIDDEN,
        _ => return Err(error.into()),
    };
    Ok(ask_for_answer(cx, of, status, Some(format!("That did not work: {error}."))))
}

/// The form for a code once more, when the code was wrong.
fn again(cx: &Context, error: Error) -> Result<Reply, Failure> {
    if error.kind() != ErrorKind::NotFound {
        return Err(error.into());
    }
    let problem = Some(format!("That did not work: {error}."));
    Ok(ask_for_code(cx, StatusCode::NOT_FOUND, problem))
}

fn done(asked: &Asked, word: Word) -> Reply {
    let (title, what) = match word {
        Word::Yes => ("Logged in", "is logged in"),
        Word::No => ("Refused", "was refused"),
    };
    let what = format!("“{}” {what}. You can close this page.", asked.name);
    show(StatusCode::OK, title, vec![what], None)
}
