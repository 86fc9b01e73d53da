//! Calls on a daemon whose replica is old: content sync has not told it yet what another daemon wrote, on an entry that
//! a rule relates. The directory must hold what the rules say all the same, from the moment of the answer.

use serde_json::json;

use crate::pair::{BASE, DCS, Pair, bind, dc, group, user};
use crate::support::Request;
use crate::world::user_body;

/// A name of the greatest length: its entry has another kind of DN.
fn long(start: &str) -> String {
    format!("{start}{}", "x".repeat(254 - start.len()))
}

#[test]
fn who_was_bound_elsewhere_is_unbound_by_whoever_makes_him_a_member_and_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    for (round, name) in [("short", "mem1".to_owned()), ("packed", long("mem2"))] {
        pair.user(&name, json!({}));
        if round == "packed" {
            // The name stands in the DN. What an LDAP tool makes of `uid` is none, and nothing to find the entry by.
            let dn = &pair.ldap.search(BASE, "sub", &format!("(uid={name})"), &["cn"])[0].dn;
            pair.ldap.modify(&format!("dn: {dn}\nchangetype: modify\nreplace: uid\nuid: another\n"));
        }
        pair.part();
        fresh.put(&user(&name), &bind("dc3")).result(200);
        assert_eq!(stale.get(&user(&name)).result(200)["dc_bound"], false, "the second daemon does not know it");
        stale.put(&group("staff4"), &json!({"users": [name]})).result(200);
        pair.assert_unbound(&name);
        assert_eq!(stale.get(&user(&name)).result(200)["dc_bound"], false);

        fresh.put(&group("staff4"), &json!({"users": []})).result(200);
        pair.part();
        fresh.put(&user(&name), &bind("dc3")).result(200);
        stale.post(&group(&format!("new-{round}")), &json!({"dc": "dc4", "users": [name]})).result(201);
        pair.assert_unbound(&name);
    }
}

#[test]
fn who_was_bound_elsewhere_is_unbound_by_whoever_attaches_his_group_and_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    for (round, name) in [("short", "att1".to_owned()), ("packed", long("att2"))] {
        pair.user(&name, json!({}));
        for way in ["post", "put"] {
            let own = format!("{way}-{round}");
            pair.group(&own, json!({"dc_bound": false, "users": [name]}));
            pair.part();
            fresh.put(&user(&name), &bind("dc3")).result(200);
            if way == "post" {
                stale.post(&format!("/dc/dc4/group/{own}/"), &json!({})).result(201);
            } else {
                let groups = stale.put("/dc/dc4/", &json!({"groups": [own]})).result(200)["groups"].clone();
                assert_eq!(groups, json!([own]));
            }
            pair.assert_unbound(&name);
            fresh.delete(&group(&own)).result(200);
        }
    }
}

#[test]
fn all_members_are_looked_at_however_many_they_are() {
    let pair = Pair::new();
    let names: Vec<String> = (0..101).map(|i| format!("crowd{i}")).chain(["last".to_owned()]).collect();
    let entry = |name| format!("dn: uid={name},ou=people,{BASE}\nobjectClass: inetOrgPerson\ncn: x\nsn: x\n\n");
    pair.ldap.add(&names[..101].iter().map(entry).collect::<String>());
    pair.user("last", json!({}));
    pair.part();
    pair.fresh.put(&user("last"), &bind("dc3")).result(200);
    pair.stale.put(&group("staff4"), &json!({ "users": names })).result(200);
    pair.assert_unbound("last");
}

#[test]
fn a_newer_binding_that_the_daemon_did_not_know_stays_where_it_fits() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    pair.user("moved", json!({}));
    fresh.put(&user("moved"), &bind("dc3")).result(200);
    pair.part();
    fresh.put(&user("moved"), &bind("dc4")).result(200);
    assert_eq!(stale.get("/accounts/user/moved/").result(200)["dc_bound"], true);
    stale.put(&group("staff4"), &json!({"users": ["moved"]})).result(200);
    assert_eq!(pair.stored("(uid=moved)", "usherDcBound"), [format!("cn=dc4,{DCS}")]);
    assert_eq!(stale.get("/accounts/user/moved/").result(200)["dc_bound"], true);
}

