//! Identifiers: a prefix, 48 bits of time and 128 random bits, so that they sort by age and
//! cannot be guessed. Together with key generation the only reader of randomness.

#[cfg(any(test, feature = "test-suite"))]
pub mod seeded;

use std::fmt;

use jiff::Timestamp;

use crate::error::{Error, Result};

const BYTES: usize = 22;
const TEXT: usize = 36;

/// Fills an array with bytes from the operating system's generator.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the system has no randomness to give.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    #[cfg(any(test, feature = "test-suite"))]
    if seeded::fill(&mut bytes) {
        return Ok(bytes);
    }
    getrandom::fill(&mut bytes)
        .map_err(|cause| Error::internal("no randomness").with("cause", cause))?;
    Ok(bytes)
}

/// The shared part of every identifier: what stands after the prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Raw([u8; BYTES]);

impl Raw {
    /// Returns a fresh identifier made at `at`.
    ///
    /// # Errors
    /// As [`random`].
    pub fn fresh(at: Timestamp) -> Result<Self> {
        let mut bytes = [0; BYTES];
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0).to_be_bytes();
        bytes[..6].copy_from_slice(&millis[2..]);
        bytes[6..].copy_from_slice(&random::<16>()?);
        Ok(Self(bytes))
    }

    /// When it was made, to the millisecond.
    pub fn made_at(self) -> Timestamp {
        let millis = self.0[..6].iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte));
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// Reads the 36 characters that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let upper = text.to_ascii_uppercase();
        let bytes = data_encoding::BASE32HEX_NOPAD.decode(upper.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TEXT];
        data_encoding::BASE32HEX_NOPAD.encode_mut(&self.0, &mut text);
        text.make_ascii_lowercase();
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes one identifier type: `id!("docs", Name, "prefix_")`.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Raw);

        impl $name {
            /// What every identifier of this type begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Returns a fresh identifier made at `at`.
            ///
            /// # Errors
            /// As [`random`].
            pub fn fresh(at: Timestamp) -> Result<Self> {
                Raw::fresh(at).map(Self)
            }

            /// Reads an identifier; `None` when the text is not one.
            pub fn parse(text: &str) -> Option<Self> {
                Raw::parse(text.strip_prefix($prefix)?).map(Self)
            }

            /// The part after the prefix, which other spellings of the same thing share.
            pub fn raw(self) -> Raw {
                self.0
            }

            /// Returns the identifier of this type around `raw`.
            pub fn from_raw(raw: Raw) -> Self {
                Self(raw)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// Names a connection.
    ///
    /// ```
    /// use skill_core::id::ConnectionId;
    /// let id = ConnectionId::fresh(jiff::Timestamp::UNIX_EPOCH)?;
    /// assert_eq!(ConnectionId::parse(&id.to_string()), Some(id));
    /// # Ok::<(), skill_core::Error>(())
    /// ```
    ConnectionId, "conn_"
);
id!(
    /// Names an API key. Not the key itself.
    ///
    /// ```
    /// assert_eq!(skill_core::id::KeyId::PREFIX, "key_");
    /// ```
    KeyId, "key_"
);
id!(
    /// Names one run of an action; `job_` and `conv_` are other spellings of its raw part.
    ///
    /// ```
    /// assert_eq!(skill_core::id::ExecutionId::PREFIX, "exec_");
    /// ```
    ExecutionId, "exec_"
);
id!(
    /// Names a large result that is kept apart from its run's record.
    ///
    /// ```
    /// assert_eq!(skill_core::id::ArtifactId::PREFIX, "art_");
    /// ```
    ArtifactId, "art_"
);
id!(
    /// Names an OAuth client.
    ///
    /// ```
    /// assert_eq!(skill_core::id::AppId::PREFIX, "app_");
    /// ```
    AppId, "app_"
);
id!(
    /// Names one attempt of a person to connect an account.
    ///
    /// ```
    /// assert_eq!(skill_core::id::FlowId::PREFIX, "flow_");
    /// ```
    FlowId, "flow_"
);
id!(
    /// Names a subscription to events.
    ///
    /// ```
    /// assert_eq!(skill_core::id::WebhookId::PREFIX, "hook_");
    /// ```
    WebhookId, "hook_"
);
id!(
    /// Names one message to a subscriber, in every attempt to deliver it.
    ///
    /// ```
    /// assert_eq!(skill_core::id::DeliveryId::PREFIX, "msg_");
    /// ```
    DeliveryId, "msg_"
);
id!(
    /// Names a schedule.
    ///
    /// ```
    /// assert_eq!(skill_core::id::ScheduleId::PREFIX, "sched_");
    /// ```
    ScheduleId, "sched_"
);
id!(
    /// Names an address whose requests make runs. Not the address itself.
    ///
    /// ```
    /// assert_eq!(skill_core::id::TriggerId::PREFIX, "trig_");
    /// ```
    TriggerId, "trig_"
);
id!(
    /// Names something that an agent keeps in mind.
    ///
    /// ```
    /// assert_eq!(skill_core::id::MemoryId::PREFIX, "mem_");
    /// ```
    MemoryId, "mem_"
);
id!(
    /// Names one request to the server, in answers and in logs.
    ///
    /// ```
    /// assert_eq!(skill_core::id::RequestId::PREFIX, "req_");
    /// ```
    RequestId, "req_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_age() {
        let early = ExecutionId::fresh(Timestamp::from_millisecond(1).unwrap()).unwrap();
        let late = ExecutionId::fresh(Timestamp::from_millisecond(2).unwrap()).unwrap();
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn an_id_reads_back_as_itself_and_nothing_else_does() {
        let id = KeyId::fresh(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        for wrong in ["", "key_", "key_0", "conn_000000000000000000000000000000000000"] {
            assert_eq!(KeyId::parse(wrong), None, "{wrong}");
        }
        assert_eq!(KeyId::parse(&id.to_string().to_uppercase()), None);
    }
}
