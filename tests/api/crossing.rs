//! Calls that cross: on two daemons, at the same moment, on the same entry or on entries that a rule relates.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Ldap, Usherd, eventually_true};
use crate::world::{KEY_A, KEY_B, World, user_body};

/// Runs `call` in `count` threads that begin together, half of them on each daemon; their statuses.
pub(crate) fn together(daemons: [&Usherd; 2], count: usize, call: impl Fn(&Api, usize) -> u16 + Sync) -> Vec<u16> {
    let barrier = Barrier::new(count);
    let mut statuses = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|i| {
                let api = daemons[0].api().moved_to(&daemons[i % 2].anonymous());
                let (barrier, call) = (&barrier, &call);
                scope.spawn(move || {
                    barrier.wait();
                    call(&api, i)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<u16>>()
    });
    statuses.sort_unstable();
    statuses
}

#[test]
fn of_parallel_posts_on_two_daemons_one_succeeds() {
    let first = Usherd::start();
    let second = first.second("second");
    let both = [&first, &second];
    let one_of = |statuses: &[u16], code: u16, others: &[u16]| {
        assert_eq!(statuses.iter().filter(|status| **status == code).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| *status == code || others.contains(status)), "{statuses:?}");
    };
    let unbound = json!({"dc_bound": false});
    let same_user = together(both, 32, |api, _| api.post("/accounts/user/one/", &user_body("one", &unbound)).status);
    one_of(&same_user, 201, &[406]);
    // Memberships are written after the entry: nobody else takes the unfinished entry for his own.
    first.api().post("/accounts/group/g0/", &json!({"dc_bound": false})).result(201);
    let in_group = json!({"dc_bound": false, "groups": ["g0"]});
    let with_group = together(both, 32, |api, _| {
        // The second daemon may not know the group yet.
        loop {
            let answer = api.post("/accounts/user/two/", &user_body("two", &in_group));
            if answer.status != 400 {
                return answer.status;
            }
        }
    });
    one_of(&with_group, 201, &[406]);
    let same_email = together(both, 32, |api, i| {
        let name = format!("many{i}");
        let body = user_body(&name, &json!({"dc_bound": false, "email": "same@example.com"}));
        api.post(&format!("/accounts/user/{name}/"), &body).status
    });
    one_of(&same_email, 201, &[400]);
    let same_title = together(both, 32, |api, i| {
        let key = [KEY_A, KEY_B][i % 2];
        api.post("/accounts/user/one/sshkey/k1/", &json!({ "key": key })).status
    });
    one_of(&same_title, 201, &[406]);
    first.api().post("/accounts/group/g1/", &json!({"dc_bound": false})).result(201);
    first.api().post("/dc/dc3/", &json!({"site": "dc3.example.com"})).result(201);
    let same_attachment = together(both, 16, |api, _| {
        // The second daemon may not know the datacenter yet when the first has answered.
        loop {
            let answer = api.post("/dc/dc3/group/g1/", &json!({}));
            if answer.status != 404 {
                return answer.status;
            }
        }
    });
    one_of(&same_attachment, 201, &[406]);
}