#[test]
fn nobody_is_bound_beside_a_group_of_his_of_another_datacenter_that_the_daemon_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    for name in ["own1".to_owned(), long("own2")] {
        pair.user(&name, json!({}));
        pair.part();
        fresh.put(&group("staff4"), &json!({"users": [name]})).result(200);
        let refused = stale.put(&user(&name), &bind("dc3")).result(400);
        assert_eq!(refused, json!({"dc_bound": ["User's group(s) are attached into another datacenter(s)."]}));
        pair.assert_unbound(&name);
    }
    for name in ["own3".to_owned(), long("own4")] {
        let own = format!("of-{}", &name[..4]);
        pair.user(&name, json!({}));
        fresh.put(&user(&name), &bind("dc3")).result(200);
        pair.group(&own, json!({"dc": "dc3"}));
        pair.part();
        fresh.post(&format!("/dc/dc4/group/{own}/"), &json!({})).result(201);
        let refused = stale.put(&user(&name), &json!({"groups": [own]})).result(400);
        assert_eq!(refused, json!({"dc_bound": ["User's group(s) are attached into another datacenter(s)."]}));
        assert_eq!(pair.stored(&format!("(cn={own})"), "member"), [""; 0]);
        // The same for a new user.
        let other = format!("new-{}", name.len());
        let body = user_body(&other, &json!({"dc": "dc3", "groups": [own]}));
        pair.part();
        fresh.delete(&format!("/dc/dc4/group/{own}/")).result(200);
        pair.part();
        fresh.post(&format!("/dc/dc4/group/{own}/"), &json!({})).result(201);
        assert_eq!(stale.post(&user(&other), &body).result(201)["dc_bound"], false);
        pair.assert_unbound(&other);
    }
}

#[test]
fn nobody_becomes_a_bound_superadmin_by_a_daemon_that_did_not_know_the_other_half() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    pair.user("sup1", json!({}));
    pair.user("sup2", json!({}));
    let super_admin = json!({"is_super_admin": true});
    pair.part();
    let refusal = json!({"dc_bound": ["A SuperAdmin user cannot be DC-bound."]});
    fresh.put(&user("sup1"), &super_admin).result(200);
    assert_eq!(stale.put(&user("sup1"), &bind("dc3")).result(400), refusal);
    pair.assert_unbound("sup1");

    fresh.put(&user("sup2"), &bind("dc3")).result(200);
    assert_eq!(stale.put(&user("sup2"), &super_admin).result(400), refusal);
    assert_eq!(pair.stored("(uid=sup2)", "usherSuperAdmin"), ["FALSE"]);
}

#[test]
fn an_owner_is_set_whom_the_daemon_took_for_the_present_one() {
    let pair = Pair::new();
    for name in ["bob", "carl"] {
        pair.user(name, json!({}));
    }
    pair.fresh.put(&dc("dc3"), &json!({"owner": "bob"})).result(200);
    pair.part();
    pair.fresh.put(&dc("dc3"), &json!({"owner": "carl"})).result(200);
    assert_eq!(pair.stale.put(&dc("dc3"), &json!({"owner": "bob"})).result(200)["owner"], "bob");
    assert_eq!(pair.stored("(cn=dc3)", "usherOwner"), [format!("uid=bob,ou=people,{BASE}")]);
}

#[test]
fn nothing_refers_to_a_datacenter_whose_end_the_daemon_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    pair.user("gone", json!({}));
    pair.user("kept", json!({}));
    fresh.put(&user("kept"), &bind("dc3")).result(200);
    pair.group("ours", json!({"dc_bound": false}));
    for name in ["dc50", "dc51", "dc52", "dc53", "dc54", "dc55"] {
        pair.datacenter(name);
    }
    pair.group("in52", json!({"dc": "dc52"}));
    fresh.put(&group("in52"), &json!({"dc_bound": false})).result(200);
    pair.part();
    for name in ["dc50", "dc51", "dc52", "dc53", "dc54", "dc55"] {
        fresh.delete(&dc(name)).result(200);
        stale.get(&dc(name)).result(200);
    }
    assert_eq!(stale.put(&user("gone"), &bind("dc50")).detail(404), "Datacenter not found");
    assert_eq!(stale.put(&user("kept"), &bind("dc50")).detail(404), "Datacenter not found");
    assert_eq!(pair.stored("(uid=kept)", "usherDcBound"), [format!("cn=dc3,{DCS}")]);
    pair.assert_nothing_in("dc50");
    let body = user_body("new5", &json!({"dc": "dc51"}));
    assert_eq!(stale.post(&user("new5"), &body).result(201)["dc_bound"], false);
    pair.assert_nothing_in("dc51");
    assert_eq!(stale.put(&group("in52"), &json!({"dc_bound": true})).result(200)["dc_bound"], false);
    pair.assert_nothing_in("dc52");
    assert_eq!(stale.post(&group("in53"), &json!({"dc": "dc53"})).result(201)["dc_bound"], false);
    pair.assert_nothing_in("dc53");
    assert_eq!(stale.post("/dc/dc54/group/ours/", &json!({})).detail(404), "Datacenter not found");
    pair.assert_nothing_in("dc54");
    assert_eq!(stale.put("/dc/dc55/", &json!({"groups": ["ours"]})).detail(404), "Datacenter not found");
    pair.assert_nothing_in("dc55");
}

