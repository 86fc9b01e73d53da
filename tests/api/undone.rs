//! What a refused call did before it was refused: that is undone, and nothing that others did meanwhile.

use std::time::Duration;

use serde_json::json;

use crate::pair::{BASE, Pair, bind, dc, group, user};
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
        let before = format!("cn={home},ou=datacenters,{BASE}");
        assert_eq!(bound, if meanwhile == Nothing { vec![before] } else { vec![] }, "{meanwhile:?}");
        for api in [fresh, stale] {
            let shown = || api.get(&user(&name)).result(200)["dc_bound"] == (meanwhile == Nothing);
            eventually_true(Duration::from_secs(5), "both daemons show it", shown);
        }
    }
}
