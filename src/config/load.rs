//! From the file, the environment and `--set` to a [`Config`], or to an error that names the key.

use std::path::Path;

use config::{FileFormat, Value, ValueKind};

use super::Config;

/// Every key there is; what is none of these is refused with the nearest of these.
const KEYS: &[&str] = &[
    "directory.urls",
    "directory.base-dn",
    "directory.bind-dn",
    "directory.bind-password-file",
    "directory.start-tls",
    "directory.connect-timeout-ms",
    "directory.operation-timeout-ms",
    "http.listen",
    "http.socket",
    "http.tls-certificate-file",
    "http.tls-key-file",
    "http.max-body",
    "http.max-connections",
    "http.idle-seconds",
    "http.trusted-proxies",
    "lookup.socket",
    "secrets.key-file",
    "throttle.logins-per-minute",
    "throttle.bad-credentials-per-minute",
    "throttle.bad-passwords-per-minute",
    "throttle.requests-per-minute",
    "passwords.memory-kib",
    "passwords.passes",
    "passwords.lanes",
    "keys.limit",
    "keys.min-rsa-bits",
    "keys.types",
    "profile.languages",
    "profile.currencies",
    "profile.default-language",
    "profile.default-timezone",
    "profile.default-currency",
    "profile.default-country",
    "sessions.lifetime-seconds",
    "audit.file",
];

impl Config {
    /// Loads `file`, then lets the environment (`USHER__SECTION__KEY`) and then `sets` (`section.key=value`) override it.
    ///
    /// # Errors
    /// A text that names the file, or the key and its rule.
    pub(crate) fn load(
        file: &Path,
        environment: impl Iterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        Self::parse(&text, environment, sets).map_err(|e| format!("{}: {e}", file.display()))
    }

    fn parse(text: &str, environment: impl Iterator<Item = (String, String)>, sets: &[String]) -> Result<Self, String> {
        let mut builder = config::Config::builder().add_source(config::File::from_str(text, FileFormat::Toml));
        for (name, value) in environment {
            // other variables of the daemon's have one underscore after the prefix
            let Some(key) = name.strip_prefix("USHER__") else { continue };
            let key = key.to_ascii_lowercase().replace("__", ".").replace('_', "-");
            known(&key).map_err(|e| format!("environment variable {name}: {e}"))?;
            builder = builder.set_override(&key, literal(&value)?).map_err(|e| format!("{name}: {e}"))?;
        }
        for set in sets {
            let (key, value) = set.split_once('=').ok_or_else(|| format!("--set {set}: must be section.key=value"))?;
            known(key).map_err(|e| format!("--set: {e}"))?;
            builder = builder.set_override(key, literal(value)?).map_err(|e| format!("--set {set}: {e}"))?;
        }
        let layered = builder.build().map_err(|e| e.to_string())?;
        for (section, value) in &layered.cache.clone().into_table().map_err(|e| e.to_string())? {
            let ValueKind::Table(keys) = &value.kind else {
                return Err(known(section).err().unwrap_or_else(|| format!("{section}: must be a section")));
            };
            for key in keys.keys() {
                known(&format!("{section}.{key}"))?;
            }
        }
        let config: Self = layered.try_deserialize().map_err(|e| e.to_string())?;
        config.check()?;
        Ok(config)
    }
}

/// A value of `--set` or the environment: a list if it is written as one in TOML, else the text itself, which numbers
/// and booleans are read from as well.
fn literal(text: &str) -> Result<Value, String> {
    // `[::1]:8000` is an address
    if !(text.starts_with('[') && text.ends_with(']')) {
        return Ok(Value::from(text));
    }
    config::Config::builder()
        .add_source(config::File::from_str(&format!("value = {text}"), FileFormat::Toml))
        .build()
        .and_then(|c| c.get::<Value>("value"))
        .map_err(|e| format!("{text}: {e}"))
}