#[test]
fn a_datacenter_is_deleted_with_the_bindings_and_attachments_that_the_daemon_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    pair.user("last", json!({}));
    pair.group("late", json!({"dc_bound": false}));
    for name in ["dc60", "dc61", "dc62"] {
        pair.datacenter(name);
    }
    pair.part();
    fresh.put(&user("last"), &bind("dc60")).result(200);
    fresh.post("/dc/dc61/group/late/", &json!({})).result(201);
    pair.group("born", json!({"dc": "dc62"}));
    for name in ["dc60", "dc61", "dc62"] {
        stale.delete(&dc(name)).result(200);
        pair.assert_nothing_in(name);
    }
}

#[test]
fn no_group_is_bound_that_is_attached_elsewhere_as_the_daemon_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    pair.group("both", json!({"dc": "dc3"}));
    fresh.put(&group("both"), &json!({"dc_bound": false})).result(200);
    pair.part();
    fresh.post("/dc/dc4/group/both/", &json!({})).result(201);
    assert_eq!(stale.put(&group("both"), &json!({"dc_bound": true})).result(200)["dc_bound"], false);
    assert_eq!(pair.stored("(cn=both)", "usherDcBound"), [""; 0]);
    assert_eq!(pair.stored("(cn=both)", "usherDatacenterLink").len(), 2);
}

#[test]
fn no_group_is_bound_to_a_datacenter_that_it_was_detached_from_as_the_daemon_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    pair.group("away", json!({"dc": "dc3"}));
    fresh.put(&group("away"), &json!({"dc_bound": false})).result(200);
    pair.part();
    fresh.delete("/dc/dc3/group/away/").result(200);
    assert_eq!(stale.put(&group("away"), &json!({"dc_bound": true})).result(200)["dc_bound"], false);
    for attribute in ["usherDcBound", "usherDatacenterLink"] {
        assert_eq!(pair.stored("(cn=away)", attribute), [""; 0]);
    }
}

#[test]
fn a_group_is_detached_together_with_a_binding_that_the_daemon_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    for own in ["by-delete", "by-put"] {
        pair.group(own, json!({"dc": "dc3"}));
        fresh.put(&group(own), &json!({"dc_bound": false})).result(200);
        pair.part();
        fresh.put(&group(own), &json!({"dc_bound": true})).result(200);
        if own == "by-delete" {
            stale.delete(&format!("/dc/dc3/group/{own}/")).result(200);
        } else {
            stale.put("/dc/dc3/", &json!({"groups": []})).result(200);
        }
        for attribute in ["usherDcBound", "usherDatacenterLink"] {
            assert_eq!(pair.stored(&format!("(cn={own})"), attribute), [""; 0], "{own}");
        }
    }
}

#[test]
fn nobody_is_made_an_owner_who_was_deleted_as_the_daemon_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    for name in ["del1".to_owned(), long("del2")] {
        pair.user(&name, json!({}));
        pair.part();
        fresh.delete(&user(&name)).result(200);
        let refusal = json!({"owner": [format!("Object with username={name} does not exist.")]});
        assert_eq!(stale.put("/dc/dc3/", &json!({"owner": name, "desc": "his"})).result(400), refusal);
        let admin = [format!("uid=admin,ou=people,{BASE}")];
        assert_eq!(pair.stored("(cn=dc3)", "usherOwner"), admin);
        assert_eq!(pair.stored("(cn=dc3)", "description"), [""; 0]);
        let body = json!({"owner": name, "site": "dc7.example.com"});
        assert_eq!(stale.post("/dc/dc7/", &body).result(400), refusal);
        assert_eq!(pair.ldap.search(BASE, "sub", "(cn=dc7)", &["cn"]), []);
        assert_eq!(stale.get("/dc/dc7/").status, 404);
    }
}

