//! How a message tells its fields, once, to whichever encoding writes them.
//!
//! A message knows no encoding and an encoding knows no message. Everything is generic and inlined: no field is
//! looked up at run time.

/// One field of a message: its Protobuf tag and its JSON name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) tag: u32,
    pub(crate) name: &'static str,
    /// Written in JSON even when its value is zero. Protobuf leaves out every zero but a sub-message.
    pub(crate) kept: bool,
}

/// A field that is left out when its value is zero.
pub(crate) const fn field(tag: u32, name: &'static str) -> Field {
    Field { tag, name, kept: false }
}

/// A field that is always present in JSON.
pub(crate) const fn kept(tag: u32, name: &'static str) -> Field {
    Field { tag, name, kept: true }
}

/// Something with fields.
pub(crate) trait Message {
    /// Tells every field, in tag order.
    fn fields(&self, to: &mut impl Fields);
}

/// Where fields are told to.
pub(crate) trait Fields {
    fn text(&mut self, field: Field, value: &str);
    /// Opaque bytes: a raw JSON value without line feeds in JSON.
    fn bytes(&mut self, field: Field, value: &[u8]);
    fn uint(&mut self, field: Field, value: u64);
    fn int(&mut self, field: Field, value: i64);
    fn flag(&mut self, field: Field, value: bool);
    /// A sub-message; written even when it is empty, for its presence means something.
    fn message(&mut self, field: Field, value: &impl Message);
    fn list(&mut self, field: Field, values: &[impl Message]);
    fn text_map(&mut self, field: Field, entries: &[(impl AsRef<str>, impl AsRef<str>)]);
    fn message_map(&mut self, field: Field, entries: &[(impl AsRef<str>, impl Message)]);
}

/// A message without fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Empty;

impl Message for Empty {
    fn fields(&self, _to: &mut impl Fields) {}
}

/// A message whose only field is a string, such as a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OneText<'a>(pub(crate) Field, pub(crate) &'a str);

impl Message for OneText<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.text(self.0, self.1);
    }
}

/// A message whose only field is a payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnePayload<'a>(pub(crate) Field, pub(crate) &'a [u8]);

impl Message for OnePayload<'_> {
    fn fields(&self, to: &mut impl Fields) {
        to.bytes(self.0, self.1);
    }
}
