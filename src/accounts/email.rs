//! Which e-mail addresses the API takes: the syntax that the original's validator (Django 1.8) accepts, ASCII only.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether `text` is an address: a dot-atom or quoted local part (RFC 5322, 3.4.1) before the last `@`; behind it a
/// domain with a dot, `localhost`, or an address literal in brackets. Lengths are not limited here.
pub(crate) fn is_valid(text: &str) -> bool {
    text.is_ascii()
        && text.rsplit_once('@').is_some_and(|(local, domain)| {
            (is_dot_atom(local) || is_quoted(local))
                && (domain == "localhost" || is_domain(domain) || is_literal(domain))
        })
}

fn is_dot_atom(local: &str) -> bool {
    let is_atom = |b: u8| b.is_ascii_alphanumeric() || b"-!#$%&'*+/=?^_`{}|~".contains(&b);
    local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom))
}

fn is_quoted(local: &str) -> bool {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'\\' => bytes.next().is_some_and(|escaped| !matches!(escaped, 0 | b'\n' | b'\r')),
            0 | b'\t' | b'\n' | b'\r' | b' ' | b'"' => false,
            _ => true,
        };
        if !fine {
            return false;
        }
    }
    true
}

fn is_domain(domain: &str) -> bool {
    let Some((labels, top)) = domain.rsplit_once('.') else { return false };
    let in_label = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    top.len() >= 2
        && top.bytes().all(in_label)
        && !top.ends_with('-')
        && labels.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 249
                && label.bytes().all(in_label)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn is_literal(domain: &str) -> bool {
    domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| address.parse::<Ipv4Addr>().is_ok() || address.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_the_original_takes() {
        for good in [
            "a@b.cz",
            "a@localhost",
            "a+b.c@[127.0.0.1]",
            "a@[::1]",
            "!#$%&'*+/=?^_`{}|~-@example.com",
            "\"a@b\\ c\"@example.com",
            "\"\"@example.com",
            "A@EXAMPLE.COM",
            "a@x.-a",
            "a@1.22",
            "a@xn--4ca9at.cz",
        ] {
            assert!(is_valid(good), "{good}");
        }
    }

    #[test]
    fn what_is_no_address() {
        for bad in [
            "",
            "bob",
            "@b.cz",
            "a@",
            "a@x",
            "a@LOCALHOST",
            "ü@x.cz",
            "a@ü.cz",
            "a@x.c",
            "a@x.c-",
            "a@-x.cz",
            "a@x-.cz",
            "a@x..cz",
            "a@.cz",
            "a@x.cz.",
            ".a@x.cz",
            "a.@x.cz",
            "a..b@x.cz",
            "a b@x.cz",
            "a@x.cz\n",
            "\"a b\"@x.cz",
            "\"a\"b\"@x.cz",
            "\"a\\\"@x.cz",
            "\"@x.cz",
            "a@[1.2.3]",
            "a@[1.2.3.4",
            "a,b@x.cz",
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }
}
