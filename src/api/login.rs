//! Login and logout (contract 2.2, 2.3; decisions 13, 14, 19).
//!
//! Every attempt costs the server one hash, and one that it refuses then costs a read and a hash here, for a name that
//! exists or not, for a password that could be right or not: answer and time tell no names. A password that LDAP would
//! take for an anonymous bind never gets there.
//!
//! The hash here is for accounts that may not be used: the server refuses some of them whatever the password is, and
//! "disabled" is for the right one alone. It lets nobody in, and where the server looks at the password itself, and so
//! counts wrong ones, it only takes its time. All who are refused pay for it, after the bind and not beside it: only for
//! some, or at the same time, it would show wherever cores are busy.

use std::sync::Arc;
use std::time::Instant;

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::throttle::typed_name;
use super::{ApiError, App, Call, Credential, Noun, OpenCall, Reply, hashing, routes::Pending};
use crate::accounts::input::MAX_PASSWORD;
use crate::accounts::secrets::{Secret, new_token};
use crate::accounts::user::PasswordEpoch;
use crate::accounts::{NewSession, StoreError, User, UserChange};
use crate::audit::Record;
use crate::name::UserName;

/// How often a login is tried while others exchange the stored hash under it.
const ATTEMPTS: usize = 3;

const WRONG: &str = "Unable to log in with provided credentials.";
const DISABLED: &str = "User account is disabled.";
const NO_API_ACCESS: &str = "User account is not allowed to access API.";

/// All refusals of a login whose fields are there.
pub(super) fn refusals() -> [ApiError; 3] {
    [WRONG, DISABLED, NO_API_ACCESS].map(bad_request)
}

/// `POST /accounts/login/`.
pub(super) fn login(call: &OpenCall) -> Pending<'_> {
    Box::pin(async move {
        let name = string(call.params.object()?, "username").ok().and_then(|name| UserName::parse(&name).ok());
        let outcome = attempt(call, name.as_ref()).await;
        record(call, name.as_ref(), &outcome);
        outcome
    })
}

async fn attempt(call: &OpenCall, name: Option<&UserName>) -> Result<Reply, ApiError> {
    let app = &call.app;
    let (typed, password) = fields(&call.params)?;
    let mut counted = Some((typed_name(&typed), Instant::now()));
    if let Some((name, at)) = &counted {
        app.throttle.bad_passwords.take(name.clone(), *at)?;
    }
    for _ in 0..ATTEMPTS {
        if let Some(reply) = try_once(call, name, &password, &mut counted).await? {
            return Ok(reply);
        }
    }
    Err(ApiError::store(&StoreError::Contended, Noun::User))
}

/// What became of a password.
enum Checked {
    /// The server let the user in with it.
    Accepted,
    /// It is right, and the account may not be used.
    Disabled,
    Wrong,
}

/// One bind and what follows from it; `None` where the stored hash was exchanged meanwhile, by another login that
/// strengthened it or by a change of the password: a session of the hash before would be over before it began.
/// `counted` is taken back unless the password is wrong.
async fn try_once(
    call: &OpenCall,
    name: Option<&UserName>,
    password: &Secret,
    counted: &mut Option<(String, Instant)>,
) -> Result<Option<Reply>, ApiError> {
    let app = &call.app;
    // The epoch is read before the bind: if the password changes meanwhile, the session is one of the old password.
    let user = name.and_then(|name| app.directory.read().user(name).cloned());
    let checked = check(call, user.as_deref(), password).await;
    if !matches!(checked, Ok(Checked::Wrong))
        && let Some((name, at)) = counted.take()
    {
        app.throttle.bad_passwords.give_back(&name, at);
    }
    let user = match (checked?, user) {
        (Checked::Accepted, Some(user)) => user,
        (Checked::Disabled, _) => return Err(bad_request(DISABLED)),
        _ => {
            app.metrics.failed_login();
            return Err(bad_request(WRONG));
        }
    };
    let epoch = user.password_epoch;
    let Some(user) = app.directory.read().user_by_id(user.id).cloned() else { return Err(bad_request(WRONG)) };
    if !user.usable_at(call.now) {
        return Err(bad_request(DISABLED));
    }
    if !user.api_access {
        return Err(bad_request(NO_API_ACCESS));
    }
    let epoch = strengthen(app, &user, epoch, password).await;
    if app.directory.read().user_by_id(user.id).is_some_and(|now| now.password_epoch != epoch) {
        return Ok(None);
    }

    let token = new_token();
    let expires = call.now.plus_seconds(app.config.sessions.lifetime_seconds.into());
    let session = NewSession { token_hash: app.ring.lookup_hash(token.reveal()), user: user.id, epoch, expires };
    app.directory.create_session(session).await.map_err(|error| ApiError::store(&error, Noun::User))?;
    let body = json!({
        "token": token.reveal(),
        "expires": expires.rfc3339_offset(),
        "detail": "Welcome to Danube Cloud API.",
    });
    Ok(Some(Reply::plain(&body).signed_in(user)))
}

fn bad_request(text: &'static str) -> ApiError {
    ApiError::detail(StatusCode::BAD_REQUEST, text)
}

/// Both fields, or what is wrong with them under `detail`.
fn fields(params: &super::Params) -> Result<(String, Secret), ApiError> {
    let params = params.object()?;
    match (string(params, "username"), string(params, "password")) {
        (Ok(username), Ok(password)) => Ok((username, Secret::new(password))),
        (username, password) => {
            let mut wrong = Map::new();
            for (field, result) in [("username", username), ("password", password)] {
                if let Err(message) = result {
                    wrong.insert(field.to_owned(), json!([message]));
                }
            }
            Err(ApiError::plain(&json!({ "detail": wrong })))
        }
    }
}

