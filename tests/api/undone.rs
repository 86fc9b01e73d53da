//! What a refused call did before it was refused: that is undone, and nothing that others did meanwhile.

use std::time::Duration;

use serde_json::json;

use crate::pair::{BASE, DCS, Pair, bind, dc, group, user};
use crate::support::{Request, eventually_true};

/// What others do between the moment when a call unbinds somebody and its refusal.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meanwhile {
    Nothing,
    Unbound,
    Changed,
    DatacenterMadeAgain,
    JoinedElsewhere,
    OwnerElsewhere,
}

#[test]
fn who_was_unbound_by_a_refused_call_is_bound_again_unless_anything_is_against_it_by_then() {
    use Meanwhile::{Changed, DatacenterMadeAgain, JoinedElsewhere, Nothing, OwnerElsewhere, Unbound};
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    pair.group("other", json!({"dc": "dc4"}));
    for meanwhile in [Nothing, Unbound, Changed, DatacenterMadeAgain, JoinedElsewhere, OwnerElsewhere] {
        let of = |what: &str| format!("{what}{}", meanwhile as u8);
        let (name, home, joined, elsewhere, owned) =
            (of("who"), of("home"), of("joined"), of("elsewhere"), of("owned"));
        pair.datacenter(&home);
        pair.datacenter(&owned);
        pair.user(&name, bind(&home));
        pair.group(&joined, json!({"dc": "dc4"}));
        pair.group(&elsewhere, json!({"dc": "dc4"}));
        pair.catch_up();
        let taken = of("Taken");
        let call = || stale.put(&group(&joined), &json!({"users": [name], "alias": taken}));
        let act = || {
            assert_eq!(pair.stored(&format!("(uid={name})"), "usherDcBound"), [""; 0], "{meanwhile:?}");
            fresh.put(&group("other"), &json!({ "alias": taken })).result(200);
            match meanwhile {
                Nothing => {}
                Unbound => drop(fresh.put(&user(&name), &json!({"dc_bound": false})).result(200)),
                Changed => {
                    let modify = format!(
                        "dn: uid={name},ou=people,{BASE}\nchangetype: modify\nreplace: description\ndescription: x\n"
                    );
                    pair.ldap.modify(&modify);
                }
                DatacenterMadeAgain => {
                    fresh.delete(&dc(&home)).result(200);
                    pair.datacenter(&home);
                }
                JoinedElsewhere => drop(fresh.put(&group(&elsewhere), &json!({"users": [name]})).result(200)),
                OwnerElsewhere => drop(fresh.put(&dc(&owned), &json!({"owner": name})).result(200)),
            }
        };
        pair.proxy.before(Request::GroupChange, call, act).result(400);
        let bound = pair.stored(&format!("(uid={name})"), "usherDcBound");
        let before = format!("cn={home},{DCS}");
        assert_eq!(bound, if meanwhile == Nothing { vec![before] } else { vec![] }, "{meanwhile:?}");
        for api in [fresh, stale] {
            let shown = || api.get(&user(&name)).result(200)["dc_bound"] == (meanwhile == Nothing);
            eventually_true(Duration::from_secs(5), "both daemons show it", shown);
        }
    }
}

#[test]
fn an_attachment_that_is_refused_since_its_group_or_datacenter_went_leaves_the_members_bound() {
    let pair = Pair::new();
    for gone in ["group", "datacenter"] {
        let [name, group, dc] = ["who", "group", "dc"].map(|what| format!("{what}-{gone}"));
        let path = if gone == "group" { self::group(&group) } else { self::dc(&dc) };
        pair.group(&group, json!({"dc_bound": false}));
        pair.datacenter(&dc);
        pair.user(&name, json!({"dc_bound": true, "dc": "dc3", "groups": [group]}));
        pair.catch_up();
        let attach = || pair.stale.post(&format!("/dc/{dc}/group/{group}/"), &json!({}));
        let delete = || drop(pair.fresh.delete(&path).result(200));
        pair.proxy.before(Request::GroupChange, attach, delete).result(404);
        assert_eq!(pair.stored(&format!("(uid={name})"), "usherDcBound"), [format!("cn=dc3,{DCS}")], "{gone}");
    }
}
