//! What a change of a user asks of him: in which parts it is written, and how he must still be for it to hold.

use std::sync::Arc;

use super::super::decode::UserFacts;
use super::super::filter::Filter;
use super::super::schema;
use crate::accounts::group_rules::unbinds;
use crate::accounts::user::Named;
use crate::accounts::{Group, User, UserChange};

/// Whether it takes anything but groups from the user, or from whoever knows his password or his key by now.
pub(super) fn takes(change: &UserChange, user: &User) -> bool {
    change.password_hash.is_some()
        || (change.new_api_key && !change.key_last)
        || (change.is_active == Some(false) && user.is_active())
        || (change.super_admin == Some(false) && user.super_admin)
        || (change.api_access == Some(false) && user.api_access)
        || (user.dc_bound.is_some() && change.dc_bound.as_ref().is_some_and(|dc| *dc != user.dc_bound))
}

/// What is changed before groups are left is taken out of the change: what may be refused, and with a password what may end
/// others' rights to the user, so that no password of theirs comes between.
pub(super) fn before_leaving(change: &mut UserChange) -> UserChange {
    let mut first = UserChange { email: change.email.take(), ..UserChange::default() };
    first.while_named.email = change.while_named.email.take();
    if change.password_hash.is_some() {
        first.password_hash = change.password_hash.take();
        first.while_password = change.while_password.take();
        first.is_active = change.is_active.take();
        first.super_admin = change.super_admin.take();
        first.api_access = change.api_access.take();
        first.dc_bound = change.dc_bound.take_if(|bound| bound.is_none());
    }
    first
}

/// What must still be as it was seen `now`. All of the entry: for a password, for its locks and since whoever sets it may be
/// let no more; for a key that replaces the one of the call; where it depends on how the user is called. Else: that there is no
/// lock, which who activates him takes away; the name that is not changed, for `cn` is of both. That he whom it binds is no
/// SuperAdmin.
pub(super) fn is_still<'a>(
    change: &UserChange,
    user: &User,
    now: &'a User,
    facts: UserFacts,
    csn: &'a str,
) -> impl Iterator<Item = Filter<'a>> {
    let other = match (&change.first_name, &change.last_name) {
        (Some(_), None) => Some(("sn", &*now.last_name)),
        (None, Some(_)) => Some(("givenName", &*now.first_name)),
        _ => None,
    };
    let sets_password = change.password_hash.is_some() || change.while_password.is_some();
    let is_named = change.while_named != Named::default();
    let depends_on_all =
        sets_password || change.key_last || is_named || other.is_some_and(|(_, name)| name.trim().is_empty());
    let all = (!csn.is_empty()).then_some(Filter::Equal(schema::ENTRY_CSN, csn));
    let states = match all {
        Some(all) if depends_on_all => [Some(all), None],
        all => {
            let unlocked = all.filter(|_| change.is_active == Some(true) && !facts.locked_time);
            // Where the server has no such attribute, the first is never true.
            let unlocked = unlocked.map(|all| Filter::Any(vec![not(Filter::Present(schema::LOCKED_TIME)), all]));
            let other = other.filter(|(_, name)| !name.trim().is_empty());
            [unlocked, other.map(|(attribute, name)| Filter::Equal(attribute, name))]
        }
    };
    let super_admin = must_not_be(change, user).1.then_some(Filter::Equal(schema::SUPER_ADMIN, "TRUE"));
    states.into_iter().flatten().chain(super_admin.map(not))
}

/// What must still be true of the binding, which is to `now`: that it is none where the change makes a SuperAdmin of him; the
/// same where it binds him, since that may be undone, makes him a member of what is attached somewhere, or lets him in, which
/// who manages him may do.
pub(super) fn still_bound<'a>(
    change: &UserChange,
    joined: &[Arc<Group>],
    user: &User,
    now: Option<&'a str>,
) -> Option<Filter<'a>> {
    let binds = matches!(change.dc_bound, Some(Some(_)));
    let joins = change.dc_bound.is_none() && joined.iter().any(|group| !group.datacenters.is_empty());
    let lets_in = change.is_active == Some(true) || change.api_access == Some(true);
    (binds || joins || lets_in || must_not_be(change, user).0).then(|| match now {
        Some(dn) => Filter::Equal(schema::DC_BOUND, dn),
        None => not(Filter::Present(schema::DC_BOUND)),
    })
}

fn not(filter: Filter<'_>) -> Filter<'_> {
    Filter::Not(Box::new(filter))
}

/// What a user must still not be for the change that was decided about him as `user`: bound, if it makes him a SuperAdmin, or
/// a SuperAdmin, if it binds him.
fn must_not_be(change: &UserChange, user: &User) -> (bool, bool) {
    let promotes = change.super_admin == Some(true) && change.dc_bound.is_none() && user.dc_bound.is_none();
    let binds = matches!(change.dc_bound, Some(Some(_))) && change.super_admin.is_none() && !user.super_admin;
    (promotes, binds)
}

/// Whether he is that `now`, or bound by now to another datacenter than the groups that he joins are attached to; or not as
/// he was in what the change does and may be undone: bound, or called.
pub(super) fn crosses(change: &UserChange, joined: &[Arc<Group>], user: &User, now: &User) -> bool {
    let (bound, super_admin) = must_not_be(change, user);
    let is_against = || match change.dc_bound {
        None => joined.iter().any(|group| unbinds(&group.datacenters, now.dc_bound.as_ref())),
        Some(Some(_)) => true,
        Some(None) => false,
    };
    (bound && now.dc_bound.is_some())
        || (super_admin && now.super_admin)
        || (now.dc_bound != user.dc_bound && is_against())
        || !change.while_named.is_of(now)
}
