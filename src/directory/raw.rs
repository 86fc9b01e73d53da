//! Entries as they come over the wire: attributes with bytes for values. Nothing here believes the server.
//!
//! The ldap3 crate's own `SearchEntry` panics on what it does not expect and copies into two maps; this reads the same
//! structure and gives up on one entry instead.

use ldap3::asn1::{PL, StructureTag, parse_tag};

/// An entry: its DN and its attributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawEntry {
    pub(crate) dn: String,
    attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl RawEntry {
    /// Reads a SearchResultEntry (RFC 4511, 4.5.2); `None` if it is malformed.
    pub(crate) fn from_tag(tag: StructureTag) -> Option<Self> {
        let mut parts = constructed(tag)?.into_iter();
        let dn = String::from_utf8(primitive(parts.next()?)?).ok()?;
        let mut attributes = Vec::new();
        for attribute in constructed(parts.next()?)? {
            let mut parts = constructed(attribute)?.into_iter();
            let mut name = String::from_utf8(primitive(parts.next()?)?).ok()?;
            name.make_ascii_lowercase();
            let values = constructed(parts.next()?)?.into_iter().map(primitive).collect::<Option<Vec<_>>>()?;
            attributes.push((name, values));
        }
        Some(Self { dn, attributes })
    }

    /// Reads the value of a pre- or post-read response control (RFC 4527).
    pub(crate) fn from_control(value: &[u8]) -> Option<Self> {
        parse_tag(value).ok().and_then(|(_, tag)| Self::from_tag(tag))
    }

    /// The values of `name` (lower case); none if absent. Values under attribute options (`name;x-tag`) are other
    /// attributes and not among them.
    pub(crate) fn values(&self, name: &str) -> &[Vec<u8>] {
        self.attributes.iter().find(|(n, _)| n == name).map_or(&[], |(_, values)| values)
    }

    /// The values of `name` (lower case) with and without attribute options: all that a filter on `name` finds.
    pub(crate) fn described(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let is_it = move |n: &str| n.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(';'));
        self.attributes.iter().filter(move |(n, _)| is_it(n)).flat_map(|(_, values)| values.iter().map(Vec::as_slice))
    }

    /// The values of `name` that are UTF-8.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values(name).iter().filter_map(|v| std::str::from_utf8(v).ok())
    }

    /// The first value of `name` that is UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).next()
    }

    /// Whether `objectClass` holds `class` (lower case).
    pub(crate) fn is(&self, class: &str) -> bool {
        self.texts("objectclass").any(|c| c.eq_ignore_ascii_case(class))
    }

    #[cfg(test)]
    pub(crate) fn for_test(dn: &str, attributes: &[(&str, &[&[u8]])]) -> Self {
        Self {
            dn: dn.to_owned(),
            attributes: attributes
                .iter()
                .map(|(n, vs)| (n.to_ascii_lowercase(), vs.iter().map(|v| v.to_vec()).collect()))
                .collect(),
        }
    }
}

fn constructed(tag: StructureTag) -> Option<Vec<StructureTag>> {
    match tag.payload {
        PL::C(parts) => Some(parts),
        PL::P(_) => None,
    }
}

fn primitive(tag: StructureTag) -> Option<Vec<u8>> {
    match tag.payload {
        PL::P(bytes) => Some(bytes),
        PL::C(_) => None,
    }
}
