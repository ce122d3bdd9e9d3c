//! The negotiation of permessage-deflate (RFC 7692 sections 5 and 7.1), for both roles.
//!
//! Invariants: an offer with a parameter that is unknown, double or out of range is passed over, as if it had not been
//! made; an answer with one ends the connection; nothing is agreed to that was not offered.

use std::fmt;

use super::{WINDOW_BITS, WINDOW_BITS_MAX};
use crate::handshake::Extension;

/// The name of the extension.
pub const NAME: &str = "permessage-deflate";

/// What a server has agreed to: the parameters of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The server's messages do not lean on earlier ones.
    pub server_no_context_takeover: bool,
    /// The client's messages must not lean on earlier ones.
    pub client_no_context_takeover: bool,
    /// How far the server's messages reach back, as an exponent; `None`: as far as can be.
    pub server_max_window_bits: Option<u8>,
    /// How far the client's messages may reach back, as an exponent; `None`: as far as can be.
    pub client_max_window_bits: Option<u8>,
}

impl Agreement {
    /// The exponent of the window for the server's messages.
    #[must_use]
    pub fn server_window_bits(&self) -> u8 {
        self.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX)
    }

    /// The exponent of the window for the client's messages.
    #[must_use]
    pub fn client_window_bits(&self) -> u8 {
        self.client_max_window_bits.unwrap_or(WINDOW_BITS_MAX)
    }
}

/// The value of the answer's header.
impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Offer {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: self.server_max_window_bits,
            client_max_window_bits: self.client_max_window_bits.map(Some),
        }
        .fmt(f)
    }
}

/// What a client asks for, and what it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Asks that the server's messages do not lean on earlier ones.
    pub server_no_context_takeover: bool,
    /// Says that the client's messages will not.
    pub client_no_context_takeover: bool,
    /// Asks that the server's messages reach back no farther than this, as an exponent.
    pub server_max_window_bits: Option<u8>,
    /// Says that the client's messages can be kept from reaching back too far, and how far they would in any case.
    pub client_max_window_bits: Option<Option<u8>>,
}

impl Offer {
    /// `None`: a parameter is unknown, stands twice, or has a value that it cannot have.
    fn read(extension: &Extension<'_>) -> Option<Self> {
        let mut offer = Self::default();
        for param in extension.params() {
            let is_first = match param {
                ("server_no_context_takeover", None) => {
                    !std::mem::replace(&mut offer.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    !std::mem::replace(&mut offer.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(value)) => {
                    offer.server_max_window_bits.replace(read_bits(value)?).is_none()
                }
                ("client_max_window_bits", value) => {
                    let bits = value.map(read_bits);
                    let said = if let Some(bits) = bits { Some(bits?) } else { None };
                    offer.client_max_window_bits.replace(said).is_none()
                }
                _ => return None,
            };
            if !is_first {
                return None;
            }
        }
        Some(offer)
    }

    /// What the server agreed to by the extensions of its answer; `None`: to none.
    ///
    /// # Errors
    /// It agreed to something that was not offered.
    pub(crate) fn agreed<'a>(
        &self,
        mut answer: impl Iterator<Item = Extension<'a>>,
    ) -> Result<Option<Agreement>, Unoffered> {
        let Some(extension) = answer.next() else { return Ok(None) };
        if extension.name != NAME || answer.next().is_some() {
            return Err(Unoffered);
        }
        let said = Self::read(&extension).ok_or(Unoffered)?;
        // What was asked for must be there, and be kept (sections 7.1.1.1 and 7.1.2.1).
        let keeps_context = self.server_no_context_takeover && !said.server_no_context_takeover;
        let asked_bits = self.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
        let reaches_too_far = self.server_max_window_bits.is_some() && said.server_max_window_bits.is_none()
            || said.server_max_window_bits.is_some_and(|bits| bits > asked_bits);
        if keeps_context || reaches_too_far {
            return Err(Unoffered);
        }
        let client_max_window_bits = match (self.client_max_window_bits, said.client_max_window_bits) {
            (_, None) => None,
            (Some(most), Some(Some(bits))) if bits <= most.unwrap_or(WINDOW_BITS_MAX) => Some(bits),
            _ => return Err(Unoffered),
        };
        Ok(Some(Agreement {
            server_no_context_takeover: said.server_no_context_takeover,
            client_no_context_takeover: said.client_no_context_takeover,
            server_max_window_bits: said.server_max_window_bits,
            client_max_window_bits,
        }))
    }
}

/// The value of the request's header.
impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_max_window_bits {
            Some(Some(bits)) => write!(f, "; client_max_window_bits={bits}"),
            Some(None) => f.write_str("; client_max_window_bits"),
            None => Ok(()),
        }
    }
}

/// An answer that does not fit the offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unoffered;

/// Picks the first offer that this crate can keep, and answers it. The server's messages never lean on earlier ones.
/// `client_window_bits` is how large a [`super::Window`] the client may have; `None`: it may have none, and its messages
/// must not lean on earlier ones either.
///
/// `None`: there is no such offer, or none at all.
pub fn accept<'a>(
    offers: impl Iterator<Item = Extension<'a>>,
    client_window_bits: Option<u8>,
) -> Option<Agreement> {
    offers.filter(|extension| extension.name == NAME).find_map(|extension| {
        let offer = Offer::read(&extension)?;
        let said_bits = offer.client_max_window_bits.map(|bits| bits.unwrap_or(WINDOW_BITS_MAX));
        // A client that cannot be kept from reaching back has the largest window, or none.
        let window = client_window_bits.and_then(|most| match said_bits {
            Some(bits) => Some(bits.min(most)),
            None => (most >= WINDOW_BITS_MAX).then_some(WINDOW_BITS_MAX),
        });
        Some(Agreement {
            server_no_context_takeover: true,
            client_no_context_takeover: offer.client_no_context_takeover || window.is_none(),
            server_max_window_bits: offer.server_max_window_bits,
            client_max_window_bits: said_bits.and(window),
        })
    })
}

/// An exponent as the header has it: decimal without a leading zero (section 7.1.2).
fn read_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| WINDOW_BITS.contains(bits))?;
    (!value.starts_with(['0', '+'])).then_some(bits)
}
