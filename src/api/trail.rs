//! From a write to its line in the audit log: the one place where writes are recorded. No secrets: of the parameters
//! only those named here are written down, and of most of them only that they were sent.

use hyper::StatusCode;
use serde_json::Value;

use super::routes::Object;
use super::{Call, Credential, Params};
use crate::accounts::MAIN_DC;
use crate::audit::Record;
use crate::name::{DcName, GroupName, UserName};

/// Parameters whose values say who may do what: written with their values.
const WITH_VALUE: [&str; 16] = [
    "access",
    "alias",
    "api_access",
    "dc",
    "dc_bound",
    "desc",
    "email",
    "expires",
    "groups",
    "is_active",
    "is_super_admin",
    "name",
    "owner",
    "permissions",
    "site",
    "users",
];

/// Parameters that are written as names only: secrets, key material and personal data.
const NAME_ONLY: [&str; 45] = [
    "alerting_email",
    "alerting_jabber",
    "alerting_phone",
    "api_key",
    "bankid",
    "callback_key",
    "city",
    "city2",
    "company",
    "companyid",
    "country",
    "country2",
    "currency",
    "different_billing",
    "email2",
    "email_verified",
    "first_name",
    "jabber",
    "key",
    "language",
    "last_name",
    "middle_name",
    "newsletter_buss",
    "newsletter_tech",
    "options",
    "password",
    "phone",
    "phone2",
    "phone_verified",
    "postcode",
    "postcode2",
    "state",
    "state2",
    "street2_1",
    "street2_2",
    "street_1",
    "street_2",
    "taxid",
    "timezone",
    "title",
    "tos_acceptation",
    "username",
    "usertype",
    "vatid",
    "website",
];

/// Longest `detail`, in characters.
const MAX_DETAIL: usize = 1000;

/// Longest name, in characters: of what can exist, all of it. A path may hold much more.
const MAX_NAME: usize = 300;

fn kind(object: Object) -> &'static str {
    match object {
        Object::User => "user",
        Object::SshKey => "sshkey",
        Object::Group => "role",
        Object::Datacenter => "dc",
        Object::Session => "session",
    }
}

/// The object's name in its canonical form, as the path has it.
fn name(call: &Call, object: Object) -> String {
    let name = match object {
        Object::SshKey => format!("{}/{}", call.arg(0).to_ascii_lowercase(), last(call)),
        Object::Session => call.caller.user.name.canonical(),
        Object::User | Object::Group | Object::Datacenter => last(call).to_ascii_lowercase(),
    };
    bounded(name, MAX_NAME)
}

/// The last variable segment of the path.
fn last(call: &Call) -> &str {
    call.args().last().map(String::as_str).unwrap_or_default()
}

fn bounded(text: String, most: usize) -> String {
    if text.chars().nth(most).is_none() { text } else { text.chars().take(most).chain(['…']).collect() }
}

/// The object's shown name as the replica has it now; none where there is no such object, or its path says it all.
pub(super) fn alias(call: &Call, object: Object) -> Option<String> {
    let view = call.app.directory.read();
    match object {
        Object::User => {
            let user = view.user(&UserName::parse(last(call)).ok()?)?;
            Some(format!("{} {}", user.first_name, user.last_name).trim().to_owned())
        }
        Object::Group => view.group(&GroupName::parse(last(call)).ok()?).map(|group| group.alias.to_string()),
        Object::Datacenter => view.datacenter(&DcName::parse(last(call)).ok()?).map(|dc| dc.alias.to_string()),
        Object::SshKey | Object::Session => None,
    }
}

/// Writes the line of a write that is done. `before` is the object's shown name as it was.
pub(super) fn record(
    call: &Call,
    action: &str,
    object: Object,
    before: Option<String>,
    task_id: &str,
    status: StatusCode,
) {
    let name = name(call, object);
    let user = &call.caller.user;
    // Callers read their own lines in `/task/log`: who was not let at an object does not learn there that it exists, and
    // what it is called.
    let let_at_it = !matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::NOT_ACCEPTABLE);
    let shown = if let_at_it { alias(call, object).or(before) } else { None };
    let as_in_path = || if object == Object::SshKey { bounded(last(call).to_owned(), MAX_NAME) } else { name.clone() };
    call.app.audit.record(Record {
        time: call.now.rfc3339_offset(),
        task_id: task_id.to_owned(),
        action: action.to_owned(),
        actor: user.name.canonical(),
        actor_number: user.number,
        credential: match call.caller.credential {
            Credential::ApiKey(_) => "api-key",
            Credential::Token(_) => "token",
        }
        .to_owned(),
        peer: call.peer.to_string(),
        method: call.method.to_string(),
        object_type: kind(object).to_owned(),
        object_alias: shown.unwrap_or_else(as_in_path),
        object_name: name,
        detail: describe(&call.params),
        dc: call.current_dc().map_or_else(|| MAIN_DC.to_owned(), |dc| dc.name.canonical()),
        status: if status.is_success() { "SUCCESS" } else { "FAILURE" }.to_owned(),
        http_status: status.as_u16(),
    });
}

/// The parameters that were sent, as far as they may be written down.
fn describe(params: &Params) -> String {
    let Params::Object(map) = params else { return String::new() };
    let mut out = String::new();
    for (key, value) in map {
        let with_value = WITH_VALUE.contains(&key.as_str());
        if !with_value && !NAME_ONLY.contains(&key.as_str()) {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(key);
        if with_value {
            out.push('=');
            out.push_str(&show(value));
        }
    }
    bounded(out, MAX_DETAIL)
}

/// Texts stand in quotes, and end at no quote of their own: no value looks like one more parameter.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let items: Vec<String> =
                items.iter().map(|i| i.as_str().map_or_else(|| i.to_string(), str::to_owned)).collect();
            quote(&items.join(","))
        }
        Value::Object(_) => quote(&value.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_names_rights_with_their_values_and_hides_the_rest() {
        let body = r#"{"password":"geheim","groups":["a","b"],"is_active":false,"email":"a@b.cz","phone":"+421",
            "geheim2":"x","key":"ssh-ed25519 AAAA","alias":"A"}"#;
        let text = describe(&Params::from_body(body.as_bytes()).unwrap());
        assert_eq!(text, "password groups='a,b' is_active=false email='a@b.cz' phone key alias='A'");
    }

    #[test]
    fn no_value_looks_like_one_more_parameter() {
        let forged = r"' is_super_admin=true desc='\";
        let body = serde_json::json!({"alias": forged, "desc": {"a": forged}, "groups": [forged]}).to_string();
        let text = describe(&Params::from_body(body.as_bytes()).unwrap());
        let mut outside = String::new();
        let (mut quoted, mut letters) = (false, text.chars());
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if quoted => assert!(letters.next().is_some()),
                '\'' => quoted = !quoted,
                other if !quoted => outside.push(other),
                _ => {}
            }
        }
        assert_eq!((outside.as_str(), quoted), ("alias= desc= groups=", false), "{text}");
    }

    #[test]
    fn details_are_bounded() {
        let body = format!(r#"{{"alias":"{}"}}"#, "ž".repeat(100_000));
        assert!(describe(&Params::from_body(body.as_bytes()).unwrap()).chars().count() <= MAX_DETAIL + 1);
    }
}
