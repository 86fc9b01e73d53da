//! Groups and the permissions that they carry.

use super::time::Timestamp;
use super::user::EntryId;
use crate::name::{DcName, GroupName, UserName};

/// One of the nine permissions that exist (contract 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Permission {
    Admin,
    DnsAdmin,
    ImageAdmin,
    ImageImportAdmin,
    IsoAdmin,
    MonitoringAdmin,
    NetworkAdmin,
    TemplateAdmin,
    UserAdmin,
}

impl Permission {
    /// All of them, by name.
    pub(crate) const ALL: [Self; 9] = [
        Self::Admin,
        Self::DnsAdmin,
        Self::ImageAdmin,
        Self::ImageImportAdmin,
        Self::IsoAdmin,
        Self::MonitoringAdmin,
        Self::NetworkAdmin,
        Self::TemplateAdmin,
        Self::UserAdmin,
    ];

    /// The permission called `name`, exactly.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::DnsAdmin => "dns_admin",
            Self::ImageAdmin => "image_admin",
            Self::ImageImportAdmin => "image_import_admin",
            Self::IsoAdmin => "iso_admin",
            Self::MonitoringAdmin => "monitoring_admin",
            Self::NetworkAdmin => "network_admin",
            Self::TemplateAdmin => "template_admin",
            Self::UserAdmin => "user_admin",
        }
    }

    pub(crate) const fn alias(self) -> &'static str {
        match self {
            Self::Admin => "Admin",
            Self::DnsAdmin => "DnsAdmin",
            Self::ImageAdmin => "ImageAdmin",
            Self::ImageImportAdmin => "ImageImportAdmin",
            Self::IsoAdmin => "IsoAdmin",
            Self::MonitoringAdmin => "MonitoringAdmin",
            Self::NetworkAdmin => "NetworkAdmin",
            Self::TemplateAdmin => "TemplateAdmin",
            Self::UserAdmin => "UserAdmin",
        }
    }
}

/// A group as the directory holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) id: EntryId,
    pub(crate) name: GroupName,
    /// Shown name; the group's own name where the entry has none.
    pub(crate) alias: Box<str>,
    /// Sorted, without doubles.
    pub(crate) permissions: Vec<Permission>,
    /// Names that the entry's `member` holds. A name counts as a member only while a user of that name exists: ask the
    /// view's `members_of`, not this list.
    pub(crate) members: Vec<UserName>,
    /// The datacenter that the group is bound to.
    pub(crate) dc_bound: Option<DcName>,
    /// The datacenters that the group is attached to, in the order of attachment as far as the directory keeps it.
    pub(crate) datacenters: Vec<DcName>,
    pub(crate) created: Timestamp,
}

impl Group {
    /// Whether its members may administer what it is attached to, or a part of that.
    pub(crate) fn gives_rights(&self) -> bool {
        self.permissions.iter().any(|permission| matches!(permission, Permission::Admin | Permission::UserAdmin))
    }
}

/// What a call adds to a list that others may be replacing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Addition {
    Member(GroupName, UserName),
    Attachment(GroupName, DcName),
}

/// A group to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewGroup {
    pub(crate) name: GroupName,
    pub(crate) alias: String,
    pub(crate) permissions: Vec<Permission>,
    pub(crate) members: Vec<UserName>,
    /// Bound means attached too.
    pub(crate) dc_bound: Option<DcName>,
}

/// Changes of a group; `None` leaves a value as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupChange {
    pub(crate) alias: Option<String>,
    pub(crate) permissions: Option<Vec<Permission>>,
    pub(crate) add_members: Vec<UserName>,
    pub(crate) remove_members: Vec<UserName>,
    pub(crate) dc_bound: Option<Option<DcName>>,
}
