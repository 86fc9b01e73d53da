//! What LDAP tools write shows in the API at once, and the other way round; what they write wrong hurts nobody else.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::ldap::ldif_line;
use crate::support::{Usherd, eventually, eventually_true};

const KEY_A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM2Cbze9O1y9ipWF6ryo8WqAug4QaIk94QN0v3fPnINR";
const KEY_B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPqS6Of3h1udaocaGwCokPoiC0KgWti4WcxB7WmNDK2a second";
/// Pushes take a millisecond; a loaded test machine may take longer.
const SOON: Duration = Duration::from_secs(5);

pub(crate) fn create(usherd: &Usherd, name: &str, more: &Value) {
    let mut body = json!({
        "first_name": "Bob", "last_name": "Builder", "email": format!("{name}@example.com"), "password": "pw-of-it",
        "dc_bound": false,
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    usherd.api().post(&format!("/accounts/user/{name}/"), &body).result(201);
}

fn user_dn(name: &str) -> String {
    format!("uid={name},ou=people,dc=example,dc=org")
}

fn groups(usherd: &Usherd, name: &str) -> Value {
    usherd.api().get(&format!("/accounts/user/{name}/")).result(200)["groups"].clone()
}

#[test]
fn a_plain_person_added_by_ldapadd_is_a_user_and_what_the_api_changes_is_plain_ldap() {
    let usherd = Usherd::start();
    usherd.ldap().add(&format!(
        "dn: {}\nobjectClass: inetOrgPerson\ncn: Zoe Z\nsn: Z\ngivenName: Zoe\nmail: zoe@example.org\n",
        user_dn("zoe")
    ));
    let shown = eventually(SOON, "the new entry in the API", || {
        let answer = usherd.api().get("/accounts/user/zoe/");
        (answer.status == 200).then(|| answer.result(200))
    });
    assert_eq!(shown["email"], "zoe@example.org");
    assert_eq!((&shown["is_active"], &shown["api_access"]), (&json!(true), &json!(false)));

    let change = json!({"first_name": "Zora", "email": "zora@example.org", "is_active": false});
    let changed = usherd.api().put("/accounts/user/zoe/", &change).result(200);
    assert_eq!(changed["first_name"], "Zora");
    let entry = &usherd.ldap().search(&user_dn("zoe"), "base", "(objectClass=*)", &["*"])[0];
    assert_eq!(entry.first("givenName").as_deref(), Some("Zora"));
    assert_eq!(entry.first("mail").as_deref(), Some("zora@example.org"));
    assert_eq!(entry.first("usherActive").as_deref(), Some("FALSE"));
    assert!(entry.first("usherNumber").is_some(), "a written entry has a number from then on");

    let key = usherd.api().post("/accounts/user/zoe/sshkey/k1/", &json!({"key": KEY_A})).result(201);
    assert_eq!(key["key"], KEY_A);
    let entry = &usherd.ldap().search(&user_dn("zoe"), "base", "(objectClass=*)", &["sshPublicKey"])[0];
    assert_eq!(entry.all("sshPublicKey"), [KEY_A], "the plain line, as sssd and others read it");
}

#[test]
fn a_key_added_by_ldapmodify_is_listed_named_and_deleted_like_any_other() {
    let usherd = Usherd::start();
    create(&usherd, "bob", &json!({}));
    usherd.api().post("/accounts/user/bob/sshkey/first/", &json!({"key": KEY_A})).result(201);
    usherd
        .ldap()
        .modify(&format!("dn: {}\nchangetype: modify\nadd: sshPublicKey\nsshPublicKey: {KEY_B}\n", user_dn("bob")));
    eventually_true(SOON, "the second key in the list", || {
        usherd.api().get("/accounts/user/bob/sshkey/").result(200) == json!(["first", "second"])
    });
    // the same key once more, with another comment and a line end, as careless tools write it
    usherd.ldap().modify(&format!(
        "dn: {}\nchangetype: modify\nadd: sshPublicKey\n{}",
        user_dn("bob"),
        ldif_line("sshPublicKey", KEY_B.replace("second", "again\n").as_bytes()),
    ));
    eventually_true(SOON, "a warning about the double", || {
        usherd.api().get("/accounts/user/bob/").result(200)["warnings"].is_array()
    });
    let titles = usherd.api().get("/accounts/user/bob/sshkey/").result(200);
    let second = titles.as_array().unwrap().iter().find(|t| **t != "first").unwrap().as_str().unwrap().to_owned();
    usherd.api().delete(&format!("/accounts/user/bob/sshkey/{second}/")).result(200);
    assert_eq!(usherd.api().get("/accounts/user/bob/sshkey/").result(200), json!(["first"]));
    let entry = &usherd.ldap().search(&user_dn("bob"), "base", "(objectClass=*)", &["sshPublicKey"])[0];
    assert_eq!(entry.all("sshPublicKey"), [KEY_A], "every value of the key went");
}

#[test]
fn a_key_that_an_ldap_tool_took_away_alone_can_be_added_again() {
    let usherd = Usherd::start();
    create(&usherd, "bob", &json!({}));
    let path = "/accounts/user/bob/sshkey/k/";
    usherd.api().post(path, &json!({"key": KEY_A})).result(201);
    usherd.ldap().modify(&format!("dn: {}\nchangetype: modify\ndelete: sshPublicKey\n", user_dn("bob")));
    eventually_true(SOON, "the key is gone", || usherd.api().get(path).status == 404);
    usherd.api().post(path, &json!({"key": KEY_A})).result(201);
    usherd.api().get(path).result(200);
    usherd.api().post("/accounts/user/bob/sshkey/k2/", &json!({"key": KEY_A})).result(400);
}

#[test]
fn a_datacenter_made_again_has_no_groups_and_a_user_made_again_owns_nothing() {
    let usherd = Usherd::start();
    let api = usherd.api();
    create(&usherd, "bob", &json!({}));
    api.post("/dc/dc9/", &json!({"site": "dc9.example.com", "owner": "bob"})).result(201);
    let group = json!({"dc": "dc9", "permissions": ["admin", "user_admin"]});
    api.post("/accounts/group/g9/", &group).result(201);
    usherd.ldap().delete(&user_dn("bob"));
    eventually_true(SOON, "bob is gone", || api.get("/accounts/user/bob/").status == 404);
    create(&usherd, "bob", &json!({}));
    assert_ne!(api.get("/dc/dc9/").result(200)["owner"], json!("bob"));
    usherd.ldap().delete("cn=dc9,ou=datacenters,dc=example,dc=org");
    eventually_true(SOON, "dc9 is gone", || api.get("/dc/dc9/").status == 404);
    api.post("/dc/dc9/", &json!({"site": "dc9.example.com"})).result(201);
    assert_eq!(api.get("/dc/dc9/").result(200)["groups"], json!([]));
    let group = api.get("/accounts/group/g9/?extended=1").result(200);
    assert_eq!((&group["dcs"], &group["dc_bound"]), (&json!([]), &json!(false)));
}

#[test]
fn two_entries_with_one_uid_get_no_keys_and_no_login() {
    let usherd = Usherd::start();
    create(&usherd, "bob", &json!({"api_access": true}));
    let bob = usherd.login("bob", "pw-of-it");
    usherd.ldap().add(
        "dn: cn=Other+uid=bob,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\ncn: Other\nsn: O\nuid: bob\n",
    );
    eventually_true(SOON, "nobody is bob", || usherd.api().get("/accounts/user/bob/").status == 404);
    assert_eq!(bob.get("/accounts/user/bob/").status, 403);
    let login = json!({"username": "bob", "password": "pw-of-it"});
    assert_eq!(usherd.anonymous().post("/accounts/login/", &login).status, 400);
    usherd.ldap().delete("cn=Other+uid=bob,ou=people,dc=example,dc=org");
    eventually_true(SOON, "bob is bob again", || bob.get("/accounts/user/bob/").status == 200);
}

#[test]
fn nonsense_values_hurt_nobody_else_and_crash_nothing() {
    let usherd = Usherd::start();
    for name in ["good", "bad"] {
        create(&usherd, name, &json!({"api_access": true}));
        usherd.api().post(&format!("/accounts/user/{name}/sshkey/k/"), &json!({"key": KEY_A})).result(201);
    }
    let before = usherd.api().get("/accounts/user/good/").result(200);
    let dn = user_dn("bad");
    let mega = vec![b'A'; 1 << 20];
    let values: [(&str, &[u8]); 9] = [
        ("sshPublicKey", b"\x00\xff\xfe"),
        ("sshPublicKey", b"ssh-ed25519 AAAA\r\nssh-ed25519 BBBB"),
        ("sshPublicKey", &mega),
        ("usherSshKey", b"SHA256:x title=\"; rm"),
        ("uid", b"good"),
        ("uid", b"admin"),
        ("mail", b"not-an-address"),
        ("description", &mega),
        ("usherDcBound", b"cn=nowhere,dc=example,dc=org"),
    ];
    for (attribute, value) in values {
        let ldif = format!("dn: {dn}\nchangetype: modify\nadd: {attribute}\n{}", ldif_line(attribute, value));
        usherd.ldap().modify(&ldif);
    }
    eventually_true(SOON, "warnings on the entry", || {
        let shown = usherd.api().get("/accounts/user/bad/").result(200);
        shown["warnings"].as_array().is_some_and(|w| w.len() >= 3) && shown["dc_bound"] == json!(true)
    });
    assert_eq!(usherd.api().get("/accounts/user/good/").result(200), before);
    assert_eq!(usherd.api().get("/accounts/user/admin/").result(200)["is_super_admin"], json!(true));
    assert_eq!(usherd.api().get("/accounts/user/bad/sshkey/").result(200), json!(["k"]), "its good key is still good");
    let names = usherd.api().get("/accounts/user/").result(200);
    assert_eq!(names, json!(["admin", "bad", "good"]));
}

#[test]
fn an_account_disabled_by_ldapmodify_is_refused_everywhere_and_comes_back_whole() {
    let usherd = Usherd::start();
    create(&usherd, "bob", &json!({"api_access": true}));
    let bob = usherd.login("bob", "pw-of-it");
    bob.get("/accounts/user/bob/").result(200);
    usherd
        .ldap()
        .modify(&format!("dn: {}\nchangetype: modify\nreplace: usherActive\nusherActive: FALSE\n", user_dn("bob")));
    eventually_true(SOON, "the token refused", || bob.get("/accounts/user/bob/").status == 403);
    assert_eq!(bob.get("/accounts/user/bob/").detail(403), "User inactive or deleted.");
    let login = json!({"username": "bob", "password": "pw-of-it"});
    let refused = usherd.anonymous().post("/accounts/login/", &login);
    assert_eq!(refused.detail(400), "User account is disabled.");
    usherd.api().put("/accounts/user/bob/", &json!({"is_active": true})).result(200);
    bob.get("/accounts/user/bob/").result(200);
}

#[test]
fn a_password_change_by_an_ldap_tool_ends_the_sessions_and_keeps_an_administrators_lock() {
    let usherd = Usherd::start();
    create(&usherd, "bob", &json!({"api_access": true}));
    let bob = usherd.login("bob", "pw-of-it");
    let dn = user_dn("bob");
    usherd.ldap().modify(&format!("dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: new-pw\n"));
    eventually_true(SOON, "the session ended", || bob.get("/accounts/user/bob/").status == 403);
    assert_eq!(bob.get("/accounts/user/bob/").detail(403), "Invalid token.");
    usherd.login("bob", "new-pw");

    usherd.ldap().modify(&format!(
        "dn: {dn}\nchangetype: modify\nreplace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n"
    ));
    eventually_true(SOON, "the lock shows", || {
        usherd.api().get("/accounts/user/bob/").result(200)["is_active"] == json!(false)
    });
    usherd.api().put("/accounts/user/bob/", &json!({"password": "third-pw"})).result(200);
    assert_eq!(usherd.api().get("/accounts/user/bob/").result(200)["is_active"], json!(false));
    let entry = &usherd.ldap().search(&dn, "base", "(objectClass=*)", &["pwdAccountLockedTime"])[0];
    assert_eq!(entry.first("pwdAccountLockedTime").as_deref(), Some("000001010000Z"));
    usherd.api().put("/accounts/user/bob/", &json!({"is_active": true})).result(200);
    usherd.login("bob", "third-pw");

    // both at once
    usherd.ldap().modify(&format!(
        "dn: {dn}\nchangetype: modify\nreplace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n"
    ));
    eventually_true(SOON, "the lock shows again", || {
        usherd.api().get("/accounts/user/bob/").result(200)["is_active"] == json!(false)
    });
    usherd.api().put("/accounts/user/bob/", &json!({"is_active": true, "password": "fourth-pw"})).result(200);
    usherd.login("bob", "fourth-pw");
}

#[test]
fn a_user_created_again_under_the_old_name_is_in_no_group_whoever_did_it() {
    let usherd = Usherd::start();
    for n in 0..20 {
        let body = json!({"dc_bound": false, "permissions": ["admin"]});
        usherd.api().post(&format!("/accounts/group/g{n}/"), &body).result(201);
    }
    let all: Vec<String> = (0..20).map(|n| format!("g{n}")).collect();
    create(&usherd, "bob", &json!({"groups": all}));
    assert_eq!(groups(&usherd, "bob").as_array().unwrap().len(), 20);

    // by LDAP tools, as fast as they go: refint may not have run yet
    let again = format!("dn: {}\nchangetype: add\nobjectClass: inetOrgPerson\ncn: Bob\nsn: B\n", user_dn("bob"));
    usherd.ldap().modify(&format!("dn: {}\nchangetype: delete\n\n{again}", user_dn("bob")));
    eventually_true(SOON, "the new entry in the API", || {
        usherd.api().get("/accounts/user/bob/").json()["result"]["first_name"] == json!("")
    });
    assert_eq!(groups(&usherd, "bob"), json!([]));
    // another change of a group must not bring it back
    usherd.api().put("/accounts/group/g3/", &json!({"users": ["admin"]})).result(200);
    assert_eq!(groups(&usherd, "bob"), json!([]));

    // by the API
    usherd.api().put("/accounts/user/bob/", &json!({"groups": ["g1"]})).result(200);
    assert_eq!(groups(&usherd, "bob"), json!(["g1"]));
    usherd.api().delete("/accounts/user/bob/").result(200);
    create(&usherd, "bob", &json!({}));
    assert_eq!(groups(&usherd, "bob"), json!([]));
    let member = format!("(member={})", user_dn("bob"));
    assert!(usherd.ldap().search("dc=example,dc=org", "sub", &member, &["cn"]).is_empty());
}

#[test]
fn a_membership_given_while_the_directory_cleans_up_after_a_predecessor_holds() {
    let usherd = Usherd::start();
    create(&usherd, "bob", &json!({}));
    let dn = user_dn("bob");
    let group =
        |n| format!("dn: cn=g{n},ou=groups,dc=example,dc=org\nobjectClass: usherGroup\ncn: g{n}\nmember: {dn}\n\n");
    usherd.ldap().add(&(0..200).map(group).collect::<String>());
    eventually_true(SOON, "bob is in all of them", || groups(&usherd, "bob").as_array().unwrap().len() == 200);
    let again = format!("dn: {dn}\nchangetype: add\nobjectClass: inetOrgPerson\ncn: Bob\nsn: B\n");
    usherd.ldap().modify(&format!("dn: {dn}\nchangetype: delete\n\n{again}"));
    eventually_true(SOON, "the new entry in the API", || {
        usherd.api().get("/accounts/user/bob/").json()["result"]["first_name"] == json!("")
    });
    usherd.api().put("/accounts/user/bob/", &json!({"groups": ["g150"]})).result(200);
    usherd.api().put("/accounts/group/g190/", &json!({"users": ["bob"]})).result(200);
    let member = format!("(member={dn})");
    let stored = || usherd.ldap().search("ou=groups,dc=example,dc=org", "one", &member, &["cn"]);
    eventually_true(SOON, "refint was in all of them", || stored().len() <= 2);
    assert_eq!(stored().iter().filter_map(|group| group.first("cn")).collect::<Vec<_>>(), ["g150", "g190"]);
    assert_eq!(groups(&usherd, "bob"), json!(["g150", "g190"]));
}

fn add_member(usherd: &Usherd, group: &str, name: &str) {
    usherd.ldap().modify(&format!(
        "dn: cn={group},ou=groups,dc=example,dc=org\nchangetype: modify\nadd: member\nmember: {}\n",
        user_dn(name)
    ));
}

fn stored_members(usherd: &Usherd, group: &str) -> Vec<String> {
    let dn = format!("cn={group},ou=groups,dc=example,dc=org");
    usherd.ldap().search(&dn, "base", "(objectClass=*)", &["member"])[0].all("member")
}

#[test]
fn a_membership_given_while_there_is_no_such_user_is_not_that_of_the_next_one() {
    let usherd = Usherd::start();
    let api = usherd.api();
    api.post("/accounts/group/g1/", &json!({"dc_bound": false, "permissions": ["admin"]})).result(201);
    create(&usherd, "bob", &json!({"groups": ["g1"]}));
    usherd.ldap().delete(&user_dn("bob"));
    eventually_true(SOON, "bob is gone, and refint was there", || {
        api.get("/accounts/user/bob/").status == 404 && stored_members(&usherd, "g1").is_empty()
    });
    // not believed at once, but later if the directory still says so
    add_member(&usherd, "g1", "bob");
    create(&usherd, "bob", &json!({}));
    assert_eq!(stored_members(&usherd, "g1"), [""; 0]);
    assert_eq!(groups(&usherd, "bob"), json!([]));
}

#[test]
fn a_put_of_a_groups_users_leaves_nobody_who_is_not_named() {
    let usherd = Usherd::start();
    let api = usherd.api();
    api.post("/accounts/group/g1/", &json!({"dc_bound": false, "users": ["admin"]})).result(201);
    add_member(&usherd, "g1", "ghost");
    eventually_true(SOON, "a group that nobody is in", || {
        api.put("/accounts/group/g1/", &json!({"users": []})).result(200);
        stored_members(&usherd, "g1").is_empty()
    });
}

#[test]
fn a_full_name_is_of_both_names_whatever_their_characters_and_whoever_gave_them() {
    let usherd = Usherd::start();
    create(&usherd, "bob", &json!({}));
    let (api, ldap, path) = (usherd.api(), usherd.ldap(), "/accounts/user/bob/");
    let names = [
        "Bob",
        "  x  y ",
        "Jo\u{308}ß",
        "\u{200b}",
        "\u{e000}",
        "\u{1f469}\u{200d}\u{1f680}",
        "(*)\\2a",
        "\u{fffd}\u{feff}א",
    ];
    for name in names {
        let dn = user_dn("bob");
        let value = ldif_line("givenName", name.as_bytes());
        ldap.modify(&format!("dn: {dn}\nchangetype: modify\nreplace: givenName\n{value}"));
        eventually_true(SOON, "the API shows it", || api.get(path).result(200)["first_name"] == name);
        api.put(path, &json!({"last_name": "Last"})).result(200);
        let stored = ldap.search(&dn, "base", "(objectClass=*)", &["cn"]);
        assert_eq!(stored[0].all("cn"), [format!("{name} Last").trim()]);
        api.put(path, &json!({"last_name": "Other"})).result(200);
    }
}

#[test]
fn a_name_that_an_entry_claims_is_taken() {
    let usherd = Usherd::start();
    let claim = "dn: cn=Other+uid=zed,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\ncn: Other\nsn: O\n";
    usherd.ldap().add(claim);
    eventually_true(SOON, "the claim is known", || usherd.stderr().contains("nobody may use the name"));
    let body =
        json!({"first_name": "Z", "last_name": "Z", "email": "z@example.com", "password": "z", "dc_bound": false});
    assert_eq!(usherd.api().post("/accounts/user/zed/", &body).detail(406), "User already exists");
    assert!(usherd.ldap().search(&user_dn("zed"), "base", "(objectClass=*)", &["uid"]).is_empty());
}

#[test]
fn a_user_renamed_while_the_old_name_is_deleted_is_still_a_user() {
    let usherd = Usherd::start();
    let names: Vec<String> = (0..80).map(|n| format!("g{n}")).collect();
    for name in &names {
        usherd.api().post(&format!("/accounts/group/{name}/"), &json!({"dc_bound": false})).result(201);
    }
    // a rename that comes too late is tried again with another user
    for (name, new_name) in [("bob", "robert"), ("bill", "william"), ("dick", "richard"), ("ted", "edward")] {
        create(&usherd, name, &json!({"groups": names}));
        let api = usherd.api();
        let deletion = std::thread::spawn(move || api.delete(&format!("/accounts/user/{name}/")).status);
        // his memberships go first, one after the other
        eventually_true(SOON, "the deletion begins", || {
            let shown = usherd.api().get(&format!("/accounts/user/{name}/")).json();
            shown["result"]["groups"].as_array().is_none_or(|groups| groups.len() < names.len())
        });
        let rename = format!("dn: {}\nchangetype: modrdn\nnewrdn: uid={new_name}\ndeleteoldrdn: 1\n", user_dn(name));
        usherd.ldap().try_modify(rename.as_bytes());
        if deletion.join().unwrap() == 404 {
            let path = format!("/accounts/user/{new_name}/");
            return eventually_true(SOON, "the new name", || usherd.api().get(&path).status == 200);
        }
    }
    panic!("no rename came in between");
}

#[test]
fn names_and_addresses_that_an_ldap_tool_gave_up_are_free() {
    let usherd = Usherd::start();
    create(&usherd, "bob", &json!({}));
    usherd.ldap().modify(&format!("dn: {}\nchangetype: modrdn\nnewrdn: uid=robert\ndeleteoldrdn: 1\n", user_dn("bob")));
    let mail = "replace: mail\nmail: robert@example.com\n";
    usherd.ldap().modify(&format!("dn: {}\nchangetype: modify\n{mail}", user_dn("robert")));
    eventually_true(SOON, "robert with the new address", || {
        usherd.api().get("/accounts/user/robert/").json()["result"]["email"] == json!("robert@example.com")
    });
    create(&usherd, "ann", &json!({}));
    usherd.api().put("/accounts/user/ann/", &json!({"email": "BOB@example.com"})).result(200);
    create(&usherd, "Bob", &json!({"email": "another@example.com"}));
    let taken = json!({"email": ["This email is already in use. Please supply a different email."]});
    for email in ["robert@example.com", "bob@example.com"] {
        assert_eq!(usherd.api().put("/accounts/user/Bob/", &json!({"email": email})).result(400), taken);
    }
}

#[test]
fn groups_changed_by_ldap_tools_count_at_once() {
    let usherd = Usherd::start();
    create(&usherd, "bob", &json!({}));
    usherd.ldap().add(&format!(
        "dn: cn=ops,ou=groups,dc=example,dc=org\nobjectClass: usherGroup\ncn: ops\nmember: {}\nusherPermission: admin\n",
        user_dn("bob")
    ));
    eventually_true(SOON, "the membership", || groups(&usherd, "bob") == json!(["ops"]));
    let group = usherd.api().get("/accounts/group/ops/").result(200);
    assert_eq!((&group["alias"], &group["users"]), (&json!("ops"), &json!(["bob"])));
    usherd.ldap().modify("dn: cn=ops,ou=groups,dc=example,dc=org\nchangetype: modify\ndelete: member\n");
    eventually_true(SOON, "the end of it", || groups(&usherd, "bob") == json!([]));
    // a user renamed by an LDAP tool takes his memberships along
    usherd.api().put("/accounts/group/ops/", &json!({"users": ["bob"]})).result(200);
    usherd.ldap().modify(&format!("dn: {}\nchangetype: modrdn\nnewrdn: uid=robert\ndeleteoldrdn: 1\n", user_dn("bob")));
    eventually_true(SOON, "the old name gone", || usherd.api().get("/accounts/user/bob/").status == 404);
    eventually_true(SOON, "the new name in the group", || groups(&usherd, "robert") == json!(["ops"]));
}

#[test]
fn who_is_renamed_takes_all_memberships_along_also_where_the_api_makes_another_one_of_the_old_name_at_once() {
    const GROUPS: usize = 300;
    let usherd = Usherd::start();
    create(&usherd, "bob", &json!({}));
    let entry = |n| {
        let head = format!("dn: cn=of{n},ou=groups,dc=example,dc=org\nobjectClass: usherGroup\ncn: of{n}\n");
        format!("{head}member: {}\n\n", user_dn("bob"))
    };
    usherd.ldap().add(&(0..GROUPS).map(entry).collect::<String>());
    let groups = |name: &str| {
        let shown = usherd.api().get(&format!("/accounts/user/{name}/"));
        if shown.status == 200 { shown.result(200)["groups"].as_array().unwrap().len() } else { 0 }
    };
    eventually_true(Duration::from_secs(5), "all memberships", || groups("bob") == GROUPS);
    usherd.ldap().modify(&format!("dn: {}\nchangetype: modrdn\nnewrdn: uid=robert\ndeleteoldrdn: 1\n", user_dn("bob")));
    eventually_true(Duration::from_secs(5), "the new name", || {
        usherd.api().get("/accounts/user/robert/").status == 200
    });
    let body =
        json!({"first_name": "B", "last_name": "B", "email": "b@example.com", "password": "pw", "dc_bound": false});
    assert_eq!(usherd.api().post("/accounts/user/bob/", &body).result(201)["groups"], json!([]));
    let member = |name: &str| format!("(member={})", user_dn(name));
    let named = |name: &str| usherd.ldap().search("ou=groups,dc=example,dc=org", "one", &member(name), &["cn"]).len();
    assert_eq!((named("robert"), named("bob")), (GROUPS, 0));
    eventually_true(Duration::from_secs(5), "all memberships", || groups("robert") == GROUPS);
}