/// A required text; numbers count as the text they were written as (decision 7).
fn string(params: &Map<String, Value>, field: &str) -> Result<String, &'static str> {
    match params.get(field) {
        None | Some(Value::Null) => Err("This field is required."),
        Some(Value::String(text)) if text.is_empty() => Err("This field is required."),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(_) => Err("Invalid value."),
    }
}

/// Whether the password is the user's. Without a user, or with a password that nobody can have, the decoy is bound.
async fn check(call: &OpenCall, user: Option<&User>, password: &Secret) -> Result<Checked, ApiError> {
    let app = &call.app;
    let text = password.reveal();
    let impossible = text.is_empty() || text.len() > MAX_PASSWORD || text.contains('\0');
    let (user, password) = if impossible { (None, Secret::new("decoy".to_owned())) } else { (user, password.clone()) };
    let store = |error| ApiError::store(&error, Noun::User);
    let accepted = app.directory.verify_password(user, &password, call.now).await.map_err(store)?;
    let unusable = user.filter(|user| !user.usable_at(call.now));
    if accepted && unusable.is_none() {
        return Ok(Checked::Accepted);
    }
    let stored = app.directory.stored_password(unusable).await.map_err(store)?;
    let stored = stored.unwrap_or_else(|| Secret::new(String::new()));
    let right = hashing::verify(app.cost, stored, password, app.directory.operation_timeout()).await?;
    Ok(if unusable.is_some() && (accepted || right) { Checked::Disabled } else { Checked::Wrong })
}

/// Hashes the password anew where its stored hash is weaker than configured. Returns the epoch that the session belongs
/// to. Failing is no reason to refuse the login.
async fn strengthen(app: &Arc<App>, user: &User, epoch: PasswordEpoch, password: &Secret) -> PasswordEpoch {
    // With another epoch the password has just been changed, and this one must not come back.
    if !user.password_weak || user.password_epoch != epoch {
        return epoch;
    }
    // Why it failed is in the log.
    let Ok(hash) = hashing::hash(app.cost, password.clone()).await else { return epoch };
    // The same password: the sessions that there are go on.
    let next = PasswordEpoch(app.ring.password_epoch(&mut [hash.as_bytes()]));
    if let Err(error) = app.directory.carry_sessions(user, next).await {
        tracing::warn!(user = %user.name, %error, "a weak password hash was not renewed");
        return epoch;
    }
    let change = UserChange { password_hash: Some(hash), while_password: Some(epoch), ..UserChange::default() };
    match app.directory.update_user(user, change).await {
        Ok(user) => user.password_epoch,
        Err(StoreError::Contended) => epoch,
        Err(error) => {
            tracing::warn!(user = %user.name, %error, "a weak password hash was not renewed");
            epoch
        }
    }
}

/// One audit line. What was typed as a name is recorded only if it could be one: people type passwords there.
fn record(call: &OpenCall, name: Option<&UserName>, outcome: &Result<Reply, ApiError>) {
    let user = outcome.as_ref().ok().and_then(|reply| reply.signed_in.as_deref());
    let name = name.map(UserName::canonical).unwrap_or_default();
    let (status, code) = match outcome {
        Ok(reply) => ("SUCCESS", reply.status),
        Err(error) => ("FAILURE", error.status),
    };
    // The text of a refusal without an object is our own and holds nothing that was sent.
    let detail = match outcome {
        Err(ApiError { body: super::error::ErrorBody::Detail(text), .. }) => text.to_string(),
        _ => String::new(),
    };
    call.app.audit.record(Record {
        time: call.now.rfc3339_offset(),
        task_id: String::new(),
        action: "Login".to_owned(),
        actor_number: user.map_or(0, |user| user.number),
        credential: "password".to_owned(),
        peer: call.peer.to_string(),
        method: "POST".to_owned(),
        object_type: "session".to_owned(),
        object_name: name.clone(),
        object_alias: name.clone(),
        actor: name,
        detail,
        dc: crate::accounts::MAIN_DC.to_owned(),
        status: status.to_owned(),
        http_status: code.as_u16(),
    });
}

/// `GET /accounts/logout/`.
pub(super) fn logout(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        if let Credential::Token(session) = &call.caller.credential {
            let deleted = call.app.directory.delete_session(session).await;
            deleted.map_err(|error| ApiError::store(&error, Noun::User))?;
        }
        Ok(Reply::plain(&json!({ "detail": "Bye." })))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Params;

    fn result(body: &str) -> String {
        match fields(&Params::from_body(body.as_bytes()).unwrap()) {
            Ok((name, password)) => format!("{name}/{}", password.reveal()),
            Err(error) => error.text().into_owned(),
        }
    }

    #[test]
    fn both_fields_are_required_and_numbers_are_text() {
        let required = "[\"This field is required.\"]";
        assert_eq!(result("{}"), format!("{{\"detail\":{{\"username\":{required},\"password\":{required}}}}}"));
        let one = format!("{{\"detail\":{{\"password\":{required}}}}}");
        for body in [
            r#"{"username":"admin"}"#,
            r#"{"username":"admin","password":""}"#,
            r#"{"username":"admin","password":null}"#,
        ] {
            assert_eq!(result(body), one);
        }
        assert_eq!(result(r#"{"username":7,"password":1.50}"#), "7/1.50");
        let invalid = r#"{"detail":{"username":["Invalid value."]}}"#;
        for username in ["true", "[]", "{}"] {
            assert_eq!(result(&format!(r#"{{"username":{username},"password":"x"}}"#)), invalid);
        }
        assert_eq!(result("[1]"), r#"{"non_field_errors":["Invalid data"]}"#);
    }
}
