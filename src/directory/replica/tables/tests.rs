//! What the tables believe, from whom and when.

use super::super::view::View;
use super::*;
use crate::accounts::profile::Profile;
use crate::accounts::user::PasswordEpoch;
use crate::accounts::{EntryId, Permission, Timestamp, samples};

fn id(n: u8) -> EntryId {
    EntryId([n; 16])
}

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

fn user(n: u8, text: &str, csn: &str) -> Decoded {
    let user = User {
        id: id(n),
        name: name(text),
        number: u64::from(n),
        created: Timestamp::from_micros(0),
        email: format!("{text}@Example.org").into(),
        first_name: "".into(),
        last_name: "".into(),
        enabled: true,
        locked: false,
        expires: None,
        super_admin: false,
        api_access: false,
        dc_bound: None,
        profile: Profile::default(),
        ssh_keys: Vec::new(),
        api_key: None,
        api_key_hash: Some([n; 32]),
        callback_key: None,
        password_epoch: PasswordEpoch([0; 16]),
        unfinished: None,
        password_weak: false,
        warnings: Vec::new(),
    };
    Decoded { id: id(n), csn: csn.into(), item: Item::User(user, UserFacts::default()) }
}

fn group(n: u8, text: &str, members: &[&str], csn: &str) -> Decoded {
    let group = Group {
        id: id(n),
        name: GroupName::parse(text).unwrap(),
        alias: text.into(),
        permissions: vec![Permission::Admin],
        members: members.iter().map(|m| name(m)).collect(),
        dc_bound: None,
        datacenters: Vec::new(),
        created: Timestamp::from_micros(0),
    };
    Decoded { id: id(n), csn: csn.into(), item: Item::Group(group) }
}

fn members(tables: &Tables, n: u8) -> Vec<String> {
    match &tables.slots[&id(n)].kept {
        Kept::Group(group) => group.members.iter().map(ToString::to_string).collect(),
        _ => panic!("no group"),
    }
}

fn is_member(tables: &Tables, user: &str) -> bool {
    tables.memberships.contains_key(&name(user))
}

/// `alice` and `bob` in `g1`.
fn filled() -> Tables {
    let mut tables = Tables::default();
    tables.put(user(1, "alice", "1"), Source::Refresh);
    tables.put(user(2, "bob", "1"), Source::Refresh);
    tables.put(group(9, "g1", &["alice", "bob"], "1"), Source::Refresh);
    tables
}

/// A look when every clean-up is over.
fn settle(tables: &mut Tables, decoded: Decoded) {
    assert!(tables.settle(decoded, Instant::now(), Duration::ZERO));
}

#[test]
fn an_older_state_never_replaces_a_newer_one() {
    let mut tables = filled();
    tables.put(user(1, "alice", "5"), Source::OwnWrite);
    tables.put(user(1, "old-alice", "4"), Source::Push);
    assert!(tables.users.only(&name("alice")).is_some() && tables.users.only(&name("old-alice")).is_none());
}

#[test]
fn content_sync_counts_even_where_the_directorys_clock_was_set_back() {
    let mut tables = filled();
    tables.put(user(1, "future-alice", "9"), Source::OwnWrite);
    tables.put(user(1, "older-alice", "8"), Source::Push);
    assert!(tables.users.only(&name("future-alice")).is_some(), "content sync is not there yet");
    tables.put(user(1, "future-alice", "9"), Source::Push);
    tables.put(user(1, "alice", "2"), Source::Push);
    assert!(tables.users.only(&name("alice")).is_some());
    tables.put(user(1, "late-alice", "1"), Source::OwnWrite);
    assert!(tables.users.only(&name("alice")).is_some());
}

