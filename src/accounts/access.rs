//! Who may do what: one pure decision per request (contract 1.5, 3.0, 5).
//!
//! The caller gathers small facts (its groups, the datacenters it owns, what the path names) and gets a verdict in the
//! order of contract 1.5: role, existence, object. Which fields may be changed is for the `…_rules` modules.

use std::collections::HashSet;

use super::datacenter::{Access, Datacenter};
use super::group::{Group, Permission};
use super::user::User;
use crate::name::{DcName, UserName};

/// What a caller may administer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) super_admin: bool,
    /// The datacenters whose users and groups a UserAdmin manages; empty for everybody else.
    managed: HashSet<DcName>,
}

impl Rights {
    /// The rights of a caller who is in `groups` and owns `owned`: a datacenter is managed if a group that is attached
    /// to it grants `user_admin`, and the caller owns it or such a group grants `admin`.
    pub(crate) fn of(caller: &User, groups: &[&Group], owned: &[&DcName]) -> Self {
        if caller.super_admin {
            return Self { super_admin: true, managed: HashSet::new() };
        }
        let attached = |permission| {
            groups.iter().filter(move |g| g.permissions.contains(&permission)).flat_map(|g| g.datacenters.iter())
        };
        let administered: HashSet<&DcName> = attached(Permission::Admin).chain(owned.iter().copied()).collect();
        let managed = attached(Permission::UserAdmin).filter(|dc| administered.contains(dc)).cloned().collect();
        Self { super_admin: false, managed }
    }

    pub(crate) fn is_user_admin(&self) -> bool {
        !self.managed.is_empty()
    }

    /// Whether users and groups bound to `dc` are the caller's to manage. What is bound to none is a SuperAdmin's.
    pub(crate) fn manages(&self, dc: Option<&DcName>) -> bool {
        self.super_admin || dc.is_some_and(|dc| self.managed.contains(dc))
    }

    /// Whether `user` is the caller's to manage. A SuperAdmin whom an LDAP tool bound to a datacenter is nobody's but
    /// the SuperAdmins'.
    pub(crate) fn manages_user(&self, user: &User) -> bool {
        self.super_admin || (!user.super_admin && self.manages(user.dc_bound.as_ref()))
    }
}

/// What is asked for, as far as rights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The two keys of a user: not for UserAdmins.
    ApiKeys,
    /// Reading groups.
    Groups,
    /// Writing groups.
    GroupWrite,
    Permissions,
    /// A user, its profile, its SSH keys.
    User,
    /// POST of a user.
    UserCreate,
    /// DELETE of a user: nobody deletes himself or the first admin.
    UserDelete,
    /// The lists of users and of profiles.
    Users,
    /// Writing datacenters, attaching groups.
    DatacenterWrite,
}

/// What the path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nothing in particular: a list.
    List,
    /// A name that nobody has.
    Missing,
    /// The caller.
    Own,
    /// Something that exists; `managed` as [`Rights::manages`] says.
    Other { managed: bool },
}

/// The decision; what is not allowed is named by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// 403 "Permission denied".
    RoleDenied,
    /// 404.
    Missing,
    /// 406.
    Exists,
    /// 403 "You do not have permission to perform this action."
    ObjectDenied,
}

/// Decides in the order of contract 1.5: the role, then whether the object is there, then the object itself.
pub(crate) fn decide(rights: &Rights, endpoint: Endpoint, target: Target) -> Verdict {
    let own = target == Target::Own;
    let role = rights.super_admin
        || match endpoint {
            Endpoint::ApiKeys => own,
            Endpoint::Groups | Endpoint::Users => rights.is_user_admin(),
            Endpoint::User | Endpoint::UserCreate | Endpoint::UserDelete => own || rights.is_user_admin(),
            Endpoint::DatacenterWrite | Endpoint::GroupWrite | Endpoint::Permissions => false,
        };
    if !role {
        return Verdict::RoleDenied;
    }
    match (endpoint, target) {
        (Endpoint::UserCreate, Target::Own | Target::Other { .. }) => Verdict::Exists,
        (Endpoint::UserCreate, Target::Missing) => Verdict::Allowed,
        (_, Target::Missing) => Verdict::Missing,
        (Endpoint::UserDelete, Target::Own) => Verdict::ObjectDenied,
        (_, Target::Other { managed: false }) if !rights.super_admin => Verdict::ObjectDenied,
        _ => Verdict::Allowed,
    }
}