#[test]
fn who_creates_something_is_told_so_though_others_change_or_delete_it_at_once() {
    let first = Usherd::start();
    let second = first.second("second");
    let (groups, users) = (["g0", "g1", "g2"], ["m0", "m1"]);
    for group in groups {
        first.api().post(&format!("/accounts/group/{group}/"), &json!({"dc_bound": false})).result(201);
    }
    for user in users {
        let body = user_body(user, &json!({"dc_bound": false}));
        first.api().post(&format!("/accounts/user/{user}/"), &body).result(201);
    }
    eventually_true(Duration::from_secs(5), "the second daemon knows them", || {
        first.api().moved_to(&second.anonymous()).get("/accounts/user/m1/").status == 200
    });
    let user = |name: &str, i: usize| {
        let mail = format!("{name}-{i}@example.com");
        user_body(name, &json!({"dc_bound": false, "groups": groups, "email": mail}))
    };
    let dc = |name: &str, _| json!({"site": format!("{name}.example.com"), "groups": groups});
    let group = |_: &str, _| json!({"dc_bound": false, "users": users});
    type Body<'a> = &'a (dyn Fn(&str, usize) -> Value + Sync);
    let kinds: [(&str, &str, Body<'_>); 3] =
        [("accounts/user", "first_name", &user), ("dc", "desc", &dc), ("accounts/group", "alias", &group)];
    for (round, (below, field, body)) in (0..4).flat_map(|round| kinds.map(|kind| (round, kind))) {
        let [changed, deleted] = ["changed", "deleted"].map(|what| format!("{what}{round}"));
        let path = |name: &str| format!("/{below}/{name}/");
        let statuses =
            together([&first, &second], 12, |api, i| match api.post(&path(&changed), &body(&changed, i)).status {
                406 => api.put(&path(&changed), &json!({ field: format!("{changed} {i}") })).status,
                status => status,
            });
        assert_eq!(statuses, [[200; 11].as_slice(), &[201]].concat(), "{below} {changed}");
        let statuses = together([&first, &second], 2, |api, i| match (i, path(&deleted)) {
            (0, path) => api.post(&path, &body(&deleted, i)).status,
            (_, path) => {
                let mut status = 404;
                eventually_true(Duration::from_secs(20), "it is there", || {
                    status = api.delete(&path).status;
                    status != 404
                });
                status
            }
        });
        assert_eq!(statuses, [200, 201], "{below} {deleted}");
    }
}

#[test]
fn parallel_puts_of_different_things_all_hold_and_numbers_never_repeat() {
    let first = Usherd::start();
    let second = first.second("second");
    let both = [&first, &second];
    let created = together(both, 24, |api, i| {
        let name = format!("p{i}");
        api.post(&format!("/accounts/user/{name}/"), &user_body(&name, &json!({"dc_bound": false}))).status
    });
    assert_eq!(created, [201; 24]);
    let numbers: BTreeSet<String> = first
        .ldap()
        .search("ou=people,dc=example,dc=org", "one", "(uid=p*)", &["usherNumber"])
        .iter()
        .filter_map(|entry| entry.first("usherNumber"))
        .collect();
    assert_eq!(numbers.len(), 24);

    let fields = ["city", "state", "company", "website", "title", "street_1", "postcode", "vatid"];
    let changed = together(both, fields.len(), |api, i| {
        api.put("/accounts/user/p0/profile/", &json!({ fields[i]: format!("v{i}") })).status
    });
    assert_eq!(changed, [200; 8]);
    // What one daemon wrote comes to the other by content sync.
    eventually_true(Duration::from_secs(5), "all fields hold", || {
        let profile = first.api().get("/accounts/user/p0/profile/").result(200);
        fields.iter().enumerate().all(|(i, field)| profile[field] == format!("v{i}"))
    });

    for i in 0..8 {
        first.api().post(&format!("/accounts/group/g{i}/"), &json!({"dc_bound": false})).result(201);
    }
    eventually_true(Duration::from_secs(5), "the groups on the second daemon", || {
        first.api().moved_to(&second.anonymous()).get("/accounts/group/g7/").status == 200
    });
    let joined =
        together(both, 8, |api, i| api.put(&format!("/accounts/group/g{i}/"), &json!({"users": ["p1", "p2"]})).status);
    assert_eq!(joined, [200; 8]);
    eventually_true(Duration::from_secs(5), "all memberships hold", || {
        first.api().get("/accounts/user/p1/").result(200)["groups"].as_array().map(Vec::len) == Some(8)
    });
}

/// Two calls at the same moment, one on each daemon; they may answer with these statuses.
fn cross(daemons: [&Usherd; 2], calls: [(&str, &str, Value); 2], statuses: &[u16]) {
    let answers = together(daemons, 2, |api, i| {
        let (method, path, body) = &calls[i];
        api.json(method, path, body).status
    });
    assert!(answers.iter().all(|status| statuses.contains(status)), "{answers:?} to {calls:?}");
}

/// The entry's value of `attribute`, as the directory has it.
fn stored(ldap: &Ldap, dn: &str, attribute: &str) -> Vec<String> {
    let entries = ldap.search(&format!("{dn},dc=example,dc=org"), "base", "(objectClass=*)", &[attribute]);
    entries.first().map(|entry| entry.all(attribute)).unwrap_or_default()
}

const ROUNDS: usize = 12;

/// Waits until the second daemon answers this path.
fn known(daemons: [&Usherd; 2], path: &str) {
    let second = daemons[0].api().moved_to(&daemons[1].anonymous());
    eventually_true(Duration::from_secs(5), path, || second.get(path).status == 200);
}

#[test]
fn of_a_binding_and_what_no_bound_user_can_be_at_the_same_moment_one_is_refused() {
    let world = World::new();
    let second = world.usherd.second("second");
    for round in 0..80 {
        let daemons = [&world.usherd, if round % 2 == 0 { &second } else { &world.usherd }];
        let name = format!("both{round}");
        let path = format!("/accounts/user/{name}/");
        world.create(&name, &json!({"dc_bound": false}));
        known(daemons, &path);
        let other = match round / 20 {
            0 => json!({"is_super_admin": true}),
            1 => json!({"groups": ["staff4"]}),
            _ => json!({"groups": ["staff4"], "first_name": "Joined"}),
        };
        let bind = match round / 60 {
            0 => json!({"dc_bound": true, "dc": "dc3"}),
            _ => json!({"dc_bound": true, "dc": "dc3", "last_name": "Bound"}),
        };
        let calls = [other, bind];
        let statuses = together(daemons, 2, |api, i| api.put(&path, &calls[i]).status);
        assert_eq!(statuses, [200, 400], "{calls:?}");
        let user = world.user(&name);
        let is_other = user["is_super_admin"] == true || user["groups"] == json!(["staff4"]);
        assert_ne!(user["dc_bound"], is_other, "{user}");
        assert_eq!(user["first_name"] == "Joined", is_other && round >= 40, "{user}");
        assert_eq!(user["last_name"], if !is_other && round >= 60 { "Bound" } else { "Last" }, "{user}");
    }
}

#[test]
fn nobody_stays_bound_who_joins_another_datacenters_group_at_the_same_moment() {
    let World { usherd: first, root } = World::new();
    let second = first.second("second");
    let both = [&first, &second];
    let ldap = first.ldap();
    for round in 0..ROUNDS {
        let name = format!("r{round}");
        root.post(&format!("/accounts/user/{name}/"), &user_body(&name, &json!({"dc_bound": false}))).result(201);
        let user = format!("/accounts/user/{name}/");
        known(both, &user);
        let bind = ("PUT", &*user, json!({"dc_bound": true, "dc": "dc3"}));
        let join = ("PUT", "/accounts/group/staff4/", json!({ "users": [name] }));
        cross(both, if round % 2 == 0 { [bind, join] } else { [join, bind] }, &[200, 400]);
        let member = stored(&ldap, "cn=staff4,ou=groups", "member");
        assert_eq!(member, [format!("uid={name},ou=people,dc=example,dc=org")]);
        assert_eq!(stored(&ldap, &format!("uid={name},ou=people"), "usherDcBound"), [""; 0], "round {round}");
    }
}

#[test]
fn nobody_stays_bound_whose_group_is_attached_elsewhere_at_the_same_moment() {
    let World { usherd: first, root } = World::new();
    let second = first.second("second");
    let both = [&first, &second];
    let ldap = first.ldap();
    for round in 0..ROUNDS {
        let (name, group) = (format!("r{round}"), format!("g{round}"));
        root.post(&format!("/accounts/group/{group}/"), &json!({"dc_bound": false})).result(201);
        let body = user_body(&name, &json!({"dc_bound": false, "groups": [group]}));
        root.post(&format!("/accounts/user/{name}/"), &body).result(201);
        let (user, attach) = (format!("/accounts/user/{name}/"), format!("/dc/dc4/group/{group}/"));
        known(both, &user);
        let bind = ("PUT", &*user, json!({"dc_bound": true, "dc": "dc3"}));
        let attach = ("POST", &*attach, json!({}));
        cross(both, if round % 2 == 0 { [bind, attach] } else { [attach, bind] }, &[200, 201, 400]);
        assert_eq!(stored(&ldap, &format!("uid={name},ou=people"), "usherDcBound"), [""; 0], "round {round}");
    }
}

#[test]
fn no_group_stays_bound_that_is_attached_elsewhere_at_the_same_moment() {
    let World { usherd: first, root } = World::new();
    let second = first.second("second");
    let both = [&first, &second];
    let ldap = first.ldap();
    for round in 0..ROUNDS {
        let group = format!("g{round}");
        let path = format!("/accounts/group/{group}/");
        root.post(&path, &json!({"dc": "dc3"})).result(201);
        root.put(&path, &json!({"dc_bound": false})).result(200);
        known(both, &format!("/dc/dc3/group/{group}/"));
        let bind = ("PUT", &*path, json!({"dc_bound": true}));
        let attach = format!("/dc/dc4/group/{group}/");
        let attach = ("POST", &*attach, json!({}));
        cross(both, if round % 2 == 0 { [bind, attach] } else { [attach, bind] }, &[200, 201, 400]);
        assert_eq!(stored(&ldap, &format!("cn={group},ou=groups"), "usherDcBound"), [""; 0], "round {round}");
    }
}

#[test]
fn of_calls_that_unbind_a_member_or_an_owner_the_refused_one_leaves_him_bound() {
    let world = World::new();
    let second = world.usherd.second("second");
    let both = [&world.usherd, &second];
    let ldap = world.usherd.ldap();
    for round in 0..ROUNDS {
        let users = ["a", "b"].map(|who| format!("{who}{round}"));
        let groups = ["g", "h"].map(|which| format!("{which}{round}"));
        for user in &users {
            world.create(user, &json!({"dc": "dc3"}));
        }
        for group in &groups {
            world.root.post(&format!("/accounts/group/{group}/"), &json!({"dc": "dc4"})).result(201);
            world.root.post(&format!("/dc/{group}/"), &json!({"site": format!("{group}.example.com")})).result(201);
        }
        known(both, &format!("/dc/{}/", groups[1]));
        let taken = format!("taken{round}");
        let statuses = together(both, 2, |api, i| {
            let (user, site) = (&users[i], format!("{taken}{i}.example.com"));
            let answer = match round % 5 {
                0 => api.post(&format!("/dc/{taken}/"), &json!({"owner": user, "site": site})),
                1 => api.post(&format!("/dc/{taken}-{i}/"), &json!({"owner": user, "site": format!("{taken}.org")})),
                2 => api
                    .post(&format!("/accounts/group/{taken}/"), &json!({"users": [user], "dc": "dc4", "alias": site})),
                3 => api.put(&format!("/accounts/group/{}/", groups[i]), &json!({"users": [user], "alias": taken})),
                _ => api.put(&format!("/dc/{}/", groups[i]), &json!({"owner": user, "site": format!("{taken}.org")})),
            };
            // As the directory has it, since the other daemon may know of that later.
            let bound = stored(&ldap, &format!("uid={user},ou=people"), "usherDcBound");
            assert_eq!(bound.is_empty(), answer.status < 300, "round {round}: {} {user}", answer.status);
            answer.status
        });
        let refused = [406, 400, 406, 400, 400][round % 5];
        let done = if round % 5 >= 3 { 200 } else { 201 };
        assert_eq!(statuses, [done, refused], "round {round}");
    }
}

#[test]
fn nobody_and_nothing_stays_bound_to_a_datacenter_that_is_deleted_at_the_same_moment() {
    let World { usherd: first, root } = World::new();
    let second = first.second("second");
    let both = [&first, &second];
    let ldap = first.ldap();
    for round in 0..ROUNDS {
        let (dc, group) = (format!("x{round}"), format!("g{round}"));
        root.post(&format!("/accounts/group/{group}/"), &json!({"dc_bound": false})).result(201);
        root.post(&format!("/dc/{dc}/"), &json!({"site": format!("{dc}.example.com")})).result(201);
        let path = format!("/dc/{dc}/");
        known(both, &path);
        let delete = ("DELETE", &*path, json!({}));
        let attach = format!("/dc/{dc}/group/{group}/");
        let (bind, entry, attribute) = if round % 2 == 0 {
            let bind = ("PUT", "/accounts/user/free/", json!({"dc_bound": true, "dc": dc}));
            (bind, "uid=free,ou=people".to_owned(), "usherDcBound")
        } else {
            (("POST", &*attach, json!({})), format!("cn={group},ou=groups"), "usherDatacenterLink")
        };
        cross(both, if round % 4 < 2 { [bind, delete] } else { [delete, bind] }, &[200, 201, 404]);
        assert_eq!(stored(&ldap, &entry, attribute), [""; 0], "round {round}");
    }
}

#[test]
fn nobody_is_deleted_who_is_made_an_owner_at_the_same_moment() {
    let World { usherd: first, root } = World::new();
    let second = first.second("second");
    let ldap = first.ldap();
    root.post("/accounts/group/kept/", &json!({"dc_bound": false})).result(201);
    for round in 0..ROUNDS {
        // on one daemon or on two
        let both = [&first, if round % 3 == 0 { &first } else { &second }];
        let name = format!("r{round}");
        let user = format!("/accounts/user/{name}/");
        root.post(&user, &user_body(&name, &json!({"dc_bound": false, "groups": ["kept"]}))).result(201);
        known(both, &user);
        let dc = format!("x{round}");
        let new = format!("/dc/{dc}/");
        let own = if round % 2 == 0 {
            ("PUT", "/dc/dc3/", json!({ "owner": name }))
        } else {
            ("POST", &*new, json!({"owner": name, "site": format!("{dc}.example.com")}))
        };
        let delete = ("DELETE", &*user, json!({}));
        cross(both, if round % 4 < 2 { [own, delete] } else { [delete, own] }, &[200, 201, 400]);
        let exists = ldap.search("ou=people,dc=example,dc=org", "one", &format!("(uid={name})"), &["usherActive"]);
        let owned = format!("(usherOwner=uid={name},ou=people,dc=example,dc=org)");
        let owned = ldap.search("ou=datacenters,dc=example,dc=org", "one", &owned, &["cn"]);
        match exists.first() {
            Some(entry) => {
                assert_eq!(entry.first("usherActive").as_deref(), Some("TRUE"), "round {round}");
                let members = stored(&ldap, "cn=kept,ou=groups", "member");
                assert!(members.iter().any(|dn| dn.contains(&format!("uid={name},"))), "round {round}: {members:?}");
            }
            None => assert_eq!(owned.len(), 0, "round {round}"),
        }
        root.put("/dc/dc3/", &json!({"owner": "admin"})).result(200);
    }
}

#[test]
fn of_calls_that_take_one_address_the_refused_one_leaves_no_group() {
    let World { usherd: first, root } = World::new();
    let second = first.second("second");
    let both = [&first, &second];
    let ldap = first.ldap();
    root.post("/accounts/group/kept/", &json!({"dc_bound": false})).result(201);
    for name in ["one", "two"] {
        root.post(&format!("/accounts/user/{name}/"), &user_body(name, &json!({"dc_bound": false}))).result(201);
        root.post(&format!("/dc/{name}/"), &json!({"site": format!("{name}.example.com")})).result(201);
    }
    known(both, "/dc/two/");
    for round in 0..4 {
        for (below, field, attribute, rdn) in
            [("accounts/user", "email", "member", "uid"), ("dc", "site", "usherDatacenterLink", "cn")]
        {
            let path = |i: usize| format!("/{below}/{}/", ["one", "two"][i]);
            for i in 0..2 {
                root.put(&path(i), &json!({"groups": ["kept"]})).result(200);
            }
            let taken = format!("taken{round}@example.com");
            let taken = if field == "site" { taken.replace('@', ".") } else { taken };
            let statuses = together(both, 2, |api, i| api.put(&path(i), &json!({"groups": [], field: taken})).status);
            assert_eq!(statuses, [200, 400], "{below}");
            let left = stored(&ldap, "cn=kept,ou=groups", attribute);
            let refused = (0..2).filter(|i| root.get(&path(*i)).result(200)[field] != taken).collect::<Vec<_>>();
            assert_eq!(refused.len(), 1, "{below}");
            assert_eq!(left.len(), 1, "{below}: {left:?}");
            assert!(left[0].starts_with(&format!("{rdn}={},", ["one", "two"][refused[0]])), "{below}: {left:?}");
        }
    }
}
