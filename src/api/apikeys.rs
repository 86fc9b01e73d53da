//! `/accounts/user/(username)/apikeys/` (contract 3.6): the one place that shows the keys.

use std::sync::Arc;

use serde::Serialize;

use super::routes::Pending;
use super::{ApiError, Call, Noun, Reply, subject};
use crate::accounts::access::Endpoint;
use crate::accounts::input::Input;
use crate::accounts::secrets::{KeyKind, KeyRing, SealedKey, Secret};
use crate::accounts::{User, UserChange, user_rules};

#[derive(Serialize)]
struct Keys<'a> {
    api_key: &'a str,
    callback_key: &'a str,
}

/// GET. A key that was never generated is empty (decision 27): a GET never writes.
pub(super) fn show(call: &Call) -> Result<Reply, ApiError> {
    let user = target(call)?;
    Ok(reply(&call.app.ring, &user))
}

/// PUT.
pub(super) fn update(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let (user, change) = plan_update(call)?;
        let user = call.app.directory.update_user(&user, change).await;
        let user = user.map_err(|error| ApiError::store(&error, Noun::User))?;
        Ok(reply(&call.app.ring, &user).owned_by(user.number))
    })
}

pub(super) fn plan_update(call: &Call) -> Result<(Arc<User>, UserChange), ApiError> {
    let user = target(call)?;
    let mut input = Input::new(call.params.object()?);
    let [new_api_key, new_callback_key] = user_rules::new_keys(&mut input);
    if !input.errors.is_empty() {
        return Err(ApiError::failure(&input.errors));
    }
    Ok((user, UserChange { new_api_key, new_callback_key, ..UserChange::default() }))
}

fn target(call: &Call) -> Result<Arc<User>, ApiError> {
    let view = call.app.directory.read();
    let user = subject::user(call, &view, &subject::rights(call, &view), Endpoint::ApiKeys)?;
    // After the look-up: a missing user is a 404 with an API key too (contract 2.4).
    if call.caller.uses_api_key() {
        return Err(ApiError::forbidden());
    }
    Ok(user.clone())
}

fn reply(ring: &KeyRing, user: &User) -> Reply {
    let open = |kind, sealed: &Option<SealedKey>| sealed.as_ref().and_then(|sealed| ring.open(kind, sealed));
    let (api, callback) = (open(KeyKind::Api, &user.api_key), open(KeyKind::Callback, &user.callback_key));
    let text = |key: &'_ Option<Secret>| key.as_ref().map_or(String::new(), |key| key.reveal().to_owned());
    Reply::ok(&Keys { api_key: &text(&api), callback_key: &text(&callback) })
}
