//! How a run failed, as an error that every dialect can show.

use skill_core::{
    Error, ErrorKind,
    call::{Data, Outcome},
    error::Retry,
    queue::Run,
    record::execution::State,
};

/// The most bytes of an upstream's answer that an error shows.
const SHOWN: usize = 4096;

/// Why a run failed; `None` when it did not, or not yet.
pub(crate) fn of(run: &Run) -> Option<Error> {
    if run.execution.state != State::Error {
        return None;
    }
    Some(match &run.outcome {
        Some(Outcome::Failed(failure)) => failure.error(),
        Some(Outcome::Answer { status, data }) => answered(status.as_u16(), Some(data)),
        None => match (run.execution.error, run.execution.upstream_status) {
            (None, Some(status)) => answered(status, None),
            (kind, _) => {
                let message = "the run ended in an error that was not kept";
                Error::new(kind.unwrap_or(ErrorKind::ActionFailed), message)
            }
        },
    })
}

/// The service answered with an error of its own.
fn answered(status: u16, data: Option<&Data>) -> Error {
    let message = format!("the service answered with status {status}");
    let error =
        Error::new(ErrorKind::ActionFailed, message).detail("upstream_status", status.to_string());
    // These are definite refusals for now: nothing happened.
    let error = if matches!(status, 429 | 503) { error.retry(Retry::Safe) } else { error };
    match data {
        None | Some(Data::Empty | Data::Binary { .. }) => error,
        Some(Data::Text(text)) => error.detail("upstream_body", cut(text)),
        Some(Data::Json(bytes)) => {
            error.detail("upstream_body", cut(&String::from_utf8_lossy(bytes)))
        }
    }
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(SHOWN);
    if end == text.len() { text.to_owned() } else { format!("{}…", &text[..end]) }
}
