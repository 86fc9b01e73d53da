//! The objects that the API shows (contract 3.1, 3.7, 4, 5): keys, order, types. Borrowed from a view, written at once.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::accounts::profile::{Field, Settings};
use crate::accounts::{Datacenter, Group, MAIN_DC, Permission, SshKey, Timestamp, User};
use crate::config;
use crate::directory::View;
use crate::name::DcName;

/// Serializes as the text of its `Display`.
struct Displayed<T>(T);

impl<T: std::fmt::Display> Serialize for Displayed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// What is shown in place of a user's keys: their values are `apikeys`' to show.
const HIDDEN: &str = "***";

/// A user.
#[derive(serde::Serialize)]
pub(super) struct UserObject<'a> {
    api_key: &'static str,
    callback_key: &'static str,
    dc_bound: bool,
    username: &'a str,
    current_dc: Option<&'a str>,
    email: &'a str,
    first_name: &'a str,
    last_name: &'a str,
    is_super_admin: bool,
    is_active: bool,
    api_access: bool,
    groups: Vec<&'a str>,
    created: Displayed<Timestamp>,
    /// Only in extended objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    dcs: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Cow<'a, str>>,
}

impl<'a> UserObject<'a> {
    pub(super) fn new(view: &'a View<'_>, user: &'a User, extended: bool, now: Timestamp) -> Self {
        let groups = view.groups_of(&user.name);
        let dcs = extended.then(|| {
            let mut dcs: Vec<&str> = groups.iter().flat_map(|g| g.datacenters.iter().map(DcName::as_str)).collect();
            dcs.sort_unstable();
            dcs.dedup();
            dcs
        });
        let mut warnings: Vec<Cow<'_, str>> = user.warnings.iter().map(|text| Cow::Borrowed(&**text)).collect();
        if let Some(end) = user.expires.filter(|end| *end <= now) {
            warnings.push(format!("The account expired at {end}.").into());
        }
        Self {
            api_key: HIDDEN,
            callback_key: HIDDEN,
            dc_bound: user.dc_bound.is_some(),
            username: user.name.as_str(),
            current_dc: main_dc(view).map(|dc| dc.name.as_str()),
            email: &user.email,
            first_name: &user.first_name,
            last_name: &user.last_name,
            is_super_admin: user.super_admin,
            is_active: user.is_active(),
            api_access: user.api_access,
            groups: groups.iter().map(|g| g.name.as_str()).collect(),
            created: Displayed(user.created),
            dcs,
            warnings,
        }
    }
}

/// The datacenter that is everybody's current one.
pub(super) fn main_dc<'a>(view: &'a View<'_>) -> Option<&'a std::sync::Arc<Datacenter>> {
    DcName::parse(MAIN_DC).ok().and_then(|main| view.datacenter(&main))
}

/// A user's profile.
pub(super) struct ProfileObject<'a> {
    user: &'a User,
    settings: Settings<'a>,
}

impl<'a> ProfileObject<'a> {
    pub(super) fn new(user: &'a User, settings: Settings<'a>) -> Self {
        Self { user, settings }
    }
}

impl Serialize for ProfileObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Field::ALL.len() + 4))?;
        map.serialize_entry("username", self.user.name.as_str())?;
        for field in Field::ALL {
            map.serialize_entry(field.key(), &self.user.profile.shown(field, &self.settings))?;
            // The user's own fields stand between the profile's.
            match field {
                Field::TosAcceptation => map.serialize_entry("email", &*self.user.email)?,
                Field::Title => map.serialize_entry("first_name", &*self.user.first_name)?,
                Field::MiddleName => map.serialize_entry("last_name", &*self.user.last_name)?,
                _ => {}
            }
        }
        map.end()
    }
}

/// The profile's choices and defaults, from the configuration.
pub(super) fn profile_settings(profile: &config::Profile) -> Settings<'_> {
    Settings {
        languages: &profile.languages,
        currencies: &profile.currencies,
        default_language: &profile.default_language,
        default_timezone: &profile.default_timezone,
        default_currency: &profile.default_currency,
        default_country: &profile.default_country,
    }
}

/// An SSH key.
#[derive(serde::Serialize)]
pub(super) struct SshKeyObject<'a> {
    title: &'a str,
    fingerprint: String,
    key: String,
    fingerprint_sha256: String,
    #[serde(rename = "type")]
    key_type: &'static str,
    bits: u32,
    comment: &'a str,
    created: Option<Displayed<Timestamp>>,
    expires: Option<Displayed<Timestamp>>,
    options: Vec<String>,
}

impl<'a> SshKeyObject<'a> {
    pub(super) fn new(key: &'a SshKey) -> Self {
        Self {
            title: key.title.as_str(),
            fingerprint: key.public.fingerprint_md5(),
            key: key.public.line(),
            fingerprint_sha256: key.public.fingerprint_sha256(),
            key_type: key.public.key_type().name(),
            bits: key.public.bits(),
            comment: key.public.comment(),
            created: key.created.map(Displayed),
            expires: key.expires.map(Displayed),
            options: key.options.to_list(),
        }
    }
}

