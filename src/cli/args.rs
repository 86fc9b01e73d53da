//! The command line: words into a [`Call`]. Pure: no file is read, nothing is sent.
//!
//! `[-d] ACTION [/RESOURCE] [-KEY [VALUE]]… [--FORMAT]`. A value that starts with `-` and a letter or digit is the next
//! key, and a format may stand anywhere; that is the grammar of `es`, on which scripts rely. Where `es` goes on with a
//! word that has no place, with JSON that is none or without a file that it cannot read, this stops: what would be sent
//! is not what was meant.

use std::ffi::OsString;

use serde_json::Value;

use super::{Failure, exit};

/// Begins a value that is in a file.
const FILE: &str = "file::";

/// The keys whose values are not shown.
const SECRET: [&str; 2] = ["password", "api-key"];

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Help,
    Version,
    Call(Call),
}

/// One request and how its answer is shown.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    pub(super) debug: bool,
    pub(super) action: Action,
    /// Below the API's base URL, starts with a slash.
    pub(super) resource: String,
    /// In the order of the command line; of a key given twice the last one counts.
    pub(super) params: Vec<(String, Param)>,
    pub(super) api_key: Option<Param>,
    pub(super) format: Format,
    /// The command line as `-d` shows it: without secrets.
    pub(super) words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Get,
    Create,
    Set,
    Delete,
    Options,
    Login,
    Logout,
}

impl Action {
    fn parse(word: &str) -> Option<Self> {
        Some(match word.to_lowercase().as_str() {
            "get" => Self::Get,
            "create" | "post" => Self::Create,
            "set" | "put" => Self::Set,
            "delete" => Self::Delete,
            "help" | "options" => Self::Options,
            "login" => Self::Login,
            "logout" => Self::Logout,
            _ => return None,
        })
    }

    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Get | Self::Logout => "GET",
            Self::Create | Self::Login => "POST",
            Self::Set => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    fn default_resource(self) -> Option<&'static str> {
        match self {
            Self::Login => Some("/accounts/login"),
            Self::Logout => Some("/accounts/logout"),
            _ => None,
        }
    }
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Param {
    Value(Value),
    /// `file::PATH`: the file's content, a string.
    File(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
    Tabulate,
}

impl Format {
    fn parse(word: &str) -> Result<Self, Failure> {
        match word {
            "--json" => Ok(Self::Json),
            "--csv" | "--tabulate-csv" => Ok(Self::Csv),
            "--tabulate" | "--tabulate-simple" => Ok(Self::Tabulate),
            _ => {
                let word = before_value(word);
                Err(Failure::new(exit::FORMAT, format!("{word} is none of --json, --csv, --tabulate")))
            }
        }
    }
}

/// Reads the words after the program's name.
///
/// # Errors
/// A sentence and the exit status for a word that has no place, a missing resource, an unknown output format.
pub(super) fn parse(words: Vec<OsString>) -> Result<Command, Failure> {
    let words: Vec<String> = words
        .into_iter()
        .map(|word| word.into_string().map_err(|word| usage(format!("{} is not UTF-8", word.display()))))
        .collect::<Result<_, _>>()?;
    let mut words = words.into_iter();
    let mut debug = false;
    let mut format = None;
    let action_word = loop {
        let word = words.next().ok_or_else(|| usage("an action is missing; see --help"))?;
        match word.as_str() {
            "-h" | "-?" | "--help" => return Ok(Command::Help),
            "--version" => return Ok(Command::Version),
            "-d" | "--debug" => debug = true,
            _ if is_long(&word) => format = Some(word),
            _ => break word,
        }
    };
    let action = Action::parse(&action_word);
    let action = action.ok_or_else(|| usage(format!("{} is no action; see --help", before_value(&action_word))))?;
    let (long, words): (Vec<String>, Vec<String>) = words.partition(|word| is_long(word));
    if long.iter().any(|word| word == "--help") {
        return Ok(Command::Help);
    }
    let format = long.into_iter().next_back().or(format);
    let mut words = words.into_iter().peekable();
    let mut shown = vec![action_word];
    let resource = match (words.next_if(|word| word.starts_with('/')), action.default_resource()) {
        (Some(resource), _) => {
            shown.push(resource.clone());
            resource
        }
        (None, Some(resource)) => resource.to_owned(),
        (None, None) if words.peek().is_some_and(|word| word == "-h") => return Ok(Command::Help),
        (None, None) => return Err(Failure::new(exit::NO_RESOURCE, "a resource is missing, such as /accounts/user")),
    };
    let format = format.map_or(Ok(Format::Json), |word| Format::parse(&word))?;
    let mut call = Call { debug, action, resource, params: Vec::new(), api_key: None, format, words: String::new() };
    while let Some(word) = words.next() {
        let Some(key) = word.strip_prefix('-').filter(|_| is_key(&word)) else {
            return Err(usage(format!("{} is neither -KEY nor the value of one", before_value(&word))));
        };
        if let Some((key, _)) = key.split_once('=') {
            // The value may be a secret, and would be a part of the key's name.
            return Err(usage(format!("-{key}=VALUE is written -{key} VALUE")));
        }
        shown.push(word.clone());
        let value = match words.next_if(|next| !is_key(next)) {
            Some(text) => {
                let secret = SECRET.contains(&key) && !text.starts_with(FILE);
                shown.push(if secret { "***".to_owned() } else { text.clone() });
                value(key, text)?
            }
            None => Param::Value(Value::Bool(true)),
        };
        if key == "api-key" {
            call.api_key = Some(value);
        } else {
            call.params.retain(|(earlier, _)| earlier != key);
            call.params.push((key.to_owned(), value));
        }
    }
    call.words = shown.join(" ");
    Ok(Command::Call(call))
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(exit::USAGE, message)
}

/// `-` and a letter or digit.
fn is_key(word: &str) -> bool {
    word.strip_prefix('-').and_then(|rest| rest.chars().next()).is_some_and(char::is_alphanumeric)
}

/// What may be shown of a word that is not understood: what follows a `=` may be a secret.
fn before_value(word: &str) -> &str {
    word.split('=').next().unwrap_or_default()
}

/// `--` and a letter or digit; `-----BEGIN` is a value.
fn is_long(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(is_key)
}

fn value(key: &str, text: String) -> Result<Param, Failure> {
    if let Some(path) = text.strip_prefix(FILE) {
        return Ok(Param::File(path.to_owned()));
    }
    if let Some(json) = text.strip_prefix("json::") {
        let parsed = serde_json::from_str(json).map_err(|error| usage(format!("-{key}: no JSON: {error}")))?;
        return Ok(Param::Value(parsed));
    }
    // A key is never one of the words below, and it must stay a string.
    let literal = match text.to_ascii_lowercase().as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        _ => Value::String(text),
    };
    Ok(Param::Value(literal))
}

