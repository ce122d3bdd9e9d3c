//! Who may do what with which channel: the permission model of the client protocol (its section 18), in one place.
//!
//! Invariants: decides from settings, the session's user and tokens that were verified, and nothing else that a client says; an
//! unknown channel is unknown before anything is said of permission.

use roadstead_protocol::ErrorCode;

use crate::settings::Settings;
use crate::token::{SubscriptionClaims, TokenError};

/// What became of the token that came with a subscribe, if one came: it names this channel, this user and this client.
pub(super) type Shown<'c> = Option<Result<&'c SubscriptionClaims, TokenError>>;

/// Refuses a subscribe that no token and no user could make good.
pub(super) fn may_be_subscribed(settings: &Settings, channel: &str, kind: i32) -> Result<(), ErrorCode> {
    known(settings, channel)?;
    well_named(settings, channel)?;
    if kind == 0 { Ok(()) } else { Err(ErrorCode::PermissionDenied) }
}

/// Decides a subscribe to a channel for which [`may_be_subscribed`] found nothing against it. The first rule that says something
/// about it counts; a token counts more than any setting.
pub(super) fn may_subscribe(
    settings: &Settings,
    user: &str,
    channel: &str,
    token: Shown<'_>,
) -> Result<(), ErrorCode> {
    match token {
        Some(Ok(_)) => return Ok(()),
        Some(Err(TokenError::Expired)) => return Err(ErrorCode::TokenExpired),
        Some(Err(TokenError::Invalid(_))) => return Err(ErrorCode::PermissionDenied),
        None => {}
    }
    if channel.starts_with('$') {
        return Err(ErrorCode::PermissionDenied);
    }
    if settings.insecure {
        return Ok(());
    }
    if let Some((_, listed)) = channel.rsplit_once('#') {
        let is_listed = !user.is_empty() && listed.split(',').any(|name| name == user);
        return if is_listed { Ok(()) } else { Err(ErrorCode::PermissionDenied) };
    }
    let rules = &settings.channel;
    let allowed =
        rules.allow_subscribe_for_client && (!user.is_empty() || rules.allow_subscribe_for_anonymous);
    if allowed { Ok(()) } else { Err(ErrorCode::PermissionDenied) }
}

/// Who may publish to a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Publishers {
    /// Every client.
    All,
    /// Whoever subscribes to it.
    Subscribers,
}

/// Decides a publish, as far as that can be done without the channel's subscribers.
pub(super) fn may_publish(settings: &Settings, channel: &str) -> Result<Publishers, ErrorCode> {
    known(settings, channel)?;
    let rules = &settings.channel;
    if settings.insecure || rules.allow_publish_for_client {
        return Ok(Publishers::All);
    }
    if rules.allow_publish_for_subscriber {
        return Ok(Publishers::Subscribers);
    }
    Err(ErrorCode::PermissionDenied)
}

/// Whether a channel can have this name at all.
pub(super) fn well_named(settings: &Settings, channel: &str) -> Result<(), ErrorCode> {
    let fits = channel.len() <= settings.limits.channel_bytes as usize && channel.is_ascii();
    if fits { Ok(()) } else { Err(ErrorCode::BadRequest) }
}

/// No namespace can be configured yet, so a channel of one is unknown, but in development mode.
fn known(settings: &Settings, channel: &str) -> Result<(), ErrorCode> {
    let is_known = settings.insecure || !channel.contains(':');
    if is_known { Ok(()) } else { Err(ErrorCode::UnknownChannel) }
}