#[test]
fn a_full_refresh_may_go_back_but_not_behind_what_we_wrote_meanwhile() {
    let mut tables = filled();
    tables.put(user(1, "alice", "5"), Source::Push);
    tables.begin_refresh();
    tables.put(user(2, "bob", "9"), Source::OwnWrite);
    tables.put(user(1, "restored", "3"), Source::Refresh);
    tables.put(user(2, "old-bob", "3"), Source::Refresh);
    assert!(tables.users.only(&name("restored")).is_some());
    assert!(tables.users.only(&name("bob")).is_some());
}

#[test]
fn what_the_directory_has_not_after_a_refresh_is_gone_but_for_what_we_wrote_meanwhile() {
    let mut tables = filled();
    tables.begin_refresh();
    let mut absent = tables.known();
    absent.remove(&id(2));
    tables.put(user(3, "carol", "2"), Source::OwnWrite);
    tables.forget_absent(&Vec::from_iter(absent), &[], true);
    assert_eq!(tables.slots.len(), 2);
    assert!(tables.users.only(&name("alice")).is_none() && tables.users.only(&name("carol")).is_some());
    assert!(tables.mails.get("alice@example.org").is_empty() && tables.api_keys.only(&[1; 32]).is_none());
    assert!(!is_member(&tables, "alice"));
}

#[test]
fn a_push_that_was_on_its_way_does_not_bring_back_what_we_deleted() {
    let mut tables = filled();
    tables.remove_own(id(1));
    tables.put(user(1, "alice", "7"), Source::Push);
    assert!(tables.users.only(&name("alice")).is_none());
    // the push of the end itself; after that the identity is free, as in a restored backup
    tables.remove(id(1));
    tables.put(user(1, "alice", "7"), Source::Refresh);
    assert!(tables.users.only(&name("alice")).is_some());
}

#[test]
fn a_check_that_was_under_way_does_not_bring_back_what_we_deleted() {
    let mut tables = filled();
    let absent = [id(1)];
    tables.remove_own(id(1));
    assert!(!tables.forget_absent(&absent, &["9".to_owned()], false));
    tables.put(user(1, "alice", "7"), Source::Push);
    assert!(tables.users.only(&name("alice")).is_none());
}

#[test]
fn what_is_newer_than_its_own_server_has_said_is_not_taken_for_gone() {
    let csn = |second: u8, server: &str| format!("2026112416012{second}.000000Z#000000#{server}#000000");
    let far = [csn(5, "001"), csn(2, "002")];
    for (n, own, is_newer) in [(1, csn(5, "001"), false), (2, csn(3, "002"), true), (3, csn(1, "003"), true)] {
        let mut tables = Tables::default();
        tables.put(user(n, "alice", &own), Source::OwnWrite);
        assert_eq!(tables.forget_absent(&[id(n)], &far, false), is_newer, "{own}");
        assert_eq!(tables.users.only(&name("alice")).is_some(), is_newer, "{own}");
    }
}

#[test]
fn where_the_server_does_not_say_how_far_it_is_what_we_wrote_and_were_not_told_of_is_not_taken_for_gone() {
    for (source, is_newer) in [(Source::OwnWrite, true), (Source::Push, false)] {
        let mut tables = Tables::default();
        tables.put(user(1, "alice", "1"), source);
        assert_eq!(tables.forget_absent(&[id(1)], &[], false), is_newer);
        assert_eq!(tables.users.only(&name("alice")).is_some(), is_newer);
    }
}

#[test]
fn a_user_created_again_under_the_old_name_is_in_no_group() {
    let mut tables = filled();
    tables.remove(id(1));
    tables.put(user(5, "alice", "3"), Source::Push);
    assert!(!is_member(&tables, "alice"));
    assert_eq!(tables.take_suspects().len(), 1);
    // another change of the group, made before refint's, still names the dead entry
    tables.put(group(9, "g1", &["alice", "bob", "carol"], "4"), Source::Push);
    assert!(!is_member(&tables, "alice") && is_member(&tables, "carol"));
    // the directory has cleaned up: nothing to come back
    settle(&mut tables, group(9, "g1", &["bob", "carol"], "4"));
    assert!(!is_member(&tables, "alice"));
    // a membership that is given from here on counts at once
    tables.put(group(9, "g1", &["alice", "bob"], "5"), Source::Push);
    assert!(is_member(&tables, "alice"));
}

