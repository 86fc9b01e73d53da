//! Entries of every kind of strangeness, decoded.

use std::sync::Arc;

use super::*;

const ED25519: &[u8] = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM2Cbze9O1y9ipWF6ryo8WqAug4QaIk94QN0v3fPnINR laptop";
const UUID: &[u8] = b"0aec5ab2-7c85-103f-8d11-7b6f5f0a1b2c";

fn decode(dn: &str, attributes: &[(&str, &[&[u8]])]) -> Item {
    let decoder = Decoder {
        tree: Tree::new("dc=example,dc=org").unwrap(),
        ring: Arc::new(KeyRing::new(&[1; 32])),
        cost: password::Cost::default(),
    };
    let mut all: Vec<(&str, &[&[u8]])> = vec![("entryUUID", &[UUID])];
    all.extend_from_slice(attributes);
    decoder.decode(&RawEntry::for_test(dn, &all), None).unwrap().item
}

fn user(attributes: &[(&str, &[&[u8]])]) -> User {
    let mut all: Vec<(&str, &[&[u8]])> = vec![("objectClass", &[b"inetOrgPerson"])];
    all.extend_from_slice(attributes);
    match decode("uid=bob,ou=people,dc=example,dc=org", &all) {
        Item::User(user, _) => user,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plain_inet_org_person_is_an_active_user_with_defaults() {
    let user = user(&[("sn", &[b"Builder"]), ("cn", &[b"Bob"])]);
    assert!(user.is_active() && !user.super_admin && !user.api_access);
    assert_eq!((user.number, &*user.email, &*user.last_name), (0, "", "Builder"));
    assert!(user.warnings.is_empty(), "{:?}", user.warnings);
}

#[test]
fn flags_fail_towards_fewer_rights() {
    assert!(!user(&[("usherActive", &[b"FALSE"])]).is_active());
    assert!(!user(&[("usherActive", &[b"TRUE", b"FALSE"])]).is_active());
    assert!(!user(&[("usherActive", &[b"\xff"])]).is_active());
    assert!(!user(&[("usherSuperAdmin", &[b"TRUE", b"x"])]).super_admin);
    assert!(user(&[("usherSuperAdmin", &[b"TRUE"])]).super_admin);
    assert!(!user(&[("usherActive;lang-en", &[b"FALSE"])]).is_active(), "LDAP filters find it too");
    assert!(!user(&[("usherSuperAdmin;lang-en", &[b"TRUE"])]).super_admin);
    for spelling in [&b"000001010000Z"[..], b"00000101000000Z", b"0000010100Z", b"000001010000+0000"] {
        assert!(!user(&[("pwdAccountLockedTime", &[spelling])]).is_active());
    }
    assert!(
        user(&[("pwdAccountLockedTime", &[b"20261124001637Z"])]).is_active(),
        "wrong passwords lock passwords only"
    );
    assert!(!user(&[("nsAccountLock", &[b"true"])]).is_active());
}

#[test]
fn the_account_ends_at_the_earlier_of_both_ends_and_never_by_minus_one() {
    assert_eq!(user(&[("shadowExpire", &[b"-1"])]).expires, None);
    assert_eq!(user(&[("shadowExpire", &[b"1"])]).expires, Some(Timestamp::from_seconds(86_400)));
    let both = user(&[("shadowExpire", &[b"30000"]), ("pwdEndTime", &[b"19700102000000Z"])]);
    assert_eq!(both.expires, Some(Timestamp::from_seconds(86_400)));
    assert_eq!(user(&[("shadowExpire", &[b"x"])]).expires, Some(Timestamp::from_micros(0)), "unreadable means over");
}

#[test]
fn what_makes_a_refusal_cheap_and_what_can_be_verified_here_is_known() {
    // At 1000 s: whether ppolicy refuses unseen, whether a refusal costs a hash, whether it can be verified here.
    let facts = |more: &[(&str, &[&[u8]])]| {
        let mut all: Vec<(&str, &[&[u8]])> = vec![("objectClass", &[b"inetOrgPerson"])];
        all.extend_from_slice(more);
        let now = Timestamp::from_seconds(1000);
        match decode("uid=bob,ou=people,dc=example,dc=org", &all) {
            Item::User(_, facts) => (facts.refused_unseen(now), facts.costs_a_hash(now), facts.verifiable),
            other => panic!("{other:?}"),
        }
    };
    let hash = |cost: password::Cost| cost.hash(&crate::accounts::secrets::Secret::new("pw".to_owned())).unwrap();
    let usual = password::Cost::default();
    let hashes = [hash(usual), hash(password::Cost { passes: 3, ..usual })];
    let [own, stronger] = [&hashes[0], &hashes[1]].map(String::as_bytes);
    let values: &[&[u8]] = &[own];
    let strong = ("userPassword", values);
    assert_eq!(facts(&[strong]), (false, true, true));
    assert_eq!(facts(&[strong, ("usherActive", &[b"FALSE"]), ("shadowExpire", &[b"0"])]), (false, true, true));
    assert_eq!(facts(&[]), (false, false, false));
    assert_eq!(facts(&[("userPassword", &[b"{SSHA}c2FsdHk="])]), (false, false, false));
    assert_eq!(facts(&[("userPassword", &[stronger])]), (false, true, false));
    assert_eq!(facts(&[("userPassword", &[own, own])]), (false, true, false));
    for (name, value, expected) in [
        ("pwdStartTime", &b"19700101001640Z"[..], (false, true, true)),
        ("pwdStartTime", b"19700101001641Z", (true, false, true)),
        ("pwdStartTime", b"soon", (true, false, true)),
        ("pwdEndTime", b"19700101001641Z", (false, true, true)),
        ("pwdEndTime", b"19700101001640Z", (true, false, true)),
        ("pwdEndTime", b"soon", (true, false, true)),
        ("pwdAccountLockedTime", b"000001010000Z", (true, false, true)),
        // a lock-out by wrong passwords may be over
        ("pwdAccountLockedTime", b"20261124001637Z", (false, false, true)),
    ] {
        assert_eq!(facts(&[strong, (name, &[value])]), expected, "{name}: {}", String::from_utf8_lossy(value));
    }
}

#[test]
fn one_bad_key_does_not_hurt_another() {
    let big = vec![b'A'; 1 << 20];
    let bad: [&[u8]; 8] = [
        ED25519,
        b"\xff\xfe binary",
        b"ssh-ed25519 AAAA\r\nssh-ed25519 BBBB",
        b"ssh-ed25519",
        b"command=\"id\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPqS6Of3h1udaocaGwCokPoiC0KgWti4WcxB7WmNDK2a",
        &big,
        b"",
        b"-----BEGIN OPENSSH PRIVATE KEY-----",
    ];
    let user = user(&[("sshPublicKey", &bad)]);
    assert_eq!(user.ssh_keys.len(), 1);
    assert_eq!(user.ssh_keys[0].title.as_str(), "laptop");
    assert_eq!(user.warnings.len(), 7, "{:?}", user.warnings);
}

#[test]
fn a_second_key_is_titled_by_its_md5_where_the_comment_is_taken_or_no_title() {
    let other = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPqS6Of3h1udaocaGwCokPoiC0KgWti4WcxB7WmNDK2a laptop";
    let keys = user(&[("sshPublicKey", &[ED25519, other])]).ssh_keys;
    assert_eq!(keys.len(), 2);
    let plain: Vec<_> = keys.iter().map(|k| k.title.as_str()).filter(|t| t.len() != 32).collect();
    assert_eq!(plain, ["laptop"]);
    let md5 = keys.iter().find(|k| k.title.as_str() != "laptop").unwrap();
    assert_eq!(md5.title.as_str(), md5.public.fingerprint_md5().replace(':', ""));
}

#[test]
fn what_is_known_of_a_key_round_trips_and_unreadable_restrictions_withhold_it() {
    let fingerprint = user(&[("sshPublicKey", &[ED25519])]).ssh_keys[0].public.fingerprint_sha256();
    let meta =
        format!("{fingerprint} title=k1 created=20261124001637.567497Z options=restrict,from=\"10.0.0.0/8,!10.1.1.1\"");
    let good = user(&[("sshPublicKey", &[ED25519]), ("usherSshKey", &[meta.as_bytes()])]);
    assert_eq!(good.ssh_keys[0].title.as_str(), "k1");
    assert!(!good.ssh_keys[0].options.is_empty());
    let again = keys::encode(&good.ssh_keys[0]);
    let round = user(&[("sshPublicKey", &[ED25519]), ("usherSshKey", &[again.as_bytes()])]);
    assert_eq!(round.ssh_keys, good.ssh_keys);
    let unreadable = [" title=k1 options=no-such-option", " title=k1 expires=soon", " title=k1 later=1", " title=a b"];
    for bad in unreadable.into_iter().chain(["= options=restrict", "\toptions=restrict", "  options=restrict"]) {
        let meta = format!("{fingerprint}{bad}");
        let user = user(&[("sshPublicKey", &[ED25519]), ("usherSshKey", &[meta.as_bytes()])]);
        assert!(user.ssh_keys.is_empty(), "{bad}");
        assert_eq!(user.warnings.len(), 1, "{bad}");
    }
}

#[test]
fn texts_that_are_none_are_skipped_with_a_warning() {
    let user = user(&[("givenName", &[b"\xff"]), ("mail", &[b"z@example.org", b"a@example.org"]), ("sn", &[b"a\nb"])]);
    assert_eq!((&*user.first_name, &*user.last_name, &*user.email), ("", "", "a@example.org"));
    assert_eq!(user.warnings.len(), 2);
}

#[test]
fn a_second_uid_and_attribute_options_change_nothing() {
    let user = user(&[("uid", &[b"bob", b"admin"]), ("sshPublicKey;x-tag", &[ED25519])]);
    assert_eq!(user.name.as_str(), "bob");
    assert!(user.ssh_keys.is_empty());
    assert_eq!(user.warnings.len(), 1);
}

#[test]
fn a_packed_name_is_spelled_as_its_uid_says() {
    let tree = Tree::new("dc=example,dc=org").unwrap();
    let long = UserName::parse(&"Long+Name".repeat(28)).unwrap();
    let lower = long.canonical();
    let spelled =
        |uids: &[&[u8]]| match decode(&tree.user(&long), &[("objectClass", &[b"usherAccount"]), ("uid", uids)]) {
            Item::User(user, _) => (user.name.as_str().to_owned(), user.warnings.len()),
            other => panic!("{other:?}"),
        };
    assert_eq!(spelled(&[long.as_str().as_bytes()]), (long.as_str().to_owned(), 0));
    assert_eq!(spelled(&[b"\xff", b"bob", long.as_str().as_bytes()]), (long.as_str().to_owned(), 1));
    for wrong in [&[][..], &[&b"bob"[..]], &[b"LONG"], &[&lower.as_bytes()[1..]]] {
        assert_eq!(spelled(wrong), (lower.clone(), 1), "{wrong:?}");
    }
}

#[test]
fn a_binding_that_names_nothing_is_still_a_binding() {
    let user = user(&[("usherDcBound", &[b"cn=x,ou=elsewhere,dc=example,dc=org"])]);
    assert!(user.dc_bound.is_some());
    // and no group gives rights over those who are bound to nothing
    let nowhere = format!("cn={},ou=datacenters,dc=example,dc=org", user.dc_bound.unwrap());
    let group: [(&str, &[&[u8]]); 2] =
        [("objectClass", &[b"usherGroup"]), ("usherDatacenterLink", &[nowhere.as_bytes()])];
    let item = decode("cn=g1,ou=groups,dc=example,dc=org", &group);
    let Item::Group(group) = item else { panic!("{item:?}") };
    assert!(group.datacenters.is_empty());
}

#[test]
fn group_members_are_users_of_ours_and_nothing_else() {
    let item = decode(
        "cn=g1,ou=groups,dc=example,dc=org",
        &[
            ("objectClass", &[b"usherGroup"]),
            (
                "member",
                &[
                    b"uid=bob,ou=people,dc=example,dc=org",
                    b"cn=x,dc=example,dc=org",
                    b"\xff",
                    b"uid=a b,ou=people,dc=example,dc=org",
                ],
            ),
            ("usherPermission", &[b"user_admin", b"admin", b"nonsense"]),
        ],
    );
    let Item::Group(group) = item else { panic!("{item:?}") };
    assert_eq!(group.members, [UserName::parse("bob").unwrap()]);
    assert_eq!(group.permissions, [Permission::Admin, Permission::UserAdmin]);
    assert_eq!(&*group.alias, "g1");
}