fn known(key: &str) -> Result<(), String> {
    if KEYS.contains(&key) {
        return Ok(());
    }
    let nearest = KEYS.iter().max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
    match nearest.filter(|near| strsim::jaro_winkler(near, key) > 0.8) {
        Some(near) => Err(format!("unknown key {key}; did you mean {near}?")),
        None => Err(format!("unknown key {key}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "[directory]\nurls = [\"ldapi://%2Frun%2Fldapi\"]\nbase-dn = \"dc=example,dc=org\"\n";

    fn load(text: &str, environment: &[(&str, &str)], sets: &[&str]) -> Result<Config, String> {
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        Config::parse(text, environment, &sets)
    }

    #[test]
    fn the_url_and_the_base_dn_are_enough() {
        let config = load(MINIMAL, &[], &[]).unwrap();
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:8000");
        assert_eq!((config.keys.limit, config.throttle.logins_per_minute), (10, 30));
    }

    #[test]
    fn the_example_names_every_key_and_its_default() {
        let example = include_str!("../../contrib/usherd.toml");
        let as_it_is = load(example, &[], &[]).unwrap();
        // a comment that is a key has no blank after the sign
        let uncommented: String = example
            .lines()
            .filter(|line| {
                !["#bind-", "#file", "#socket = \"/run/usher/http", "#tls-"].iter().any(|none| line.starts_with(none))
            })
            .map(|line| match line.strip_prefix('#') {
                Some(key) if !key.starts_with(' ') => format!("{key}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let with_all = load(&uncommented, &[], &[]).unwrap();
        assert_eq!(format!("{as_it_is:?}"), format!("{with_all:?}"), "a default in the example is not the default");
        for key in KEYS {
            let name = key.split_once('.').map_or(*key, |(_, name)| name);
            let named = |line: &str| line.trim_start_matches('#').starts_with(&format!("{name} = "));
            assert!(example.lines().any(named), "{key} is not in the example");
        }
    }

    #[test]
    fn set_wins_over_the_environment_and_that_over_the_file() {
        let text = format!("{MINIMAL}[http]\nlisten = \"127.0.0.1:1\"\n[throttle]\nlogins-per-minute = 7\n");
        let environment =
            [("USHER__HTTP__LISTEN", "127.0.0.1:2"), ("USHER__THROTTLE__LOGINS_PER_MINUTE", "0"), ("USHER_LOG", "x")];
        let config =
            load(&text, &environment, &["http.listen=127.0.0.1:3", "profile.languages=[\"en\", \"it\"]"]).unwrap();
        assert_eq!(config.http.listen.port(), 3);
        assert_eq!(config.throttle.logins_per_minute, 0);
        assert_eq!(config.profile.languages, ["en", "it"]);
        let config = load(MINIMAL, &[("USHER__HTTP__LISTEN", "[::1]:4")], &[]).unwrap();
        assert_eq!(config.http.listen.to_string(), "[::1]:4");
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_known_one() {
        let near = |text: String, environment: &[_], sets: &[_]| load(&text, environment, sets).unwrap_err();
        let error = near(format!("{MINIMAL}[htpp]\nlisten = \"x\"\n"), &[], &[]);
        assert!(error.contains("htpp.listen") && error.contains("did you mean http.listen?"), "{error}");
        let error = near(MINIMAL.to_owned(), &[], &["http.listn=x"]);
        assert!(error.contains("did you mean http.listen?"), "{error}");
        let error = near(MINIMAL.to_owned(), &[("USHER__KEYS__LIMITS", "3")], &[]);
        assert!(error.contains("USHER__KEYS__LIMITS") && error.contains("keys.limit"), "{error}");
    }

    #[test]
    fn every_key_is_one_that_the_types_know() {
        for key in KEYS {
            let value = match *key {
                "directory.urls" => "[\"ldap://h\"]",
                "http.listen" => "127.0.0.1:1",
                "http.trusted-proxies" => "[\"127.0.0.1\"]",
                // none without its partner
                "directory.bind-dn"
                | "directory.bind-password-file"
                | "http.tls-certificate-file"
                | "http.tls-key-file" => continue,
                "directory.start-tls" => "true",
                "profile.default-language" => "en",
                "profile.default-currency" => "EUR",
                "profile.languages" => "[\"en\"]",
                "profile.currencies" | "keys.types" => "[\"EUR\"]",
                "directory.base-dn" => "dc=a",
                "keys.limit" => "64",
                _ => "20000",
            };
            let set = format!("{key}={value}");
            assert!(load(MINIMAL, &[], &[&set]).is_ok(), "{set}: {:?}", load(MINIMAL, &[], &[&set]).err());
        }
        for [one, other] in [
            ["directory.bind-dn=cn=x", "directory.bind-password-file=/x"],
            ["http.tls-certificate-file=/x", "http.tls-key-file=/x"],
        ] {
            assert!(load(MINIMAL, &[], &[one, other]).is_ok());
            assert!(load(MINIMAL, &[], &[one]).is_err() && load(MINIMAL, &[], &[other]).is_err());
        }
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for (set, name) in [
            ("http.listen=nowhere", "listen"),
            ("directory.urls=[]", "directory.urls"),
            ("directory.urls=[\"http://x\"]", "directory.urls"),
            ("directory.bind-dn=cn=x", "directory.bind-password-file"),
            ("keys.limit=-1", "limit"),
            ("keys.limit=65", "keys.limit"),
            ("profile.default-language=xx", "profile.default-language"),
            ("directory.urls=[ldap://x]", "[ldap://x]"),
            ("http.max-body=0", "http.max-body"),
        ] {
            let error = load(MINIMAL, &[], &[set]).unwrap_err();
            assert!(error.contains(name), "{set}: {error}");
        }
    }
}