/// The text of `--help` for a program called `name`.
pub(super) fn help(name: &str) -> String {
    format!(
        "\
Usage: {name} [-d|--debug] ACTION [/RESOURCE] [-KEY [VALUE]]... [--json|--csv|--tabulate]

Actions:
  get               show (GET)              set, put        change (PUT)
  create, post      make (POST)             delete          remove (DELETE)
  help, options     what a resource is for  login, logout   a session instead of an API key

A KEY without a VALUE is true. true, false and null are what they say, json::TEXT is JSON, file::PATH is
what the file holds (a password without the line break that ends it); anything else is a string. Parameters
of get go into the query, others into the body.

  -api-key KEY      the API key; file::PATH keeps it out of the process list
  -d, --debug       show the request and all headers too, without secrets
  --json            the whole answer (default)
  --csv, --tabulate the result alone, as lines with ; or as a table, spelt as Python spells it

Environment:
  ES_API_URL          base URL ({})
  ES_API_KEY          API key, if -api-key is not given
  SSL_CERT_FILE       certificates to trust (https), instead of those that the host trusts
  USHER_SESSION_FILE  where login keeps its token (default: $XDG_RUNTIME_DIR/usher.session,
                      else $XDG_STATE_HOME/usher/session, else ~/.local/state/usher/session)

Exit status: 0 done, 1 refused (4xx), 2 server error (5xx), 3 no answer, 4 login failed, 5 interrupted,
8 or 9 the answer cannot be written or shown, 11 usage, 12 no resource, 13 unknown output format.

Examples:
  {name} login -username admin -password file::password.txt
  {name} get /accounts/user -full --tabulate
  {name} create /accounts/user/alice/sshkey/laptop -key file::.ssh/id_ed25519.pub
  {name} set /accounts/user/alice -groups json::'[\"admins\"]' -is_active false
",
        super::DEFAULT_URL
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(line: &[&str]) -> Result<Command, u8> {
        parse(line.iter().map(OsString::from).collect()).map_err(|failure| failure.status)
    }

    fn call(line: &[&str]) -> Call {
        match parsed(line) {
            Ok(Command::Call(call)) => call,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    fn values(line: &[&str]) -> Value {
        let params = call(line).params.into_iter().map(|(key, param)| match param {
            Param::Value(value) => (key, value),
            Param::File(path) => (key, json!({"file": path})),
        });
        Value::Object(params.collect())
    }

    #[test]
    fn every_action_has_its_method_and_both_its_names() {
        for (words, method) in [
            (&["get"][..], "GET"),
            (&["create", "post"], "POST"),
            (&["set", "put"], "PUT"),
            (&["delete"], "DELETE"),
            (&["help", "options"], "OPTIONS"),
        ] {
            for word in words {
                assert_eq!(call(&[word, "/x"]).action.method(), method);
                assert_eq!(call(&[&word.to_uppercase(), "/x"]).action.method(), method);
            }
        }
        assert_eq!(call(&["login"]).resource, "/accounts/login");
        assert_eq!(call(&["login"]).action.method(), "POST");
        assert_eq!(call(&["logout"]).resource, "/accounts/logout");
        assert_eq!(call(&["logout"]).action.method(), "GET");
        assert_eq!(call(&["login", "/other"]).resource, "/other");
    }

    #[test]
    fn values_are_strings_unless_they_say_otherwise() {
        let line = ["set", "/x", "-a", "1", "-b", "True", "-c", "FALSE", "-d", "null", "-e", "json::[1,\"x\"]"];
        assert_eq!(values(&line), json!({"a": "1", "b": true, "c": false, "d": null, "e": [1, "x"]}));
        assert_eq!(values(&["set", "/x", "-k", "file::/a b"]), json!({"k": {"file": "/a b"}}));
        assert_eq!(values(&["set", "/x", "-k", "", "-l", "-", "-m", "/y"]), json!({"k": "", "l": "-", "m": "/y"}));
    }

    #[test]
    fn a_key_without_a_value_is_true_and_a_dash_starts_the_next_key() {
        assert_eq!(values(&["get", "/x", "-full", "-extended"]), json!({"full": true, "extended": true}));
        assert_eq!(values(&["get", "/x", "-n", "-5"]), json!({"n": true, "5": true}));
        assert_eq!(values(&["get", "/x", "-order_by", "-_x"]), json!({"order_by": "-_x"}));
        assert_eq!(values(&["get", "/x", "-full", "--csv"]), json!({"full": true}));
        assert_eq!(values(&["get", "/x", "-k", "-----BEGIN"]), json!({"k": "-----BEGIN"}));
    }

    #[test]
    fn of_a_key_given_twice_the_last_one_counts() {
        assert_eq!(values(&["set", "/x", "-a", "1", "-a", "2"]), json!({"a": "2"}));
    }

    #[test]
    fn the_api_key_is_no_parameter() {
        let call = call(&["get", "/x", "-api-key", "k", "-full"]);
        assert_eq!(call.api_key, Some(Param::Value(json!("k"))));
        assert_eq!(call.params, [("full".to_owned(), Param::Value(json!(true)))]);
    }

    #[test]
    fn debug_and_the_format_have_their_places() {
        assert!(call(&["-d", "get", "/x"]).debug);
        assert!(call(&["--debug", "get", "/x"]).debug);
        assert_eq!(values(&["get", "/x", "-d", "1"]), json!({"d": "1"}));
        assert_eq!(call(&["get", "/x"]).format, Format::Json);
        assert_eq!(call(&["get", "/x", "--csv"]).format, Format::Csv);
        assert_eq!(call(&["get", "/x", "--tabulate", "-a", "b"]).format, Format::Tabulate);
        assert_eq!(call(&["--csv", "get", "/x"]).format, Format::Csv);
        assert_eq!(call(&["--csv", "get", "--json", "/x"]).format, Format::Json);
        assert_eq!(values(&["get", "/x", "-a", "--csv", "b"]), json!({"a": "b"}));
        assert_eq!(call(&["get", "/x", "--tabulate-csv"]).format, Format::Csv);
    }

    #[test]
    fn the_words_are_shown_without_secrets() {
        let line = ["login", "-username", "admin", "-password", "x", "-api-key", "k", "--csv"];
        assert_eq!(call(&line).words, "login -username admin -password *** -api-key ***");
        let line = ["set", "/x", "-password", "file::/p", "-a", "json::[1]"];
        assert_eq!(call(&line).words, "set /x -password file::/p -a json::[1]");
    }

    #[test]
    fn what_is_wrong_has_its_exit_status() {
        for (line, status) in [
            (&[][..], 11),
            (&["fly", "/x"], 11),
            (&["get"], 12),
            (&["get", "-full"], 12),
            (&["get", "user"], 12),
            (&["get", "/x", "--xml"], 13),
            (&["--xml", "fly", "/x"], 11),
            (&["get", "--xml"], 12),
            (&["get", "/x", "stray"], 11),
            (&["get", "/x", "-a", "b", "stray"], 11),
            (&["get", "/x", "-a", "json::{"], 11),
            (&["get", "/x", "--"], 11),
            (&["get", "/x", "-api-key=secret"], 11),
        ] {
            assert_eq!(parsed(line).map(|_| ()), Err(status), "{line:?}");
        }
        for line in [
            &["get", "/x", "-api-key=secret"][..],
            &["get", "/x", "--api-key=secret"],
            &["get", "/x", "a=secret"],
            &["a=secret"],
        ] {
            let inline = parse(line.iter().map(OsString::from).collect()).map(|_| ());
            assert!(!inline.unwrap_err().message.contains("secret"), "{line:?}");
        }
        assert_eq!(parsed(&["--help"]), Ok(Command::Help));
        assert_eq!(parsed(&["-?"]), Ok(Command::Help));
        assert_eq!(parsed(&["get", "--help"]), Ok(Command::Help));
        assert_eq!(parsed(&["--version"]), Ok(Command::Version));
    }

    #[test]
    fn help_names_the_program_as_it_was_called() {
        assert!(help("es").starts_with("Usage: es "));
    }
}
