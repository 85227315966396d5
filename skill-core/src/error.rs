//! The one error type: sorted by what the caller can do, carrying whether a repeat is safe.

use std::{borrow::Cow, fmt, time::Duration};

/// What the crate's fallible functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, sorted by what the caller can do about it.
///
/// Exhaustive on purpose: a kind added here does not compile until every dialect maps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input breaks the action's schema or a rule of the request.
    InvalidInput,
    /// No key, or one that is unknown, revoked or expired.
    Unauthenticated,
    /// The key lacks the scope that the action needs.
    ScopeMissing,
    /// The owner has no usable connection to the integration.
    NotConnected,
    /// The connection's grant is dead and could not be renewed: a person must reconnect.
    TokenExpired,
    /// The owner's plan does not allow one more of this.
    PlanLimit,
    /// It does not exist, or belongs to another owner: the two cannot be told apart.
    NotFound,
    /// It is in a state that does not allow this, for example still running.
    Conflict,
    /// The idempotency key was used before with other inputs.
    IdempotencyMismatch,
    /// Several connections fit and the call names none.
    ChooseConnection,
    /// More calls than the key, action or connection allows per minute.
    RateLimited,
    /// More calls than the plan allows per day.
    DailyLimit,
    /// The input or a stored value is larger than its bound.
    TooLarge,
    /// The upstream's answer is too large, malformed or otherwise unusable.
    UpstreamInvalid,
    /// The upstream could not be reached.
    UpstreamUnreachable,
    /// The deadline passed.
    Timeout,
    /// The request was cut after bytes had gone out, and it is not safe to repeat.
    OutcomeUnknown,
    /// The action itself ended in an error.
    ActionFailed,
    /// The program or service a skill needs is not installed.
    ToolUnavailable,
    /// A person has to approve the call first.
    ApprovalRequired,
    /// Stopping, full, or the storage does not answer: try again later.
    Unavailable,
    /// A bug of ours, or a stored record that cannot be trusted.
    Internal,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 22] = [
        Self::InvalidInput,
        Self::Unauthenticated,
        Self::ScopeMissing,
        Self::NotConnected,
        Self::TokenExpired,
        Self::PlanLimit,
        Self::NotFound,
        Self::Conflict,
        Self::IdempotencyMismatch,
        Self::ChooseConnection,
        Self::RateLimited,
        Self::DailyLimit,
        Self::TooLarge,
        Self::UpstreamInvalid,
        Self::UpstreamUnreachable,
        Self::Timeout,
        Self::OutcomeUnknown,
        Self::ActionFailed,
        Self::ToolUnavailable,
        Self::ApprovalRequired,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The name under which records, logs and metrics keep the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::Unauthenticated => "unauthenticated",
            Self::ScopeMissing => "scope_missing",
            Self::NotConnected => "not_connected",
            Self::TokenExpired => "token_expired",
            Self::PlanLimit => "plan_limit",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::ChooseConnection => "choose_connection",
            Self::RateLimited => "rate_limited",
            Self::DailyLimit => "daily_limit",
            Self::TooLarge => "too_large",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::Timeout => "timeout",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::ActionFailed => "action_failed",
            Self::ToolUnavailable => "tool_unavailable",
            Self::ApprovalRequired => "approval_required",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// Reads what [`ErrorKind::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Whether the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    /// Repeating cannot help.
    #[default]
    Never,
    /// Nothing was sent, or the refusal was definite: repeating cannot double an effect.
    Safe,
    /// Something may have happened: only an idempotent request may be sent again.
    IfIdempotent,
    /// It was repeated already. An outer loop leaves it alone, so that attempts never multiply.
    Exhausted,
}

/// One field of the input and what is wrong with it.
///
/// ```
/// use skill_core::error::Detail;
/// let detail = Detail::new("title", "expected a string, got a number");
/// assert_eq!(detail.field, "title");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// The path of the field, with dots between levels.
    pub field: String,
    /// What was expected and what came, without the value.
    pub issue: String,
}

impl Detail {
    /// Returns a detail about `field`.
    pub fn new(field: impl Into<String>, issue: impl Into<String>) -> Self {
        Self { field: field.into(), issue: issue.into() }
    }
}

