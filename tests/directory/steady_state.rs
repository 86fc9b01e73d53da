//! How little the daemon asks of the directory, counted by slapd itself (`cn=monitor`): no read becomes a search, and
//! what LDAP tools do in bulk becomes few.

use std::time::Duration;

use serde_json::json;

use crate::both_ways::create;
use crate::support::{Usherd, eventually_true};

/// How many operations of this kind slapd has begun.
fn operations(usherd: &Usherd, kind: &str) -> u64 {
    let dn = format!("cn={kind},cn=Operations,cn=Monitor");
    let entries = usherd.ldap().search(&dn, "base", "(objectClass=*)", &["monitorOpInitiated"]);
    entries.first().and_then(|entry| entry.first("monitorOpInitiated")).and_then(|n| n.parse().ok()).expect("a count")
}

#[test]
fn no_read_becomes_an_ldap_search_and_of_these_writes_only_a_users_groups_and_end() {
    // Content sync's few checks could not hide a search more in each.
    const ROUNDS: u64 = 12;
    let usherd = Usherd::start();
    create(&usherd, "bob", &json!({"api_access": true}));
    let bob = usherd.login("bob", "pw-of-it");
    let api = usherd.api();
    let before = operations(&usherd, "Search");
    let own = operations(&usherd, "Search") - before;
    let modifies = operations(&usherd, "Modify");
    let paths = [
        "/accounts/user/",
        "/accounts/user/?extended=true",
        "/accounts/user/profile/",
        "/accounts/user/bob/",
        "/accounts/user/nobody/",
        "/accounts/user/bob/profile/",
        "/accounts/user/bob/sshkey/?full=true",
        "/accounts/group/?extended=true",
        "/accounts/permission/",
        "/dc/",
        "/dc/main/user/",
        "/task/log/",
    ];
    for _ in 0..20 {
        for path in paths {
            assert!([200, 404].contains(&api.get(path).status), "{path}");
        }
        bob.get("/accounts/user/bob/apikeys/").result(200);
        usherd.anonymous().with_header("ES-API-KEY", "wrong").get("/accounts/user/").detail(403);
    }
    // writes need none either, but for a look at a list that is replaced, at a user who joins groups, and at what names one
    // who is deleted
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM2Cbze9O1y9ipWF6ryo8WqAug4QaIk94QN0v3fPnINR";
    for round in 0..ROUNDS {
        let name = format!("u{round}");
        create(&usherd, &name, &json!({"groups": ["admins"]}));
        api.put(&format!("/accounts/user/{name}/"), &json!({"first_name": "X", "groups": []})).result(200);
        api.put(&format!("/accounts/user/{name}/profile/"), &json!({"city": "Brno"})).result(200);
        api.post(&format!("/accounts/user/{name}/sshkey/k/"), &json!({"key": key})).result(201);
        api.delete(&format!("/accounts/user/{name}/sshkey/k/")).result(200);
        bob.put("/accounts/user/bob/apikeys/", &json!({"callback_key": true})).result(200);
        api.delete(&format!("/accounts/user/{name}/")).result(200);
    }
    usherd.login("bob", "pw-of-it").get("/accounts/logout/").json();
    // counting searches is itself two of them: this one and the one for the modifies
    let searches = operations(&usherd, "Search") - before - own;
    // content sync asks which entries there are, some time after any came or went
    let checks = searches.checked_sub(1 + own + 3 * ROUNDS);
    assert!(checks.is_some_and(|checks| checks < ROUNDS), "requests became LDAP searches: {searches}");
    assert!(operations(&usherd, "Modify") >= modifies + 4 * ROUNDS, "the count counts");
}

#[test]
fn members_deleted_in_bulk_cost_a_few_looks_at_their_group() {
    const MEMBERS: usize = 300;
    let usherd = Usherd::start();
    let dns: Vec<String> = (0..MEMBERS).map(|n| format!("uid=m{n},ou=people,dc=example,dc=org")).collect();
    let people = dns.iter().map(|dn| format!("dn: {dn}\nobjectClass: inetOrgPerson\ncn: M\nsn: M\n\n"));
    usherd.ldap().add(&people.collect::<String>());
    let members: String = dns.iter().map(|dn| format!("member: {dn}\n")).collect();
    let group = "dn: cn=big,ou=groups,dc=example,dc=org\nobjectClass: usherGroup\ncn: big\n";
    usherd.ldap().add(&format!("{group}{members}"));
    let shown = || usherd.api().get("/accounts/group/big/").json()["result"]["users"].as_array().map(Vec::len);
    eventually_true(Duration::from_secs(5), "all members", || shown() == Some(MEMBERS));
    let before = operations(&usherd, "Search");
    let output = usherd.ldap().run("ldapdelete", &[], format!("{}\n", dns.join("\n")).as_bytes());
    assert!(output.status.success(), "{output:?}");
    eventually_true(Duration::from_secs(5), "no members", || shown() == Some(0));
    let searches = operations(&usherd, "Search") - before;
    assert!(searches < 60, "{searches}");
}