#[test]
fn a_renamed_user_loses_the_memberships_of_the_old_name() {
    let mut tables = filled();
    tables.put(user(1, "alice2", "2"), Source::Push);
    assert_eq!(members(&tables, 9), ["bob"]);
    assert_eq!(tables.take_suspects().len(), 1);
    tables.put(group(9, "g1", &["alice2", "bob"], "1"), Source::Recheck);
    assert!(is_member(&tables, "alice2"), "refint's own change does not touch the CSN");
}

#[test]
fn a_directory_that_does_not_clean_up_gives_nothing_back_until_somebody_does() {
    let mut tables = filled();
    tables.remove(id(1));
    settle(&mut tables, group(9, "g1", &["alice", "bob"], "1"));
    assert!(!is_member(&tables, "alice"));
    // named again by a push, confirmed by the last look
    tables.put(group(9, "g1", &["alice", "bob"], "2"), Source::Push);
    assert!(!is_member(&tables, "alice"));
    settle(&mut tables, group(9, "g1", &["alice", "bob"], "2"));
    assert!(is_member(&tables, "alice"));
}

#[test]
fn a_look_before_the_clean_up_is_over_or_behind_content_sync_settles_nothing() {
    let mut tables = filled();
    let began = Instant::now();
    tables.remove(id(1));
    tables.put(group(9, "g1", &["alice", "bob"], "2"), Source::Push);
    // another member's last look, say
    let soon = Instant::now() + Duration::from_millis(10);
    assert!(tables.settle(group(9, "g1", &["alice", "bob"], "2"), soon, Duration::from_secs(1)));
    assert!(!is_member(&tables, "alice"));
    let later = began + Duration::from_secs(3);
    assert!(!tables.settle(group(9, "g1", &["bob"], "1"), later, Duration::from_secs(1)));
    assert!(tables.settle(group(9, "g1", &["alice", "bob"], "2"), later, Duration::from_secs(1)));
    assert!(is_member(&tables, "alice"));
}

#[test]
fn what_was_owned_by_or_bound_to_what_went_is_looked_at_again() {
    let dc = Datacenter { id: id(7), owner: Some(name("alice")), ..samples::datacenter("dc9") };
    let mut tables = filled();
    tables.put(Decoded { id: id(7), csn: "1".into(), item: Item::Datacenter(dc) }, Source::Refresh);
    let mut bound = user(2, "bob", "2");
    let Item::User(bob, _) = &mut bound.item else { panic!() };
    bob.dc_bound = DcName::parse("dc9").ok();
    tables.put(bound, Source::Push);
    tables.remove(id(1));
    assert_eq!(tables.take_suspects(), [id(7), id(9)]);
    tables.remove(id(7));
    assert_eq!(tables.take_suspects(), [id(2)]);
}

#[test]
fn what_refers_to_nothing_when_it_comes_is_looked_at_again() {
    let mut tables = filled();
    let owned = |owner: &str, csn: &str| {
        let dc = Datacenter { id: id(7), owner: Some(name(owner)), ..samples::datacenter("dc9") };
        Decoded { id: id(7), csn: csn.into(), item: Item::Datacenter(dc) }
    };
    tables.put(owned("alice", "1"), Source::OwnWrite);
    assert!(tables.take_suspects().is_empty());
    for source in [Source::OwnWrite, Source::Push] {
        tables.put(owned("nobody", "2"), source);
        assert_eq!(tables.take_suspects(), [id(7)], "{source:?}");
    }
    tables.put(owned("nobody", "3"), Source::Recheck);
    tables.put(group(8, "g2", &["bob"], "3"), Source::Push);
    assert!(tables.take_suspects().is_empty());
    tables.put(group(8, "g2", &["bob", "carol"], "4"), Source::Push);
    assert_eq!(tables.take_suspects(), [id(8)]);
}