/// An error with a message for the caller and facts for the log.
///
/// The message never holds a secret, a body, a URL query, a path or an address. What only the
/// operator may see goes to [`Error::with`] and [`Error::caused_by`].
///
/// ```
/// use skill_core::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::NotFound, "no connection with this id");
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.to_string(), "no connection with this id");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    retry: Retry,
    retry_after: Option<Duration>,
    details: Vec<Detail>,
    action_url: Option<String>,
    execution: Option<String>,
    is_replay: bool,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Returns an error whose `message` the caller may read.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            retry: Retry::default(),
            retry_after: None,
            details: Vec::new(),
            action_url: None,
            execution: None,
            is_replay: false,
            context: Vec::new(),
            source: None,
        }))
    }

    /// Returns an [`ErrorKind::InvalidInput`].
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Returns an [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Returns an [`ErrorKind::Internal`]: the caller sees no more than that, the log `what`.
    pub fn internal(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Internal, "the engine met an unexpected condition").with("what", what)
    }

    /// Says whether the request may be repeated.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Says after how long a repeat makes sense.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Adds what is wrong with one field.
    #[must_use]
    pub fn detail(mut self, field: impl Into<String>, issue: impl Into<String>) -> Self {
        self.0.details.push(Detail::new(field, issue));
        self
    }

    /// Adds what is wrong with several fields.
    #[must_use]
    pub fn details(mut self, details: impl IntoIterator<Item = Detail>) -> Self {
        self.0.details.extend(details);
        self
    }

    /// Adds the page where a person can mend it.
    #[must_use]
    pub fn action_url(mut self, url: impl Into<String>) -> Self {
        self.0.action_url = Some(url.into());
        self
    }

    /// Adds the run that this is the outcome of, unless an inner one is named already.
    #[must_use]
    pub fn of_run(mut self, id: impl fmt::Display) -> Self {
        self.0.execution.get_or_insert_with(|| id.to_string());
        self
    }

    /// Says that this is the outcome of an earlier request with the same idempotency key.
    #[must_use]
    pub fn replayed(mut self) -> Self {
        self.0.is_replay = true;
        self
    }

    /// Adds a fact for the log; the caller never sees it.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Adds the error underneath; the caller never sees it.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message for the caller.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the request may be repeated.
    pub fn retry_state(&self) -> Retry {
        self.0.retry
    }

    /// After how long a repeat makes sense.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What is wrong, field by field.
    pub fn field_details(&self) -> &[Detail] {
        &self.0.details
    }

    /// The page where a person can mend it.
    pub fn action_page(&self) -> Option<&str> {
        self.0.action_url.as_deref()
    }

    /// The run that this is the outcome of, as `exec_…`.
    pub fn execution(&self) -> Option<&str> {
        self.0.execution.as_deref()
    }

    /// Whether this is the outcome of an earlier request with the same idempotency key.
    pub fn is_replay(&self) -> bool {
        self.0.is_replay
    }

    /// Whether another attempt by the caller can help at all.
    pub fn is_retryable(&self) -> bool {
        match self.0.kind {
            ErrorKind::RateLimited
            | ErrorKind::DailyLimit
            | ErrorKind::UpstreamUnreachable
            | ErrorKind::Unavailable => true,
            ErrorKind::Timeout | ErrorKind::ActionFailed => self.0.retry == Retry::Safe,
            ErrorKind::InvalidInput
            | ErrorKind::Unauthenticated
            | ErrorKind::ScopeMissing
            | ErrorKind::NotConnected
            | ErrorKind::TokenExpired
            | ErrorKind::PlanLimit
            | ErrorKind::NotFound
            | ErrorKind::Conflict
            | ErrorKind::IdempotencyMismatch
            | ErrorKind::ChooseConnection
            | ErrorKind::TooLarge
            | ErrorKind::UpstreamInvalid
            | ErrorKind::OutcomeUnknown
            | ErrorKind::ToolUnavailable
            | ErrorKind::ApprovalRequired
            | ErrorKind::Internal => false,
        }
    }

    /// The log's view: kind, message, facts and the chain of causes in one line.
    pub fn log_line(&self) -> String {
        let mut line = format!("{:?}: {}", self.0.kind, self.0.message);
        for (key, value) in &self.0.context {
            line.push_str(&format!(" {key}={value:?}"));
        }
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            line.push_str(&format!(" <- {cause}"));
            source = cause.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.log_line())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn facts_for_the_log_stay_out_of_the_message() {
        let error = Error::internal("row 7 is damaged");
        assert!(!error.to_string().contains("row 7"));
        assert!(error.log_line().contains("row 7"));
    }
}
