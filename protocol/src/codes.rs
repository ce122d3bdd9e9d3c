//! The numbers a client understands, with the exact texts that go with them: errors, unsubscribes, disconnects.
//!
//! No text is empty and none reads as JSON: SDKs index an empty one and parse advice out of the other.

use crate::limits::CLOSE_REASON_BYTES_MAX;

/// Why a command failed; sent as the reply's `error`.
///
/// A non-temporary error on `connect` makes SDKs give up until their app connects again by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ErrorCode {
    /// A failure of the server; temporary.
    Internal = 100,
    /// The client may not do this at all.
    Unauthorized = 101,
    /// The channel's namespace is not configured.
    UnknownChannel = 102,
    /// The client may not do this on this channel.
    PermissionDenied = 103,
    /// No handler knows this method.
    MethodNotFound = 104,
    /// The client has this subscription, or one in flight.
    AlreadySubscribed = 105,
    /// Too many channels on one connection.
    LimitExceeded = 106,
    /// A request that cannot be served as it is written.
    BadRequest = 107,
    /// The feature is off, for the server or for the channel.
    NotAvailable = 108,
    /// The token expired; SDKs fetch a new one and come back.
    TokenExpired = 109,
    /// What the token admits to has expired.
    Expired = 110,
    /// The server sheds load; temporary.
    TooManyRequests = 111,
    /// Recovery from this position is impossible.
    UnrecoverablePosition = 112,
    /// The state changed under a paginated read; temporary.
    ConcurrentPagination = 113,
}

impl ErrorCode {
    /// Every code, ascending.
    pub const ALL: [Self; 14] = [
        Self::Internal,
        Self::Unauthorized,
        Self::UnknownChannel,
        Self::PermissionDenied,
        Self::MethodNotFound,
        Self::AlreadySubscribed,
        Self::LimitExceeded,
        Self::BadRequest,
        Self::NotAvailable,
        Self::TokenExpired,
        Self::Expired,
        Self::TooManyRequests,
        Self::UnrecoverablePosition,
        Self::ConcurrentPagination,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The text on the wire.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Internal => "internal server error",
            Self::Unauthorized => "unauthorized",
            Self::UnknownChannel => "unknown channel",
            Self::PermissionDenied => "permission denied",
            Self::MethodNotFound => "method not found",
            Self::AlreadySubscribed => "already subscribed",
            Self::LimitExceeded => "limit exceeded",
            Self::BadRequest => "bad request",
            Self::NotAvailable => "not available",
            Self::TokenExpired => "token expired",
            Self::Expired => "expired",
            Self::TooManyRequests => "too many requests",
            Self::UnrecoverablePosition => "unrecoverable position",
            Self::ConcurrentPagination => "concurrent pagination",
        }
    }

    /// Whether the same request may succeed later; SDKs then retry with back-off.
    pub const fn temporary(self) -> bool {
        matches!(self, Self::Internal | Self::TooManyRequests | Self::ConcurrentPagination)
    }
}

/// Why the server took a subscription away; sent as an `unsubscribe` push, after the subscription is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum UnsubscribeCode {
    /// By order of the server; final for the client.
    Server = 2000,
    /// The position was lost; the client subscribes again at once and recovers.
    InsufficientState = 2500,
    /// The subscription's time is over; the client subscribes again at once.
    Expired = 2501,
    /// The client drops its token and position, and subscribes again at once.
    StateInvalidated = 2502,
}

impl UnsubscribeCode {
    /// Every code, ascending.
    pub const ALL: [Self; 4] = [Self::Server, Self::InsufficientState, Self::Expired, Self::StateInvalidated];

    /// The number on the wire.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The text on the wire.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Server => "server unsubscribe",
            Self::InsufficientState => "insufficient state",
            Self::Expired => "subscription expired",
            Self::StateInvalidated => "state invalidated",
        }
    }
}