/// Whether the caller may see the datacenter; one that he may not see does not exist for him. `main` is everybody's
/// current datacenter.
pub(crate) fn may_see(caller: &User, groups: &[&Group], dc: &Datacenter) -> bool {
    caller.super_admin
        || dc.access == Access::Public
        || dc.name.as_str().eq_ignore_ascii_case(super::MAIN_DC)
        || owns(&caller.name, dc)
        || groups.iter().any(|g| g.datacenters.contains(&dc.name))
}

/// Whether the caller is the datacenter's admin: SuperAdmin, owner, or member of a group attached to it that grants
/// `admin` (contract 5.3).
pub(crate) fn administers(caller: &User, groups: &[&Group], dc: &Datacenter) -> bool {
    caller.super_admin
        || owns(&caller.name, dc)
        || groups.iter().any(|g| g.permissions.contains(&Permission::Admin) && g.datacenters.contains(&dc.name))
}

fn owns(user: &UserName, dc: &Datacenter) -> bool {
    dc.owner.as_ref() == Some(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::samples;

    fn dc(name: &str) -> DcName {
        DcName::parse(name).unwrap()
    }

    fn group(name: &str, permissions: &[Permission], datacenters: &[&str]) -> Group {
        Group {
            permissions: permissions.to_vec(),
            datacenters: datacenters.iter().map(|d| dc(d)).collect(),
            ..samples::group(name)
        }
    }

    #[test]
    fn a_datacenter_is_managed_with_user_admin_and_admin_or_ownership_of_it() {
        use Permission::{Admin, DnsAdmin, UserAdmin};
        let user = samples::user("ua");
        let managed = |groups: &[Group], owned: &[&str]| {
            let owned: Vec<DcName> = owned.iter().map(|d| dc(d)).collect();
            let rights = Rights::of(&user, &groups.iter().collect::<Vec<_>>(), &owned.iter().collect::<Vec<_>>());
            let mut managed: Vec<_> = rights.managed.iter().map(DcName::canonical).collect();
            managed.sort_unstable();
            managed
        };
        assert_eq!(managed(&[group("g", &[Admin, UserAdmin], &["dc3", "DC3", "dc4"])], &[]), ["dc3", "dc4"]);
        assert_eq!(managed(&[group("g", &[UserAdmin], &["dc3"]), group("h", &[Admin], &["Dc3"])], &[]), ["dc3"]);
        assert_eq!(managed(&[group("g", &[UserAdmin], &["dc3", "dc4"])], &["dc3"]), ["dc3"]);
        assert_eq!(managed(&[group("g", &[UserAdmin], &["dc3"]), group("h", &[Admin], &["dc4"])], &[]), [""; 0]);
        assert_eq!(managed(&[group("g", &[UserAdmin, DnsAdmin], &["dc3"])], &[]), [""; 0]);
        assert_eq!(managed(&[group("g", &[Admin], &["dc3"])], &["dc3"]), [""; 0]);
        assert_eq!(managed(&[group("g", &[Admin, UserAdmin], &[])], &["dc3"]), [""; 0]);
    }

    #[test]
    fn a_super_admin_bound_by_an_ldap_tool_is_not_a_user_admins_to_manage() {
        let rights = Rights { super_admin: false, managed: HashSet::from([dc("dc3")]) };
        let mut user = User { dc_bound: Some(dc("dc3")), ..samples::user("x") };
        assert!(rights.manages_user(&user));
        user.super_admin = true;
        assert!(!rights.manages_user(&user));
        assert!(Rights { super_admin: true, managed: HashSet::new() }.manages_user(&user));
    }

    /// Role × endpoint × target. The columns: list, missing, own, managed, foreign; `-` is a pair that does not occur.
    const TABLE: &str = "
        super  ApiKeys         -  404  ok  ok  ok
        ua     ApiKeys         -  403r ok  403r 403r
        plain  ApiKeys         -  403r ok  403r 403r
        super  Groups          ok 404  -   ok  ok
        ua     Groups          ok 404  -   ok  403o
        plain  Groups          403r 403r - 403r 403r
        super  GroupWrite      -  404  -   ok  ok
        ua     GroupWrite      -  403r -   403r 403r
        plain  GroupWrite      -  403r -   403r 403r
        super  Permissions     ok 404  -   ok  ok
        ua     Permissions     403r 403r - 403r 403r
        plain  Permissions     403r 403r - 403r 403r
        super  User            -  404  ok  ok  ok
        ua     User            -  404  ok  ok  403o
        plain  User            -  403r ok  403r 403r
        super  UserCreate      -  ok   406 406 406
        ua     UserCreate      -  ok   406 406 406
        plain  UserCreate      -  403r 406 403r 403r
        super  UserDelete      -  404  403o ok ok
        ua     UserDelete      -  404  403o ok 403o
        plain  UserDelete      -  403r 403o 403r 403r
        super  Users           ok -    -   -   -
        ua     Users           ok -    -   -   -
        plain  Users           403r -  -   -   -
        super  DatacenterWrite -  404  -   ok  ok
        ua     DatacenterWrite -  403r -   403r 403r
        plain  DatacenterWrite -  403r -   403r 403r
    ";

    #[test]
    fn every_role_gets_its_answer_at_every_endpoint_for_every_target() {
        let all = [
            Endpoint::ApiKeys,
            Endpoint::Groups,
            Endpoint::GroupWrite,
            Endpoint::Permissions,
            Endpoint::User,
            Endpoint::UserCreate,
            Endpoint::UserDelete,
            Endpoint::Users,
            Endpoint::DatacenterWrite,
        ];
        let targets = [
            Target::List,
            Target::Missing,
            Target::Own,
            Target::Other { managed: true },
            Target::Other { managed: false },
        ];
        let mut rows = 0;
        for line in TABLE.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let rights = match words.next() {
                Some("super") => Rights { super_admin: true, managed: HashSet::new() },
                Some("ua") => Rights { super_admin: false, managed: HashSet::from([dc("dc3")]) },
                _ => Rights::default(),
            };
            let name = words.next().unwrap();
            let endpoint = *all.iter().find(|e| format!("{e:?}") == name).unwrap();
            let expected: Vec<&str> = words.collect();
            assert_eq!(expected.len(), targets.len(), "{line}");
            for (target, expected) in targets.into_iter().zip(expected) {
                let got = match decide(&rights, endpoint, target) {
                    Verdict::Allowed => "ok",
                    Verdict::RoleDenied => "403r",
                    Verdict::Missing => "404",
                    Verdict::Exists => "406",
                    Verdict::ObjectDenied => "403o",
                };
                assert!(expected == "-" || got == expected, "{line}: {target:?} is {got}");
            }
            rows += 1;
        }
        assert_eq!(rows, all.len() * 3);
    }

    #[test]
    fn datacenters_are_seen_by_the_public_their_owner_and_their_groups() {
        let mut private = samples::datacenter("dc3");
        let user = samples::user("u");
        let member = group("g", &[], &["dc3"]);
        let admin = group("h", &[Permission::Admin], &["dc3"]);
        let elsewhere = group("i", &[Permission::Admin], &["dc4"]);
        assert!(!may_see(&user, &[&elsewhere], &private));
        assert!(!administers(&user, &[&elsewhere], &private));
        assert!(may_see(&user, &[&member], &private));
        assert!(!administers(&user, &[&member], &private));
        assert!(administers(&user, &[&admin], &private));
        let root = User { super_admin: true, ..samples::user("r") };
        assert!(may_see(&root, &[], &private) && administers(&root, &[], &private));
        private.owner = Some(user.name.clone());
        assert!(may_see(&user, &[], &private) && administers(&user, &[], &private));
        let public = Datacenter { access: Access::Public, ..samples::datacenter("dc4") };
        assert!(may_see(&user, &[], &public) && !administers(&user, &[], &public));
        assert!(may_see(&user, &[], &samples::datacenter("main")));
    }
}