#[test]
fn our_own_grant_counts_at_once_and_is_looked_at_again() {
    let mut tables = filled();
    tables.remove(id(1));
    tables.take_suspects();
    tables.readmit(id(9), vec![Reference::User(name("alice"))]);
    tables.put(group(9, "g1", &["alice", "bob"], "2"), Source::OwnWrite);
    assert!(is_member(&tables, "alice"));
    assert!(tables.take_suspects().contains(&id(9)));
    // the clean-up after the one before him comes late, and takes this away too
    settle(&mut tables, group(9, "g1", &["alice", "bob"], "2"));
    assert!(is_member(&tables, "alice") && tables.is_open(id(9)));
    settle(&mut tables, group(9, "g1", &["bob"], "2"));
    assert!(!is_member(&tables, "alice") && !tables.is_open(id(9)));
}

#[test]
fn what_is_named_after_its_target_went_and_came_counts_and_is_watched() {
    let mut tables = filled();
    // left his groups, then went, by the API
    tables.put(group(9, "g1", &["bob"], "2"), Source::Push);
    tables.remove(id(1));
    tables.put(user(5, "alice", "3"), Source::Push);
    tables.take_suspects();
    for source in [Source::Push, Source::OwnWrite] {
        tables.put(group(9, "g1", &["alice", "bob"], "4"), source);
        assert!(is_member(&tables, "alice") && tables.is_open(id(9)), "{source:?}");
    }
    assert_eq!(tables.take_suspects(), [id(9)], "once");
    // the clean-up after another entry of the name, which an LDAP tool deleted before all that
    settle(&mut tables, group(9, "g1", &["bob"], "4"));
    assert!(!is_member(&tables, "alice") && !tables.is_open(id(9)));
}

#[test]
fn what_content_sync_names_again_is_not_believed_while_a_clean_up_is_seen_to_take_long() {
    let mut tables = filled();
    tables.put(user(3, "carol", "1"), Source::Push);
    tables.put(group(8, "g2", &["carol"], "1"), Source::Push);
    for n in [3, 1] {
        tables.remove(id(n));
    }
    tables.put(user(5, "alice", "3"), Source::Push);
    let again = || group(9, "g1", &["alice", "bob"], "4");
    tables.put(again(), Source::Push);
    settle(&mut tables, group(8, "g2", &["carol"], "1"));
    settle(&mut tables, again());
    assert!(!is_member(&tables, "alice"), "carol is still named");
    settle(&mut tables, group(8, "g2", &[], "1"));
    settle(&mut tables, again());
    assert!(is_member(&tables, "alice"));
    // what we changed of the group does not name anybody again when content sync comes to it
    let mut tables = filled();
    tables.remove(id(1));
    tables.put(again(), Source::OwnWrite);
    tables.put(again(), Source::Push);
    settle(&mut tables, again());
    assert!(!is_member(&tables, "alice"));
}

