//! What can be heard of the executor's work.

use std::{fmt, time::Duration};

use crate::{
    error::ErrorKind,
    id::ConnectionId,
    name::Slug,
    record::{delivery::Next, execution::Execution},
};

/// Something that happened.
///
/// ```
/// use skill_core::executor::Event;
/// fn count(event: &Event<'_>) -> bool { matches!(event, Event::Ended(_)) }
/// ```
#[derive(Debug)]
pub enum Event<'a> {
    /// A run ended, well or not.
    Ended(&'a Execution),
    /// A run was queued.
    Submitted(&'a Execution),
    /// A worker took a run.
    Started {
        /// The run; its attempts count this one.
        run: &'a Execution,
        /// How long it could have been taken before.
        waited: Duration,
    },
    /// A run went back to the queue.
    GivenBack {
        /// The run.
        run: &'a Execution,
        /// Why.
        reason: &'static str,
    },
    /// A worker lost a run: somebody else ended it, or took it over.
    Lost(&'a Execution),
    /// A request is sent to an upstream for a second time.
    Repeated {
        /// The integration.
        integration: &'a Slug,
        /// Why.
        reason: &'static str,
    },
    /// An attempt to deliver a message to a subscriber ended.
    Delivery(Next),
    /// A service said that nothing is left of what it allows.
    UsedUp {
        /// The integration.
        integration: &'a Slug,
        /// The connection that was answered.
        connection: ConnectionId,
        /// How long it is until there is more.
        wait: Duration,
    },
    /// A call was not sent, because the service would only refuse it.
    HeldBack {
        /// The integration.
        integration: &'a Slug,
        /// The connection.
        connection: ConnectionId,
    },
    /// A grant was renewed, or could not be.
    Renewed {
        /// The integration.
        integration: &'a Slug,
        /// The connection.
        connection: ConnectionId,
        /// Why it could not be.
        error: Option<ErrorKind>,
    },
}

/// Hears what happens. It is called on the hot path: count and return.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Hears one event.
    fn hear(&self, event: &Event<'_>);
}

const _: Option<&dyn Observer> = None;

/// Hears nothing.
///
/// ```
/// use skill_core::executor::{Observer, Silent};
/// let observer: Box<dyn Observer> = Box::new(Silent);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {
    fn hear(&self, _event: &Event<'_>) {}
}