#[test]
fn nobody_is_made_an_owner_who_is_inactive_as_the_daemon_did_not_know() {
    let pair = Pair::new();
    pair.user("idle", json!({}));
    pair.part();
    pair.fresh.put(&user("idle"), &json!({"is_active": false})).result(200);
    let refusal = json!({"owner": ["Object with username=idle does not exist."]});
    assert_eq!(pair.stale.put("/dc/dc3/", &json!({"owner": "idle"})).result(400), refusal);
    assert_eq!(pair.stored("(cn=dc3)", "usherOwner"), [format!("uid=admin,ou=people,{BASE}")]);
}

#[test]
fn a_deletion_that_was_cut_short_keeps_nobody_from_anything() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    pair.user("mark", json!({}));
    pair.part();
    // What a daemon does first that deletes him.
    let cut_short = || {
        let mark = "usherUnfinished: delete-0123456789abcdef0123456789abcdef";
        let change = format!("changetype: modify\nreplace: usherUnfinished\n{mark}\n");
        pair.ldap.modify(&format!("dn: uid=mark,ou=people,{BASE}\n{change}"));
    };
    for api in [fresh, stale] {
        for (path, key, value) in [
            (group("staff4"), "users", json!(["mark"])),
            (user("mark"), "groups", json!(["staff4"])),
            (dc("dc3"), "owner", json!("mark")),
        ] {
            cut_short();
            assert_eq!(api.put(&path, &json!({ key: value })).result(200)[key], value);
            let before = if key == "owner" { json!("admin") } else { json!([]) };
            api.put(&path, &json!({ key: before })).result(200);
        }
        cut_short();
        assert_eq!(
            api.post(&group("of-mark"), &json!({"dc": "dc4", "users": ["mark"]})).result(201)["users"],
            json!(["mark"])
        );
        api.delete(&group("of-mark")).result(200);
    }
    stale.delete(&user("mark")).result(200);
}

#[test]
fn nobody_is_deleted_who_was_made_an_owner_as_the_daemon_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    for (name, dc) in [("give".to_owned(), "dc3"), (long("giv2"), "dc4")] {
        pair.user(&name, json!({}));
        pair.part();
        fresh.put(&format!("/dc/{dc}/"), &json!({"owner": name})).result(200);
        assert_eq!(stale.delete(&user(&name)).result(400)["relations"], json!({"Datacenter": [dc]}));
        let left = ["usherActive", "usherUnfinished"].map(|attribute| pair.stored(&format!("(uid={name})"), attribute));
        assert_eq!(left, [vec!["TRUE".to_owned()], vec![]]);
        assert_eq!(fresh.get(&format!("/dc/{dc}/")).result(200)["owner"], *name);
    }
}

#[test]
fn who_is_made_an_owner_between_the_last_look_at_what_he_owns_and_his_end_stays() {
    let pair = Pair::new();
    pair.user("ends", json!({}));
    pair.part();
    let own = || {
        pair.fresh.put("/dc/dc3/", &json!({"owner": "ends"})).result(200);
        pair.fresh.post("/dc/dc8/", &json!({"owner": "ends", "site": "dc8.example.com"})).result(201);
    };
    let stale = &pair.stale;
    let refused = pair.proxy.before(Request::Deletion, || stale.delete("/accounts/user/ends/"), own).result(400);
    assert_eq!(refused["relations"], json!({"Datacenter": ["dc3", "dc8"]}));
    for dc in ["dc3", "dc8"] {
        assert_eq!(pair.stored(&format!("(cn={dc})"), "usherOwner"), [format!("uid=ends,ou=people,{BASE}")]);
    }
    assert_eq!(pair.stored("(uid=ends)", "usherUnfinished"), [""; 0]);
}

#[test]
fn attaching_again_completes_what_a_call_that_was_cut_short_left() {
    attach_again(Pair::new(), true);
}

#[test]
fn attaching_again_completes_it_also_where_the_daemon_knew_neither_half() {
    attach_again(Pair::new(), false);
}