#[test]
fn what_went_is_named_for_as_long_as_the_clean_up_takes_and_gives_nothing_to_the_next_of_its_name() {
    let dc9 = || Some(DcName::parse("dc9").unwrap());
    let datacenter = |n: u8, owner: Option<&str>| {
        let dc = Datacenter { id: id(n), owner: owner.map(name), ..samples::datacenter("dc9") };
        Decoded { id: id(n), csn: n.to_string().into(), item: Item::Datacenter(dc) }
    };
    let bound = |to: Option<DcName>| {
        let mut bound = user(2, "bob", "2");
        let Item::User(bob, _) = &mut bound.item else { panic!() };
        bob.dc_bound = to;
        bound
    };
    let attached = |to: Option<DcName>| {
        let mut attached = group(9, "g1", &["bob"], "2");
        let Item::Group(group) = &mut attached.item else { panic!() };
        (group.datacenters, group.dc_bound) = (to.iter().cloned().collect(), to);
        attached
    };
    let mut tables = filled();
    tables.put(datacenter(7, Some("alice")), Source::Refresh);
    tables.put(bound(dc9()), Source::Push);
    tables.put(attached(dc9()), Source::Push);
    tables.remove(id(1));
    tables.put(user(5, "alice", "3"), Source::Push);
    settle(&mut tables, datacenter(7, Some("alice")));
    let owner = |tables: &Tables, n| match &tables.slots[&id(n)].kept {
        Kept::Datacenter(dc) => dc.owner.clone(),
        _ => panic!("no datacenter"),
    };
    assert_eq!(owner(&tables, 7), None, "she is another one");
    assert!(tables.is_open(id(7)));
    tables.remove(id(7));
    for _ in 0..2 {
        settle(&mut tables, bound(dc9()));
        settle(&mut tables, attached(dc9()));
        assert!(tables.is_open(id(2)) && tables.is_open(id(9)));
        assert!(tables.users_bound.is_empty());
        let Kept::Group(group) = &tables.slots[&id(9)].kept else { panic!() };
        assert!(group.datacenters.is_empty() && group.dc_bound.is_none());
        tables.put(datacenter(8, None), Source::Push);
    }
    settle(&mut tables, bound(None));
    settle(&mut tables, attached(None));
    assert!(!tables.is_open(id(2)) && !tables.is_open(id(9)));
    tables.put(bound(dc9()), Source::Push);
    assert!(!tables.users_bound.is_empty(), "bound to the new one");
}

#[test]
fn an_entry_that_only_claims_a_name_is_nobody_and_makes_the_user_nobody() {
    let mut tables = filled();
    tables
        .put(Decoded { id: id(3), csn: "1".into(), item: Item::Claim(vec![name("bob"), name("Alice")]) }, Source::Push);
    assert!(tables.users.only(&name("alice")).is_none());
    tables.remove(id(3));
    assert_eq!(tables.users.only(&name("alice")), Some(id(1)));
    assert_eq!(tables.skipped, 0);
}

#[test]
fn an_entry_that_can_no_longer_be_parsed_counts_as_nothing() {
    let mut tables = filled();
    tables.put(Decoded { id: id(1), csn: "2".into(), item: Item::Skipped }, Source::Push);
    assert!(tables.users.only(&name("alice")).is_none());
    assert_eq!(tables.skipped, 1);
    tables.put(user(1, "alice", "3"), Source::Push);
    assert_eq!(tables.skipped, 0);
}

#[test]
fn a_late_answer_to_our_write_brings_nobody_back() {
    let mut tables = filled();
    tables.remove(id(2)); // pushed
    tables.put(user(2, "bob", "2"), Source::OwnWrite); // post-read of a modify that came before
    assert!(tables.users.only(&name("bob")).is_none());
}

#[test]
fn a_membership_given_again_during_an_outage_counts_in_the_end() {
    let mut tables = filled();
    tables.begin_refresh();
    tables.put(user(1, "alice", "1"), Source::Refresh);
    tables.put(user(5, "bob", "7"), Source::Refresh);
    tables.put(group(9, "g1", &["alice", "bob"], "8"), Source::Refresh);
    assert_eq!(tables.users.only(&name("bob")), Some(id(5)));
    settle(&mut tables, group(9, "g1", &["alice", "bob"], "8"));
    assert_eq!(members(&tables, 9), ["alice", "bob"]);
}