/// Why the server closed the connection; the code and reason of the close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum DisconnectCode {
    /// Closed without advice.
    ConnectionClosed = 3000,
    /// The node is going away.
    Shutdown = 3001,
    /// A failure of the server.
    Internal = 3004,
    /// The connection token's time is over.
    Expired = 3005,
    /// A server-side subscription's time is over.
    SubscriptionExpired = 3006,
    /// The client does not read as fast as it is sent to.
    Slow = 3008,
    /// Writing failed.
    WriteError = 3009,
    /// A position was lost; the client comes back and recovers.
    InsufficientState = 3010,
    /// The server wants the client elsewhere.
    ForceReconnect = 3011,
    /// A ping was not answered in time.
    NoPong = 3012,
    /// The server sheds load.
    TooManyRequests = 3013,
    /// The client drops its tokens and positions and comes back.
    StateInvalidated = 3014,
    /// The token is not one of ours.
    InvalidToken = 3500,
    /// The client broke the protocol.
    BadRequest = 3501,
    /// No connect command in time.
    Stale = 3502,
    /// By order of the server.
    ForceDisconnect = 3503,
    /// The user has too many connections.
    ConnectionLimit = 3504,
    /// The user would have too many server-side subscriptions.
    ChannelLimit = 3505,
    /// A payload this encoding cannot carry.
    InappropriateProtocol = 3506,
    /// The client may not connect.
    PermissionDenied = 3507,
    /// The feature is off.
    NotAvailable = 3508,
    /// The client caused too many errors.
    TooManyErrors = 3509,
}

impl DisconnectCode {
    /// Every code, ascending.
    pub const ALL: [Self; 22] = [
        Self::ConnectionClosed,
        Self::Shutdown,
        Self::Internal,
        Self::Expired,
        Self::SubscriptionExpired,
        Self::Slow,
        Self::WriteError,
        Self::InsufficientState,
        Self::ForceReconnect,
        Self::NoPong,
        Self::TooManyRequests,
        Self::StateInvalidated,
        Self::InvalidToken,
        Self::BadRequest,
        Self::Stale,
        Self::ForceDisconnect,
        Self::ConnectionLimit,
        Self::ChannelLimit,
        Self::InappropriateProtocol,
        Self::PermissionDenied,
        Self::NotAvailable,
        Self::TooManyErrors,
    ];

    /// The close frame's code.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The close frame's reason: never empty, since centrifuge-js reconnects for ever after a terminal code
    /// without one.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ConnectionClosed => "connection closed",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal server error",
            Self::Expired => "connection expired",
            Self::SubscriptionExpired => "subscription expired",
            Self::Slow => "slow",
            Self::WriteError => "write error",
            Self::InsufficientState => "insufficient state",
            Self::ForceReconnect => "force reconnect",
            Self::NoPong => "no pong",
            Self::TooManyRequests => "too many requests",
            Self::StateInvalidated => "state invalidated",
            Self::InvalidToken => "invalid token",
            Self::BadRequest => "bad request",
            Self::Stale => "stale",
            Self::ForceDisconnect => "force disconnect",
            Self::ConnectionLimit => "connection limit",
            Self::ChannelLimit => "channel limit",
            Self::InappropriateProtocol => "inappropriate protocol",
            Self::PermissionDenied => "permission denied",
            Self::NotAvailable => "not available",
            Self::TooManyErrors => "too many errors",
        }
    }

    /// Whether SDKs come back by themselves; after the others they wait for their app.
    pub const fn reconnects(self) -> bool {
        self.code() < 3500
    }

    /// Whether what is queued for the client is still sent before the close: not where it is gone or slow.
    pub const fn flushes(self) -> bool {
        !matches!(self, Self::ConnectionClosed | Self::Slow)
    }
}

const fn is_lower_words(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_lowercase() && bytes[at] != b' ' {
            return false;
        }
        at += 1;
    }
    // Lower-case words other than the JSON literals, of which none is used, never parse as JSON.
    !bytes.is_empty() && bytes.len() <= CLOSE_REASON_BYTES_MAX
}

const _: () = {
    let mut at = 0;
    while at < DisconnectCode::ALL.len() {
        assert!(is_lower_words(DisconnectCode::ALL[at].reason()));
        at += 1;
    }
    at = 0;
    while at < UnsubscribeCode::ALL.len() {
        assert!(is_lower_words(UnsubscribeCode::ALL[at].reason()));
        assert!(UnsubscribeCode::ALL[at].code() >= 2000);
        at += 1;
    }
    at = 0;
    while at < ErrorCode::ALL.len() {
        assert!(is_lower_words(ErrorCode::ALL[at].message()));
        at += 1;
    }
};
