//! Which bodies of an SSH key POST are valid (contract section 4, decision 10, design section 2).

use serde_json::{Map, Value};

use super::input::{Errors, INVALID, Message, REQUIRED, is_unsafe, string, too_long};
use super::time::Timestamp;
use super::user::{NewSshKey, User};
use crate::name::{KeyTitle, NameError};
use crate::sshkey::{Options, Policy, PublicKey};

/// The longest key text, in characters.
pub(crate) const KEY_MAX: usize = 65_536;

/// The message about a key that the user has under another title.
pub(crate) const KEY_TAKEN: Message = Message::Borrowed("SSH key already defined");
const PAST_OPTION: Message = Message::Borrowed("The time of the SSH key option expiry-time is in the past.");

/// Checks a POST to `user`. `title` is the path's; a body's is ignored. `is_admin` may set options that grant something.
///
/// # Errors
/// All fields that are wrong. Whether title or key were taken meanwhile and the limit are the store's to decide.
pub(crate) fn create(
    body: &Map<String, Value>,
    title: &str,
    user: &User,
    is_admin: bool,
    policy: &Policy,
    now: Timestamp,
) -> Result<NewSshKey, Errors> {
    let mut errors = Errors::default();
    let title = KeyTitle::parse(title).map_err(|error| match error {
        NameError::TooLong { max, has } => errors.add("title", too_long(max, has)),
        NameError::Charset => errors.add("title", INVALID),
    });
    let public = body.get("key").map_or(Err(vec![REQUIRED]), |value| key(value, policy));
    let is_new = |key: &PublicKey| {
        let known = user.ssh_keys.iter().any(|other| other.public.fingerprint_sha256() == key.fingerprint_sha256());
        if known { Err(vec![KEY_TAKEN]) } else { Ok(()) }
    };
    let public = public.and_then(|key| is_new(&key).map(|()| key));
    let public = public.map_err(|messages| errors.extend("key", messages));
    let expires = body.get("expires").map_or(Ok(None), |value| expires(value, now));
    let expires = expires.map_err(|message| errors.add("expires", message));
    let options = body.get("options").map_or(Ok(Options::default()), |value| options(value, is_admin, now));
    let options = options.map_err(|message| errors.add("options", message));
    match (title, public, expires, options) {
        (Ok(title), Ok(public), Ok(expires), Ok(options)) => Ok(NewSshKey { title, public, expires, options }),
        _ => Err(errors),
    }
}

/// The key: stripped, then measured and checked as every text, then parsed, then held against the policy. Blanks alone
/// are a key of no known type.
fn key(value: &Value, policy: &Policy) -> Result<PublicKey, Vec<Message>> {
    let text = string(value).map_err(|m| vec![m])?;
    if text.is_empty() {
        return Err(vec![REQUIRED]);
    }
    let text = text.trim();
    let mut wrong = Vec::new();
    let has = text.chars().count();
    if has > KEY_MAX {
        wrong.push(too_long(KEY_MAX, has));
    }
    if is_unsafe(text) {
        wrong.push(INVALID);
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let key = PublicKey::parse(text).map_err(|error| vec![error.to_string().into()])?;
    policy.check(&key).map_err(|violation| vec![violation.to_string().into()])?;
    Ok(key)
}

/// The end of the key's life: RFC 3339, in the future; nothing means none.
fn expires(value: &Value, now: Timestamp) -> Result<Option<Timestamp>, Message> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.as_str(),
        _ => return Err(INVALID),
    };
    if text.is_empty() {
        return Ok(None);
    }
    match Timestamp::parse_rfc3339(text) {
        None => Err("Enter a date and time with an offset (RFC 3339), before the end of the year 9999.".into()),
        Some(time) if time <= now => Err("Enter a time in the future.".into()),
        // Whole seconds: what sshd's expiry-time holds too.
        Some(time) => Ok(Some(Timestamp::from_seconds(time.seconds()))),
    }
}

/// By how much a point in time of UTC comes before the same one of the last time zone, in seconds. A time without zone is
/// one of the host's, which is not known here: it is past when it is past everywhere.
const LAST_ZONE: i64 = 12 * 3600;

