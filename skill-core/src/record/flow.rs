//! Flows: one attempt of a person to connect an account, from the link to the provider's answer.

use jiff::Timestamp;

use crate::{
    id::FlowId,
    name::Slug,
    record::{Sealed, connection::ConnectionRef},
};

/// The SHA-256 of a token that a browser carries: all that is stored of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// What the provider was asked, kept until it answers. Single-use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The hash of the `state` that went to the provider.
    pub state: TokenHash,
    /// The hash of the cookie of the browser that left.
    pub browser: TokenHash,
    /// The PKCE verifier, sealed.
    pub verifier: Sealed,
    /// The issuer that must answer (RFC 9207), when the integration names one.
    pub issuer: Option<String>,
    /// When the state ends.
    pub expires_at: Timestamp,
}

/// One attempt to connect: a link that opens a page, and then at most one departure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Its name in the store.
    pub id: FlowId,
    /// The connection that it makes or mends.
    pub connection: ConnectionRef,
    /// The integration.
    pub integration: Slug,
    /// What will be asked for beyond or instead of the integration's own scopes.
    pub scopes: Vec<String>,
    /// The hash of the link's token.
    pub link: TokenHash,
    /// When the link ends.
    pub expires_at: Timestamp,
    /// Where the person is sent afterwards, from the owner's allow list.
    pub return_url: Option<String>,
}