#[test]
fn of_two_entries_of_one_dn_the_newest_stays_and_is_looked_at_again() {
    for (source, older_first) in [(Source::Push, true), (Source::Push, false), (Source::OwnWrite, true)] {
        let mut tables = Tables::default();
        let mut both = [group(1, "g", &[], "1"), group(2, "G", &[], "2")];
        if !older_first {
            both.reverse();
        }
        both.into_iter().for_each(|entry| tables.put(entry, source));
        assert_eq!(tables.groups.only(&GroupName::parse("g").unwrap()), Some(id(2)), "{source:?} {older_first}");
        assert_eq!(tables.slots.len(), 1);
        assert!(tables.take_suspects().contains(&id(2)));
    }
    let mut tables = filled();
    tables.put(user(5, "alice", "2"), Source::Push);
    assert_eq!(tables.users.only(&name("alice")), Some(id(5)));
    assert!(!is_member(&tables, "alice"), "the memberships were the other one's");
}

#[test]
fn a_refresh_tells_what_is_there_however_old_but_not_behind_what_we_wrote_meanwhile() {
    let mut tables = filled();
    tables.begin_refresh();
    tables.put(user(5, "alice", "0"), Source::Refresh);
    assert_eq!(tables.users.only(&name("alice")), Some(id(5)), "the directory was set back");
    tables.put(user(6, "alice", "7"), Source::OwnWrite);
    tables.put(user(5, "alice", "0"), Source::Refresh);
    assert_eq!(tables.users.only(&name("alice")), Some(id(6)));
}

#[test]
fn what_has_a_users_name_in_another_dn_is_no_rival_of_his() {
    let mut tables = filled();
    tables.put(Decoded { id: id(7), csn: "9".into(), item: Item::Claim(vec![name("alice")]) }, Source::Push);
    tables.put(user(1, "alice", "2"), Source::Push);
    assert_eq!(tables.users.get(&name("alice")).len(), 2);
    assert_eq!(tables.skipped, 1);
}

#[test]
fn an_entry_whose_end_was_told_before_its_beginning_is_looked_at_again() {
    let mut tables = filled();
    tables.remove(id(7));
    tables.put(group(7, "g7", &[], "3"), Source::Recheck);
    assert!(!tables.slots.contains_key(&id(7)), "an answer from before");
    tables.put(group(7, "g7", &[], "3"), Source::Push);
    assert!(tables.slots.contains_key(&id(7)), "as of an entry whose class comes back");
    assert_eq!(tables.take_suspects(), [id(7)]);
    tables.remove(id(7));
    tables.put(group(7, "g7", &[], "4"), Source::CatchUp);
    assert!(tables.slots.contains_key(&id(7)), "asked for on the connection that told of its end");
    assert_eq!(tables.take_suspects(), [id(7)]);
    tables.put(group(7, "g7", &[], "4"), Source::Push);
    tables.put(group(7, "g7", &[], "3"), Source::Push);
    assert_eq!(tables.take_suspects(), [id(7)], "an older state after a newer one");
}

#[test]
fn a_list_goes_on_after_a_user_who_went_however_many_sessions_end_meanwhile() {
    let mut tables = filled();
    tables.remove(id(1));
    let session = |n: usize| {
        let mut bytes = [0xff; 16];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        let id = EntryId(bytes);
        let session = Session {
            id,
            token_hash: [0; 32],
            user: self::id(2),
            epochs: [].into(),
            expires: Timestamp::from_micros(0),
        };
        Decoded { id, csn: "2".into(), item: Item::Session(session) }
    };
    for n in 0..2 * GONE {
        tables.put(session(n), Source::Push);
        tables.remove(session(n).id);
    }
    tables.put(session(2 * GONE - 1), Source::OwnWrite);
    tables.put(user(1, "alice", "9"), Source::OwnWrite);
    assert!(tables.sessions_of.is_empty() && tables.users.get(&name("alice")).is_empty(), "nothing comes back");
    let lock = std::sync::RwLock::new(tables);
    assert!(View(lock.read().unwrap()).former_user("Alice", |_| true).is_some());
}