/// Attaches a group again whose first attachment was cut short before its bound member was unbound.
fn attach_again(pair: Pair, is_known: bool) {
    for (name, group, dc_groups) in [("cut2", "cut-put", true), ("cut1", "cut-post", false)] {
        pair.user(name, json!({}));
        pair.group(group, json!({"dc_bound": false, "users": [name]}));
        if !is_known {
            pair.part();
        }
        pair.fresh.put(&user(name), &bind("dc3")).result(200);
        let change = format!("changetype: modify\nadd: usherDatacenterLink\nusherDatacenterLink: cn=dc4,{DCS}\n");
        pair.ldap.modify(&format!("dn: cn={group},ou=groups,{BASE}\n{change}"));
        if is_known {
            pair.part();
        }
        if dc_groups {
            pair.stale.put("/dc/dc4/", &json!({"groups": [group]})).result(200);
        } else {
            let answer = pair.stale.post(&format!("/dc/dc4/group/{group}/"), &json!({}));
            assert_eq!(answer.detail(406), "User Group already exists");
        }
        pair.assert_unbound(name);
    }
}

#[test]
fn a_new_owner_is_unbound_from_another_datacenter_that_the_daemon_did_not_know_of() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    for (put, post) in [("put1".to_owned(), "pos1".to_owned()), (long("put2"), long("pos2"))] {
        for name in [&put, &post] {
            pair.user(name, json!({}));
        }
        pair.part();
        for name in [&put, &post] {
            fresh.put(&user(name), &bind("dc3")).result(200);
        }
        stale.put("/dc/dc4/", &json!({"owner": put})).result(200);
        pair.assert_unbound(&put);
        let own = format!("dc-{}", &post[..4]);
        stale.post(&dc(&own), &json!({"owner": post, "site": format!("{own}.example.com")})).result(201);
        pair.assert_unbound(&post);
    }
}

#[test]
fn a_refused_owner_leaves_the_newer_owner_that_the_daemon_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    pair.user("dead", json!({}));
    pair.user("next", json!({}));
    pair.part();
    fresh.put("/dc/dc3/", &json!({"owner": "next"})).result(200);
    fresh.delete(&user("dead")).result(200);
    stale.put("/dc/dc3/", &json!({"owner": "dead"})).result(400);
    assert_eq!(pair.stored("(cn=dc3)", "usherOwner"), [format!("uid=next,ou=people,{BASE}")]);
}

#[test]
fn a_refused_owner_leaves_the_newer_description_that_the_daemon_did_not_know() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    pair.user("dead", json!({}));
    pair.part();
    fresh.put("/dc/dc3/", &json!({"desc": "newer"})).result(200);
    fresh.delete(&user("dead")).result(200);
    stale.put("/dc/dc3/", &json!({"owner": "dead", "desc": "x"})).result(400);
    assert_eq!(pair.stored("(cn=dc3)", "description"), ["newer"]);
}

#[test]
fn a_refused_owner_gives_nothing_to_a_former_owner_who_is_deleted() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    pair.user("dead", json!({}));
    pair.user("prev", json!({}));
    fresh.put("/dc/dc3/", &json!({"owner": "prev"})).result(200);
    pair.part();
    fresh.put("/dc/dc3/", &json!({"owner": "admin"})).result(200);
    fresh.delete(&user("dead")).result(200);
    fresh.delete(&user("prev")).result(200);
    stale.put("/dc/dc3/", &json!({"owner": "dead"})).result(400);
    assert_eq!(pair.stored("(cn=dc3)", "usherOwner"), [format!("uid=admin,ou=people,{BASE}")]);
}

#[test]
fn nothing_is_refused_by_what_another_daemon_has_changed_a_moment_ago() {
    let pair = Pair::new();
    let stale = &pair.stale;
    pair.group("g", json!({"dc_bound": false}));
    pair.user("gone", json!({}));
    let again = user_body("gone", &json!({"dc_bound": false, "email": "again@example.com"}));
    for (n, expected) in [200, 200, 200, 201].into_iter().enumerate() {
        pair.part();
        let new = user(&format!("new{n}"));
        pair.user(&format!("new{n}"), json!({}));
        if expected == 201 {
            pair.fresh.delete(&user("gone")).result(200);
        }
        let call = || match n {
            0 => stale.put(&new, &json!({"first_name": "N"})).status,
            1 => stale.put(&group("g"), &json!({"users": ["new1"]})).status,
            2 => stale.delete(&new).status,
            _ => stale.post(&user("gone"), &again).status,
        };
        // The daemon asks how far the server is, and is told of the change only then.
        assert_eq!(pair.proxy.before(Request::ContextCsn, call, || pair.proxy.release()), expected, "{n}");
    }
}
