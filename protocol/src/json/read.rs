//! Reads JSON lines in place: what commands and replies share, as serde visitors.
//!
//! Strings are borrowed unless they hold an escape; opaque fields are borrowed raw. A `null` counts as an absent
//! field, except as a payload, where it is one. serde_json skips unknown and raw values without recursion.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde_json::value::RawValue;

use crate::malformed::Malformed;

/// The lines of one WebSocket message; one line feed at its end is tolerated. Ends after an error.
#[derive(Debug, Clone)]
pub(crate) struct Lines<'a> {
    rest: Option<Result<&'a str, Malformed>>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        let text = std::str::from_utf8(message.strip_suffix(b"\n").unwrap_or(message));
        Self { rest: Some(text.map_err(|_| Malformed::NotUtf8)) }
    }

    /// The lines that are left.
    pub(crate) fn rest(&self) -> Option<&'a [u8]> {
        self.rest.as_ref().and_then(|rest| rest.as_ref().ok()).map(|rest| rest.as_bytes())
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a str, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.rest.take()? {
            Err(malformed) => return Some(Err(malformed)),
            Ok(rest) => match rest.split_once('\n') {
                Some((line, after)) => {
                    self.rest = Some(Ok(after));
                    line
                }
                None => rest,
            },
        };
        if line.is_empty() {
            self.rest = None;
            return Some(Err(Malformed::Empty));
        }
        Some(Ok(line))
    }
}

/// A string, borrowed where it can be.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed("")))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// A message that may be `null`, and may not be an array, which serde would otherwise read field by field.
pub(crate) struct Object<T>(pub(crate) Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|value| Object(Some(value)))
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
        }
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// A number or flag that may be `null`.
pub(crate) struct Tolerant<T>(pub(crate) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Tolerant<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer).map(|value| Self(value.unwrap_or_default()))
    }
}

pub(crate) fn text<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'a, str>, D::Error> {
    Text::deserialize(deserializer).map(|text| text.0)
}

pub(crate) fn bytes<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'a, [u8]>, D::Error> {
    let value = <&'de RawValue>::deserialize(deserializer)?;
    Ok(Cow::Borrowed(value.get().as_bytes()))
}

pub(crate) fn optional_bytes<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, [u8]>>, D::Error> {
    let value = Option::<&'de RawValue>::deserialize(deserializer)?;
    Ok(value.map(|value| Cow::Borrowed(value.get().as_bytes())))
}

pub(crate) fn tolerant<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Tolerant::deserialize(deserializer).map(|value| value.0)
}

pub(crate) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Object::deserialize(deserializer).map(|object| object.0)
}

/// Reads a map as the list of its entries, in their order, and stops at the entry past `entries_max`.
pub(crate) fn entries<'de, T: Deserialize<'de>, V, D: Deserializer<'de>>(
    deserializer: D,
    entries_max: usize,
    value_of: fn(T) -> V,
) -> Result<Vec<(Cow<'de, str>, V)>, D::Error> {
    struct EntriesVisitor<T, V> {
        entries_max: usize,
        value_of: fn(T) -> V,
    }
    impl<'de, T: Deserialize<'de>, V> Visitor<'de> for EntriesVisitor<T, V> {
        type Value = Vec<(Cow<'de, str>, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an object of at most {} entries", self.entries_max)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some((Text(key), value)) = map.next_entry()? {
                if entries.len() == self.entries_max {
                    return Err(A::Error::custom("too many entries"));
                }
                entries.push((key, (self.value_of)(value)));
            }
            Ok(entries)
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
    }
    deserializer.deserialize_any(EntriesVisitor { entries_max, value_of })
}