/// A group.
#[derive(serde::Serialize)]
pub(super) struct GroupObject<'a> {
    dc_bound: bool,
    name: &'a str,
    alias: &'a str,
    permissions: Vec<&'static str>,
    users: Vec<&'a str>,
    created: Displayed<Timestamp>,
    /// Only in extended objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    dcs: Option<Vec<&'a str>>,
}

impl<'a> GroupObject<'a> {
    pub(super) fn new(view: &'a View<'_>, group: &'a Group, extended: bool) -> Self {
        Self {
            dc_bound: group.dc_bound.is_some(),
            name: group.name.as_str(),
            alias: &group.alias,
            permissions: group.permissions.iter().map(|p| p.name()).collect(),
            users: view.members_of(group).iter().map(|u| u.name.as_str()).collect(),
            created: Displayed(group.created),
            dcs: extended.then(|| group.datacenters.iter().map(DcName::as_str).collect()),
        }
    }
}

/// A permission.
#[derive(serde::Serialize)]
pub(super) struct PermissionObject {
    name: &'static str,
    alias: &'static str,
}

impl PermissionObject {
    pub(super) fn new(permission: Permission) -> Self {
        Self { name: permission.name(), alias: permission.alias() }
    }
}

/// What the original counts in a datacenter. There is none of it here.
#[derive(Default, serde::Serialize)]
struct Counters {
    vms: u8,
    nodes: u8,
    snapshots: u8,
    backups: u8,
    real_vms: u8,
    size_vms: u8,
    size_snapshots: u8,
    size_backups: u8,
}

/// A datacenter.
#[derive(serde::Serialize)]
pub(super) struct DatacenterObject<'a> {
    name: &'a str,
    alias: &'a str,
    site: &'a str,
    owner: Option<&'a str>,
    access: u8,
    desc: &'a str,
    created: Displayed<Timestamp>,
    /// For SuperAdmins.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<&'a str>>,
    /// For SuperAdmins who ask for extended objects.
    #[serde(flatten)]
    counters: Option<Counters>,
}

impl<'a> DatacenterObject<'a> {
    /// `staff`: for a SuperAdmin.
    pub(super) fn new(view: &'a View<'_>, dc: &'a Datacenter, staff: bool, extended: bool) -> Self {
        Self {
            name: dc.name.as_str(),
            alias: &dc.alias,
            site: &dc.site,
            // in the spelling of the owner's entry, which a DN need not have
            owner: dc.owner.as_ref().map(|name| view.user(name).map_or(name, |user| &user.name).as_str()),
            access: dc.access.number(),
            desc: &dc.desc,
            created: Displayed(dc.created),
            groups: staff.then(|| view.groups_of_datacenter(&dc.name).iter().map(|g| g.name.as_str()).collect()),
            counters: (staff && extended).then(Counters::default),
        }
    }
}

/// A sequence whose objects are made one by one.
pub(super) struct Each<'i, T, F>(pub(super) &'i [T], pub(super) F);

impl<T: Copy, O: Serialize, F: Fn(T) -> O> Serialize for Each<'_, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|item| (self.1)(*item)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::samples;
    use crate::name::KeyTitle;
    use crate::sshkey::{Options, PublicKey};

    fn keys(object: &impl Serialize) -> Vec<String> {
        let value = serde_json::to_value(object).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn a_profile_has_the_contracts_keys_in_its_order() {
        let user = samples::user("bob");
        let config = config::Profile::default();
        let expected = "username tos_acceptation email email_verified email2 phone phone_verified phone2 newsletter_tech \
            newsletter_buss usertype language timezone currency title first_name middle_name last_name website jabber \
            street_1 street2_1 city postcode state country different_billing street_2 street2_2 city2 postcode2 state2 \
            country2 company companyid taxid vatid bankid alerting_phone alerting_jabber alerting_email";
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(keys(&ProfileObject::new(&user, profile_settings(&config))), expected);
    }

    #[test]
    fn an_ssh_key_shows_the_contracts_three_keys_first() {
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM2Cbze9O1y9ipWF6ryo8WqAug4QaIk94QN0v3fPnINR com ment";
        let key = SshKey {
            title: KeyTitle::parse("k3").unwrap(),
            public: PublicKey::parse(line).unwrap(),
            created: Some(Timestamp::from_seconds(1_700_000_000)),
            expires: None,
            options: Options::parse("restrict,pty").unwrap(),
        };
        let shown = serde_json::to_value(SshKeyObject::new(&key)).unwrap();
        let expected = serde_json::json!({
            "title": "k3",
            "fingerprint": "a8:6d:3f:ff:d8:7a:d5:16:c4:f3:0c:7b:ef:96:bf:86",
            "key": line,
            "fingerprint_sha256": key.public.fingerprint_sha256(),
            "type": "ssh-ed25519",
            "bits": 256,
            "comment": "com ment",
            "created": "2023-11-14T22:13:20Z",
            "expires": null,
            "options": ["restrict", "pty"],
        });
        assert_eq!(shown, expected);
        assert_eq!(keys(&SshKeyObject::new(&key))[..3], ["title", "fingerprint", "key"]);
    }
}
