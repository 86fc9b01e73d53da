//! DIR/admin.env of `usherd dev`: shell assignments that tell a person and scripts how to get in.

use crate::accounts::secrets::Secret;
use crate::directory::managed::bootstrap::Credentials;

/// What the file says. The order of its lines is fixed.
pub(crate) struct AdminEnv<'a> {
    pub(crate) api_url: &'a str,
    pub(crate) username: &'a str,
    pub(crate) credentials: &'a Credentials,
    pub(crate) ldap_url: &'a str,
    pub(crate) bind_dn: &'a str,
    pub(crate) bind_password_file: &'a str,
    pub(crate) keys_socket: &'a str,
}

impl AdminEnv<'_> {
    pub(crate) fn text(&self) -> String {
        let values = [
            ("ES_API_URL", self.api_url),
            ("ES_API_KEY", self.credentials.api_key.reveal()),
            ("USHER_USERNAME", self.username),
            ("USHER_PASSWORD", self.credentials.password.reveal()),
            ("USHER_LDAP_URL", self.ldap_url),
            ("USHER_BIND_DN", self.bind_dn),
            ("USHER_BIND_PASSWORD_FILE", self.bind_password_file),
            ("USHER_KEYS_SOCKET", self.keys_socket),
        ];
        values.iter().map(|(name, value)| format!("{name}={}\n", quote(value))).collect()
    }
}

/// The file `old` with what `new` says: lines that say the same already, and lines of others, stay as they are.
pub(crate) fn renewed(old: &str, new: &str) -> String {
    let mut missing: Vec<(&str, &str)> = lines(new).filter_map(|line| line.split_once('=')).collect();
    let mut out = String::with_capacity(new.len());
    for line in lines(old) {
        let name = line.split_once('=').map_or("", |(name, _)| name);
        let known = missing.iter().position(|(known, _)| *known == name).map(|at| missing.remove(at));
        match known {
            Some((_, word)) if unquote(word) != unquote(&line[name.len() + 1..]) => {
                out.extend([name, "=", word, "\n"]);
            }
            _ => out.extend([line, "\n"]),
        }
    }
    for (name, word) in missing {
        out.extend([name, "=", word, "\n"]);
    }
    out
}

/// The credentials that an earlier start wrote; `None` if they are not all there.
pub(crate) fn credentials(text: &str) -> Option<Credentials> {
    let value = |name: &str| {
        let line = lines(text).find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(Secret::new(unquote(line))).filter(|secret| !secret.reveal().is_empty())
    };
    Some(Credentials { password: value("USHER_PASSWORD")?, api_key: value("ES_API_KEY")? })
}

/// The lines as the shell sees them: an end of line between quotes ends none.
fn lines(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        // a quote that nothing closes is a slip in this one line
        let end = end_of_line(text).or_else(|| text.find('\n')).unwrap_or(text.len());
        let line = &text[..end];
        text = text.get(end + 1..).unwrap_or_default();
        Some(line)
    })
}

/// Where the shell's first line ends; `None` if a quote is open to the end.
fn end_of_line(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut bytes = text.bytes().enumerate();
    let mut before = b' ';
    while let Some((at, byte)) = bytes.next() {
        match (quote, byte) {
            (None, b'#') if before.is_ascii_whitespace() => {
                return Some(text[at..].find('\n').map_or(text.len(), |n| at + n));
            }
            (None, b'\n') => return Some(at),
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (None | Some(b'"'), b'\\') => drop(bytes.next()),
            _ => {}
        }
        before = byte;
    }
    quote.is_none().then_some(text.len())
}

/// One word of POSIX shell.
fn quote(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_./:=,@%+-".contains(&b);
    if !value.is_empty() && value.bytes().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// The inverse of [`quote`], and no more of the shell than that.
fn unquote(word: &str) -> String {
    match word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inner) => inner.replace(r"'\''", "'"),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_is_one_shell_word() {
        for value in ["abc", "", "a b", "it's", "$(id)", "''", "dc=example,dc=org", "a\"b`c`", "a\nb'\n"] {
            assert_eq!(unquote(&quote(value)), value);
            let echoed = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("X={}; printf %s \"$X\"", quote(value)))
                .output();
            assert_eq!(String::from_utf8(echoed.unwrap().stdout).unwrap(), value);
        }
        let credentials = Credentials { password: Secret::new("p w".into()), api_key: Secret::new("k".into()) };
        let env = AdminEnv {
            api_url: "http://127.0.0.1:8000/api",
            username: "admin",
            credentials: &credentials,
            ldap_url: "ldapi://%2Fx",
            bind_dn: "cn=admin,dc=example,dc=org",
            bind_password_file: "/a b/c",
            keys_socket: "/x",
        };
        let read = super::credentials(&env.text()).unwrap();
        assert_eq!((read.password.reveal(), read.api_key.reveal()), ("p w", "k"));
        assert!(super::credentials("ES_API_KEY=x\nUSHER_PASSWORD=\n").is_none());
    }

    #[test]
    fn only_lines_that_changed_are_written_anew() {
        let old = "# mine\nES_API_URL=http://a\nES_API_KEY='k'\nOTHER=1\n";
        assert_eq!(renewed(old, "ES_API_URL=http://a\nES_API_KEY=k\n"), old);
        let new = renewed(old, "ES_API_URL=http://b\nES_API_KEY=k\nUSHER_PASSWORD=p\n");
        assert_eq!(new, "# mine\nES_API_URL=http://b\nES_API_KEY='k'\nOTHER=1\nUSHER_PASSWORD=p\n");
        assert_eq!(renewed("", new.as_str()).lines().count(), 4);
    }

    #[test]
    fn a_value_with_an_end_of_line_is_one_line() {
        let new = format!("A={}\nB=2\n", quote("/it's\nC=1\n/x"));
        assert_eq!(renewed("", &new), new);
        assert_eq!(renewed(&new, &new), new);
        assert_eq!(
            renewed("# it's mine\nA=1 # don't\nD=\"it's\"\nB=2", &new),
            format!("# it's mine\nA={}\nD=\"it's\"\nB=2\n", quote("/it's\nC=1\n/x"))
        );
        // a slip of the pen costs its own line only
        assert_eq!(renewed("E='x\nB=3\n", "B=2\n"), "E='x\nB=2\n");
    }
}