/// The options: a JSON array with one in each element, or one string as in an authorized_keys line.
fn options(value: &Value, is_admin: bool, now: Timestamp) -> Result<Options, Message> {
    let parsed = match value {
        Value::Null => Ok(Options::default()),
        Value::String(text) => Options::parse(text.trim()),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            Options::from_list(&items.ok_or(INVALID)?)
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Err(INVALID),
    };
    let options = parsed.map_err(|error| Message::from(error.to_string()))?;
    if let Some(name) = options.admin_only().filter(|_| !is_admin) {
        return Err(format!("You don't have permission to use the SSH key option {name}.").into());
    }
    let is_past = |(time, in_utc): (String, bool)| {
        let latest = Timestamp::parse_generalized(&time).map(|t| t.plus_seconds(if in_utc { 0 } else { LAST_ZONE }));
        latest.is_some_and(|latest| latest <= now)
    };
    if options.expiry_times().any(is_past) {
        return Err(PAST_OPTION);
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::accounts::samples;
    use crate::sshkey::KeyType;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM2Cbze9O1y9ipWF6ryo8WqAug4QaIk94QN0v3fPnINR";
    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn post_with(policy: &Policy, title: &str, body: Value, is_admin: bool) -> Result<NewSshKey, Value> {
        create(body.as_object().unwrap(), title, &samples::user("bob"), is_admin, policy, NOW)
            .map_err(|errors| serde_json::to_value(&errors).unwrap())
    }

    fn post(title: &str, body: Value, is_admin: bool) -> Result<NewSshKey, Value> {
        post_with(&Policy { min_rsa_bits: 2048, types: KeyType::ALL.to_vec() }, title, body, is_admin)
    }

    #[test]
    fn a_key_is_stripped_and_keeps_its_comment() {
        let new = post("k1", json!({"key": format!("\n {KEY} com ment \n"), "title": "other"}), false).unwrap();
        assert_eq!(new.title.as_str(), "k1");
        assert_eq!(new.public.line(), format!("{KEY} com ment"));
        assert!(new.expires.is_none() && new.options.is_empty());
    }

    #[test]
    fn what_is_no_key_has_the_protocols_message() {
        let said = |key: Value| post("k1", json!({ "key": key }), false).unwrap_err()["key"][0].clone();
        assert_eq!(post("k1", json!({}), false).unwrap_err(), json!({"key": ["This field is required."]}));
        assert_eq!(said(json!("")), "This field is required.");
        assert_eq!(said(json!(" \n")), "Unknown SSH public key type.");
        assert_eq!(said(json!(null)), "This field is required.");
        assert_eq!(said(json!([KEY])), "Invalid value.");
        assert_eq!(said(json!("foo")), "Unknown SSH public key type.");
        assert_eq!(said(json!("ssh-rsa")), "Unknown SSH public key type.");
        assert_eq!(said(json!("ssh-rsa AAAA")), "Invalid SSH public key format.");
        assert_eq!(said(json!(format!("{KEY} a\nb"))), "Invalid SSH public key format (newlines detected).");
        assert_eq!(said(json!(format!("{KEY} <a>"))), "Invalid value.");
        assert_eq!(said(json!(format!("from=\"x\" {KEY}"))), "Invalid value.");
        assert_eq!(said(json!("x".repeat(65_537))), "Ensure this value has at most 65536 characters (it has 65537).");
    }

    #[test]
    fn titles_are_measured_and_reported_with_the_key() {
        let errors = post(&"t".repeat(33), json!({"key": "foo"}), false).unwrap_err();
        assert_eq!(errors["title"], json!(["Ensure this value has at most 32 characters (it has 33)."]));
        assert_eq!(errors["key"], json!(["Unknown SSH public key type."]));
    }

    #[test]
    fn the_policy_refuses_with_a_reason() {
        let policy = Policy { min_rsa_bits: 2048, types: vec![KeyType::Rsa] };
        let errors = post_with(&policy, "k1", json!({"key": KEY}), true).unwrap_err();
        assert_eq!(errors, json!({"key": ["SSH key type ssh-ed25519 is not allowed."]}));
    }

    #[test]
    fn an_expiry_is_a_future_time_with_an_offset() {
        let expiry = |value: Value| post("k1", json!({"key": KEY, "expires": value}), false).map(|new| new.expires);
        assert_eq!(expiry(json!("2027-06-01T00:00:00.5+02:00")), Ok(Timestamp::parse_rfc3339("2027-05-31T22:00:00Z")));
        assert_eq!(expiry(json!("")), Ok(None));
        assert_eq!(expiry(json!(null)), Ok(None));
        for bad in
            [json!("2027-06-01"), json!("2027-06-01T00:00:00"), json!("x"), json!(1), json!("2020-01-01T00:00:00Z")]
        {
            assert!(expiry(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_expiry_time_among_the_options_is_in_the_future_too() {
        // NOW is 2027-01-15T08:00:00Z
        let post = |options: Value| post("k1", json!({"key": KEY, "options": options}), true);
        for past in [
            "20200101",
            "20270115080000Z",
            "202701150800Z",
            "20270115Z",
            "20270114200000",
            "20991231Z\",expiry-time=\"20200101",
        ] {
            let refused = post(json!(format!("restrict,expiry-time=\"{past}\""))).unwrap_err();
            assert_eq!(refused, json!({"options": [PAST_OPTION]}), "{past}");
        }
        for future in ["20270115080001Z", "20270116z", "20270114200001", "20991231", "99991231235959Z"] {
            assert!(post(json!([format!("expiry-time=\"{future}\"")])).is_ok(), "{future}");
        }
    }

    #[test]
    fn users_restrict_and_admins_grant() {
        let options = |value: Value, is_admin| {
            post("k1", json!({"key": KEY, "options": value}), is_admin).map(|new| new.options.to_list())
        };
        assert_eq!(options(json!(["restrict", "from=\"10.0.0.0/8\""]), false).unwrap().len(), 2);
        assert_eq!(options(json!("restrict,no-pty"), false).unwrap().len(), 2);
        for nothing in [json!(null), json!([]), json!("")] {
            assert_eq!(options(nothing, false), Ok(Vec::new()));
        }
        let refused = options(json!(["command=\"id\""]), false).unwrap_err();
        assert_eq!(refused["options"], json!(["You don't have permission to use the SSH key option command."]));
        assert_eq!(options(json!(["command=\"id\""]), true).unwrap().len(), 1);
        for bad in [json!(["nonsense"]), json!([1]), json!(true), json!({"restrict": true}), json!("restrict,")] {
            assert!(options(bad.clone(), true).is_err(), "{bad}");
        }
    }
}
