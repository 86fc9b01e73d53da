//! Plain objects of the domain for unit tests.

use super::datacenter::{Access, Datacenter};
use super::group::Group;
use super::profile::Profile;
use super::time::Timestamp;
use super::user::{EntryId, PasswordEpoch, User};
use crate::name::{DcName, GroupName, UserName};

const THEN: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// An active user without rights, bound to nothing.
pub(crate) fn user(name: &str) -> User {
    User {
        id: EntryId([1; 16]),
        name: UserName::parse(name).unwrap(),
        number: 8,
        created: THEN,
        email: format!("{name}@example.com").into(),
        first_name: "First".into(),
        last_name: "Last".into(),
        enabled: true,
        locked: false,
        expires: None,
        super_admin: false,
        api_access: true,
        dc_bound: None,
        profile: Profile::default(),
        ssh_keys: Vec::new(),
        api_key: None,
        api_key_hash: None,
        callback_key: None,
        password_epoch: PasswordEpoch([0; 16]),
        password_weak: false,
        unfinished: None,
        warnings: Vec::new(),
    }
}

/// A group without members and permissions, attached to nothing.
pub(crate) fn group(name: &str) -> Group {
    Group {
        id: EntryId([2; 16]),
        name: GroupName::parse(name).unwrap(),
        alias: name.into(),
        permissions: Vec::new(),
        members: Vec::new(),
        dc_bound: None,
        datacenters: Vec::new(),
        created: THEN,
    }
}

/// A private datacenter without an owner.
pub(crate) fn datacenter(name: &str) -> Datacenter {
    Datacenter {
        id: EntryId([3; 16]),
        name: DcName::parse(name).unwrap(),
        number: 3,
        alias: name.into(),
        site: format!("{name}.example.com").into(),
        owner: None,
        access: Access::Private,
        desc: "".into(),
        created: THEN,
        unfinished: None,
    }
}
