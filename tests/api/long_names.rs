//! User names up to the API's limit of 254 characters. slapd's database can't hold the longest of them in a DN: what goes
//! by a user's DN must work all the same, and what LDAP tools make of such entries must give nobody a name.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::crossing::together;
use crate::support::http::encode;
use crate::support::ldap::{Entry, Ldap};
use crate::support::{Usherd, eventually_true};
use crate::world::{KEY_A, KEY_B, World, user_body};

const SOON: Duration = Duration::from_secs(5);
const PEOPLE: &str = "ou=people,dc=example,dc=org";

/// Of this length, in upper and lower case, with characters of every kind.
fn long(length: usize) -> String {
    "A-Rather.Long_Name@for1user".chars().cycle().take(length).collect()
}

fn path(name: &str) -> String {
    format!("/accounts/user/{}/", encode(name))
}

fn body(name: &str, more: Value) -> Value {
    let mut body = user_body(name, &json!({"email": "long@example.com", "dc_bound": false, "password": "pw-of-it"}));
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// What sshd gets for the user.
fn keys(usherd: &Usherd, name: &str) -> String {
    let mut helper = Command::new(env!("CARGO_BIN_EXE_usher-authorized-keys"));
    let output = helper.arg("--socket").arg(&usherd.admin.keys_socket).arg(name).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The entry, as an LDAP tool finds it.
#[track_caller]
fn entry(ldap: &Ldap, name: &str) -> Entry {
    let mut found = ldap.search(PEOPLE, "one", &format!("(uid={name})"), &["*"]);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn every_call_works_for_users_with_the_longest_names() {
    let world = World::new();
    // In a DN a + takes three bytes.
    let names = [long(241), long(242), long(254), "P+".repeat(60), format!("{}+", long(239))];
    for name in &names {
        walk(&world, name);
    }
    let longer = long(255);
    assert_eq!(
        world.root.post(&path(&longer), &body(&longer, json!({}))).result(400),
        json!({"username": ["Ensure this value has at most 254 characters (it has 255)."]})
    );
}

/// A user's life, from POST to DELETE and again.
fn walk(world: &World, name: &str) {
    let (root, path, lower) = (&world.root, path(name), name.to_lowercase());
    let created = root.post(&path, &body(name, json!({"groups": ["loose"]}))).result(201);
    assert_eq!((&created["username"], &created["groups"]), (&json!(name), &json!(["loose"])));
    for case in [name, &lower, &name.to_uppercase()] {
        assert_eq!(root.post(&self::path(case), &body(case, json!({}))).detail(406), "User already exists");
        assert_eq!(root.get(&self::path(case)).result(200)["username"], name);
    }
    assert!(root.get("/accounts/user/").result(200).as_array().unwrap().contains(&json!(name)));
    assert_eq!(created.get("warnings"), None);

    let session = world.usherd.login(&lower, "pw-of-it");
    assert_eq!(session.get("/accounts/user/").header("es_username"), Some(name));
    let key = session.get(&format!("{path}apikeys/")).result(200)["api_key"].as_str().unwrap().to_owned();
    let with_key = world.usherd.anonymous().with_header("ES-API-KEY", &key);
    with_key.get(&path).result(200);

    let changed = root.put(&path, &json!({
        "first_name": "New", "last_name": "Names", "email": "other@example.com",
        "api_access": true, "is_active": true, "password": "another-pw", "groups": [], "dc_bound": true, "dc": "dc3",
    }));
    let changed = changed.result(200);
    for (field, value) in [
        ("username", json!(name)),
        ("first_name", json!("New")),
        ("last_name", json!("Names")),
        ("email", json!("other@example.com")),
        ("groups", json!([])),
        ("dc_bound", json!(true)),
    ] {
        assert_eq!(changed[field], value, "{field}");
    }
    let profile = root.put(&format!("{path}profile/"), &json!({"city": "Brno"})).result(200);
    assert_eq!((&profile["city"], &profile["username"]), (&json!("Brno"), &json!(name)));
    let unbound = json!({"dc_bound": false, "is_super_admin": true});
    assert_eq!(root.put(&path, &unbound).result(200)["is_super_admin"], true);
    root.put(&path, &json!({"is_super_admin": false, "dc_bound": true, "dc": "dc3"})).result(200);

    assert_eq!(session.get(&path).detail(403), "Invalid token.", "the password is another one");
    let login = json!({"username": name, "password": "pw-of-it"});
    assert_eq!(world.usherd.anonymous().post("/accounts/login/", &login).status, 400);
    let session = world.usherd.login(name, "another-pw");
    let sshkey = format!("{path}sshkey/k1/");
    session.post(&sshkey, &json!({"key": KEY_A})).result(201);
    assert_eq!(root.get(&format!("{path}sshkey/")).result(200), json!(["k1"]));
    assert_eq!(keys(&world.usherd, name), format!("{KEY_A}\n"));
    session.delete(&sshkey).result(200);
    assert_eq!(keys(&world.usherd, &lower), "");
    session.post(&sshkey, &json!({"key": KEY_B})).result(201);
    root.put(&path, &json!({"is_active": false})).result(200);
    assert_eq!((keys(&world.usherd, name).as_str(), session.get(&path).status), ("", 403));
    root.put(&path, &json!({"is_active": true})).result(200);

    let group =
        |users: Value| root.put("/accounts/group/loose/", &json!({ "users": users })).result(200)["users"].clone();
    assert_eq!(group(json!(["u1", lower, "ua"])), json!([name, "u1", "ua"]), "in order, in their spelling");
    assert_eq!(world.user(&encode(name))["groups"], json!(["loose"]));
    assert_eq!(group(json!(["u1"])), json!(["u1"]));
    assert_eq!(group(json!([name])), json!([name]));
    root.put("/accounts/group/staff4/", &json!({"users": [name]})).result(200);
    assert_eq!(world.user(&encode(name))["dc_bound"], json!(false), "a group of another datacenter unbinds");
    assert_eq!(root.get("/dc/dc4/user/").result(200), json!([name, "admin"]));

    assert_eq!(root.put("/dc/dc3/", &json!({"owner": lower})).result(200)["owner"], name);
    assert_eq!(session.get("/dc/dc3/").result(200)["owner"], name);
    assert_eq!(root.delete(&path).result(400)["relations"], json!({"Datacenter": ["dc3"]}));
    root.put("/dc/dc3/", &json!({"owner": "admin"})).result(200);

    assert_eq!(entry(&world.usherd.ldap(), name).first("uid").as_deref(), Some(name));
    root.delete(&path).result(200);
    assert_eq!((root.get(&path).status, session.get(&path).status, with_key.get(&path).status), (404, 403, 403));
    assert_eq!(keys(&world.usherd, name), "");
    assert!(world.usherd.ldap().search(PEOPLE, "one", &format!("(uid={name})"), &["1.1"]).is_empty());

    let again = root.post(&self::path(&lower), &body(&lower, json!({}))).result(201);
    assert_eq!((&again["username"], &again["groups"]), (&json!(lower), &json!([])));
    assert_eq!(root.get(&format!("{path}sshkey/")).result(200), json!([]));
    root.delete(&path).result(200);
}

#[test]
fn long_names_and_addresses_are_one_name_space() {
    let world = World::new();
    let address = |letter: &str| format!("{letter}@{}.example.com", letter.repeat(230));
    let (name, email) = (address("N"), address("e"));
    let taken = json!({"email": ["This email is already in use. Please supply a different email."]});
    world.root.post(&path(&name), &body(&name, json!({ "email": email }))).result(201);
    assert_eq!(world.root.put("/accounts/user/u1/", &json!({"email": name.to_lowercase()})).result(400), taken);
    assert_eq!(world.root.put("/accounts/user/u1/", &json!({"email": email.to_uppercase()})).result(400), taken);
    let other = email.to_uppercase();
    assert_eq!(world.root.post(&path(&other), &body(&other, json!({}))).detail(406), "User already exists");
    world.root.delete(&path(&name)).result(200);
    world.root.put("/accounts/user/u1/", &json!({"email": name.to_lowercase()})).result(200);
}

#[test]
fn of_parallel_posts_of_one_long_name_on_two_daemons_one_succeeds() {
    let first = Usherd::start();
    let second = first.second("second");
    let both = [&first, &second];
    let long = long(254);
    let same_name = together(both, 32, |api, i| {
        let name = if i % 4 < 2 { long.clone() } else { long.to_lowercase() };
        api.post(&path(&name), &body(&name, json!({"email": format!("m{i}@example.com")}))).status
    });
    assert_eq!(same_name[0], 201);
    assert!(same_name[1..].iter().all(|status| *status == 406), "{same_name:?}");
    // Half of them as a name, half as an address: the directory's guard compares the two.
    let address = format!("x@{}.example.com", "y".repeat(235));
    let name_or_address = together(both, 32, |api, i| match i % 4 {
        0 | 1 => api.post(&path(&address), &body(&address, json!({ "email": address }))).status,
        _ => api.post(&format!("/accounts/user/n{i}/"), &body("n", json!({ "email": address }))).status,
    });
    assert_eq!(name_or_address.iter().filter(|status| **status == 201).count(), 1, "{name_or_address:?}");
    assert!(name_or_address[1..].iter().all(|status| [400, 406].contains(status)), "{name_or_address:?}");

    let other = first.api().moved_to(&second.anonymous());
    eventually_true(SOON, "the user at the second daemon", || other.get(&path(&long)).status == 200);
    let key = json!({"key": KEY_A});
    other.post(&format!("{}sshkey/k1/", path(&long)), &key).result(201);
    eventually_true(SOON, "the key at the first daemon", || keys(&first, &long) == format!("{KEY_A}\n"));
    let session = second.login(&long, "pw-of-it").moved_to(&first.anonymous());
    eventually_true(SOON, "the session at the first daemon", || session.get(&path(&long)).status == 200);
    first.api().delete(&path(&long)).result(200);
    eventually_true(SOON, "the end at the second daemon", || other.get(&path(&long)).status == 404);
}

#[test]
fn ldap_tools_change_and_delete_a_user_with_a_long_name() {
    let mut world = World::new();
    let (name, ldap) = (long(254), world.usherd.ldap());
    let path = path(&name);
    world.root.post(&path, &body(&name, json!({"groups": ["loose"]}))).result(201);
    let dn = entry(&ldap, &name.to_uppercase()).dn;
    let modify = |change: &str| ldap.modify(&format!("dn: {dn}\nchangetype: modify\n{change}\n"));
    let session = world.usherd.login(&name, "pw-of-it");

    modify(&format!("add: sshPublicKey\nsshPublicKey: {KEY_A}"));
    eventually_true(SOON, "the key", || keys(&world.usherd, &name) == format!("{KEY_A}\n"));
    modify("replace: usherActive\nusherActive: FALSE");
    eventually_true(SOON, "the end of the session", || session.get(&path).status == 403);
    assert_eq!(keys(&world.usherd, &name), "");
    modify("replace: usherActive\nusherActive: TRUE");
    eventually_true(SOON, "the session again", || session.get(&path).status == 200);

    let shown = |root: &crate::support::Api| root.get(&path).result(200);
    modify(&format!("replace: uid\nuid: {}", name.to_uppercase()));
    eventually_true(SOON, "the other spelling", || shown(&world.root)["username"] == name.to_uppercase());
    assert_eq!(world.root.get("/accounts/group/loose/").result(200)["users"], json!([name.to_uppercase()]));
    // Another name there is none of the entry's: who it is stands in the DN.
    modify("replace: uid\nuid: u1");
    eventually_true(SOON, "the DN's name", || shown(&world.root)["username"] == name.to_lowercase());
    assert_eq!(shown(&world.root)["warnings"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.user("u1")["email"], "u1@example.com");
    world.login("u1");
    let login = json!({"username": "u1", "password": "pw-of-it"});
    assert_eq!(world.usherd.anonymous().post("/accounts/login/", &login).status, 400);
    world.usherd.login(&name, "pw-of-it");
    modify(&format!("replace: uid\nuid: {name}"));
    eventually_true(SOON, "the first spelling", || shown(&world.root)["username"] == name);

    assert!(world.usherd.stop().success());
    world.usherd.start_again();
    let root = world.usherd.api();
    assert_eq!((&shown(&root)["username"], &shown(&root)["groups"]), (&json!(name), &json!(["loose"])));
    let ldap = world.usherd.ldap();
    ldap.delete(&dn);
    eventually_true(SOON, "the end", || root.get(&path).status == 404);
    assert_eq!(root.get("/accounts/group/loose/").result(200)["users"], json!([]));
    assert_eq!(root.post(&path, &body(&name, json!({}))).result(201)["groups"], json!([]));
    assert_eq!(entry(&ldap, &name).dn, dn);
}

#[test]
fn a_packed_name_counts_only_where_it_is_the_whole_rdn() {
    let world = World::new();
    // With room for a second value in the RDN.
    let (name, ldap) = (long(242), world.usherd.ldap());
    world.root.post(&path(&name), &body(&name, json!({}))).result(201);
    world.root.post(&format!("{}sshkey/k1/", path(&name)), &json!({"key": KEY_A})).result(201);
    let packed = entry(&ldap, &name).first("usherName").unwrap();
    let is_somebody = |name: &str| world.root.get(&path(name)).status == 200;

    // As any other attribute it means nothing: u1 is u1, and the long name its owner's.
    let u1 = format!("uid=u1,{PEOPLE}");
    ldap.modify(&format!(
        "dn: {u1}\nchangetype: modify\nadd: usherName\nusherName: {packed}\n-\nreplace: sn\nsn: Seen\n"
    ));
    eventually_true(SOON, "the change", || world.user("u1")["last_name"] == "Seen");
    assert!(is_somebody(&name));
    world.usherd.login(&name, "pw-of-it");

    // Together with something else it makes nobody of both who have it there.
    let add = |rdn: &str, values: &str| {
        ldap.add(&format!(
            "dn: {rdn},{PEOPLE}\nobjectClass: inetOrgPerson\nobjectClass: usherAccount\nsn: O\n{values}"
        ));
    };
    let session = world.usherd.login(&name, "pw-of-it");
    add(&format!("cn=Other+usherName={packed}"), "cn: Other\n");
    eventually_true(SOON, "nobody has the name", || !is_somebody(&name));
    assert_eq!((keys(&world.usherd, &name).as_str(), session.get("/accounts/user/u1/").status), ("", 403));
    let login = json!({"username": name, "password": "pw-of-it"});
    assert_eq!(world.usherd.anonymous().post("/accounts/login/", &login).status, 400);
    assert_eq!(world.root.post(&path(&name), &body(&name, json!({}))).detail(406), "User already exists");
    ldap.delete(&format!("cn=Other+usherName={packed},{PEOPLE}"));
    eventually_true(SOON, "the owner again", || is_somebody(&name));

    add(&format!("uid=u2+usherName={packed}"), "cn: Other\n");
    eventually_true(SOON, "nobody has either name", || !is_somebody(&name) && !is_somebody("u2"));
    ldap.delete(&format!("uid=u2+usherName={packed},{PEOPLE}"));
    eventually_true(SOON, "both again", || is_somebody(&name) && is_somebody("u2"));
    assert_eq!(keys(&world.usherd, &name), format!("{KEY_A}\n"));

    // What nothing is packed to is no name.
    let users = world.root.get("/accounts/user/").result(200);
    for other in ["u4", &packed[1..], &packed.to_lowercase()] {
        add(&format!("usherName={other}"), &format!("cn: x\nuid: {}\n", if other == "u4" { "u4" } else { "v" }));
    }
    ldap.modify(&format!("dn: {u1}\nchangetype: modify\nreplace: sn\nsn: Again\n"));
    eventually_true(SOON, "what came after", || world.user("u1")["last_name"] == "Again");
    assert_eq!(world.root.get("/accounts/user/").result(200), users);
}
