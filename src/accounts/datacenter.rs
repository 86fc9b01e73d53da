//! Virtual datacenters: what users and groups are bound or attached to.

use super::secrets::RequestMark;
use super::time::Timestamp;
use super::user::EntryId;
use crate::name::{DcName, GroupName, UserName};

/// Who may see a datacenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody (1).
    Public,
    /// Its owner and the members of its groups (3).
    Private,
}

impl Access {
    /// The number that the API and the directory use.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Public => 1,
            Self::Private => 3,
        }
    }

    pub(crate) const fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Public),
            3 => Some(Self::Private),
            _ => None,
        }
    }
}

/// A datacenter as the directory holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Datacenter {
    pub(crate) id: EntryId,
    pub(crate) name: DcName,
    /// The number in task ids; 0 where an LDAP tool made the entry.
    pub(crate) number: u64,
    pub(crate) alias: Box<str>,
    pub(crate) site: Box<str>,
    /// `None` where the entry names no user.
    pub(crate) owner: Option<UserName>,
    pub(crate) access: Access,
    pub(crate) desc: Box<str>,
    pub(crate) created: Timestamp,
    /// As [`User::unfinished`](super::User::unfinished).
    pub(crate) unfinished: Option<Box<RequestMark>>,
}

/// A datacenter to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewDatacenter {
    pub(crate) name: DcName,
    pub(crate) alias: String,
    pub(crate) site: String,
    pub(crate) owner: UserName,
    pub(crate) access: Access,
    pub(crate) desc: String,
    /// Groups to be attached once it is there.
    pub(crate) groups: Vec<GroupName>,
}

/// Changes of a datacenter's own entry; `None` leaves a value as it is. Groups are attached by changing the groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct DatacenterChange {
    pub(crate) alias: Option<String>,
    pub(crate) site: Option<String>,
    pub(crate) owner: Option<UserName>,
    pub(crate) access: Option<Access>,
    pub(crate) desc: Option<String>,
    /// The groups are said too, so that what is left of the creation is over.
    pub(crate) sets_groups: bool,
}
