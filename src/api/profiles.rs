//! `/accounts/user/profile/` and `/accounts/user/(username)/profile/` (contract 3.7, decisions 4 and 5).

use std::sync::Arc;

use super::listing::Paging;
use super::represent::{ProfileObject, profile_settings};
use super::routes::Pending;
use super::{ApiError, Call, Noun, Reply, subject, users};
use crate::accounts::access::{Endpoint, Target};
use crate::accounts::{User, UserChange, profile_rules};

/// GET of all: the profiles of the users whom the caller manages, active or not.
pub(super) fn list(call: &Call) -> Result<Reply, ApiError> {
    let page: Vec<Arc<User>> = {
        let view = call.app.directory.read();
        let rights = subject::rights(call, &view);
        subject::check(&rights, Endpoint::Users, Target::List, Noun::User)?;
        let paging = Paging::parse(&call.params, users::ORDER)?;
        let all = view.users().filter(|user| rights.manages_user(user)).collect();
        let find = |name: &str| users::find(&view, name, |user| rights.manages_user(user));
        paging.page(all, find)?.into_iter().cloned().collect()
    };
    let config = Arc::clone(&call.app.config);
    Ok(Reply::list(call, page, move |_, user, out| {
        serde_json::to_writer(out, &ProfileObject::new(user, profile_settings(&config.profile)))
    }))
}

/// GET of one.
pub(super) fn show(call: &Call) -> Result<Reply, ApiError> {
    let view = call.app.directory.read();
    let user = subject::user(call, &view, &subject::rights(call, &view), Endpoint::User)?;
    Ok(Reply::ok(&ProfileObject::new(user, profile_settings(&call.app.config.profile))))
}

/// PUT.
pub(super) fn update(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let (user, change) = plan_update(call)?;
        let user = call.app.directory.update_user(&user, change).await;
        let user = user.map_err(|error| ApiError::store(&error, Noun::User))?;
        let object = ProfileObject::new(&user, profile_settings(&call.app.config.profile));
        Ok(Reply::ok(&object).owned_by(user.number))
    })
}

pub(super) fn plan_update(call: &Call) -> Result<(Arc<User>, UserChange), ApiError> {
    let view = call.app.directory.read();
    let rights = subject::rights(call, &view);
    let user = subject::user(call, &view, &rights, Endpoint::User)?;
    let settings = profile_settings(&call.app.config.profile);
    let taken = |email: &str| subject::is_others(&view, email, Some(user));
    let change = profile_rules::update(call.params.object()?, user, rights.super_admin, &settings, &taken);
    Ok((user.clone(), change.map_err(|errors| ApiError::failure(&errors))?))
}
