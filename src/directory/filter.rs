//! Search and assertion filters (RFC 4515), built from parts only: no text from outside becomes syntax.

use std::fmt::Write;

/// A filter. Attribute names are our own constants; values are escaped when the text is made.
#[derive(Clone, Debug)]
pub(crate) enum Filter<'a> {
    Equal(&'static str, &'a str),
    AtLeast(&'static str, &'a str),
    Present(&'static str),
    Not(Box<Self>),
    Any(Vec<Self>),
    All(Vec<Self>),
}

impl Filter<'_> {
    /// The text form.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Equal(attribute, value) | Self::AtLeast(attribute, value) => {
                out.push('(');
                out.push_str(attribute);
                out.push_str(if matches!(self, Self::Equal(..)) { "=" } else { ">=" });
                for byte in value.bytes() {
                    if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'@' | b'#' | b' ') {
                        out.push(char::from(byte));
                    } else {
                        // Writing to a String can't fail.
                        let _ = write!(out, "\\{byte:02x}");
                    }
                }
                out.push(')');
            }
            Self::Present(attribute) => {
                out.push('(');
                out.push_str(attribute);
                out.push_str("=*)");
            }
            Self::Not(part) => {
                out.push_str("(!");
                part.write(out);
                out.push(')');
            }
            Self::Any(parts) | Self::All(parts) => {
                out.push_str(if matches!(self, Self::Any(_)) { "(|" } else { "(&" });
                parts.iter().for_each(|part| part.write(out));
                out.push(')');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_become_syntax() {
        assert_eq!(Filter::Equal("uid", "*)(uid=*\0ü").text(), "(uid=\\2a\\29\\28uid\\3d\\2a\\00\\c3\\bc)");
        let any = Filter::Any(vec![Filter::Equal("cn", "a"), Filter::Equal("cn", "b")]);
        assert_eq!(any.text(), "(|(cn=a)(cn=b))");
        assert_eq!(Filter::Not(Box::new(Filter::Present("cn"))).text(), "(!(cn=*))");
    }
}
