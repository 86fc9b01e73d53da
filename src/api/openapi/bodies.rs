//! Schemas of what is sent: fields, their limits and choices. They take what the API takes, which is more than one type
//! for most fields: clients send booleans as words and numbers as text (contract 1.2).

use serde_json::{Map, Value, json};

use super::reference;
use crate::accounts::input::{FALSE_WORDS, MAX_PASSWORD};
use crate::accounts::profile::{Field, Kind};
use crate::accounts::{Access, Permission, dc_rules, group_rules, key_rules, phone, profile_rules, user_rules};
use crate::config;
use crate::name::{DcName, UserName};

/// What a text field may hold (`input::is_unsafe`, `input::has_control`).
const SAFE: &str = r#"^[^<>%$&;'"\x00-\x1f\x7f-\x9f\u2028\u2029]*$"#;

/// Under which name, with which schema.
pub(super) type Named = (&'static str, Value);

/// The components that bodies consist of, and the bodies.
pub(super) fn schemas(profile: &config::Profile) -> Vec<Named> {
    vec![
        ("Flag", flag()),
        ("Names", names()),
        ("PermissionNames", permission_names()),
        ("Country", json!({ "description": "An ISO 3166-1 alpha-2 code.", "enum": profile_rules::countries() })),
        ("Login", login()),
        ("UserCreate", user_create()),
        ("UserUpdate", user_update()),
        ("ApiKeysUpdate", object(&[], vec![new_key("api_key"), new_key("callback_key")])),
        ("ProfileUpdate", profile_update(profile)),
        ("SshKeyCreate", ssh_key_create()),
        ("GroupCreate", group_create()),
        ("GroupUpdate", group_update()),
        ("CurrentDatacenter", object(&[], vec![("dc", dc_name(super::CURRENT_DC))])),
        ("DatacenterCreate", datacenter_create()),
        ("DatacenterUpdate", object(&[], datacenter_fields())),
    ]
}

/// An object with these fields; others are ignored.
fn object(required: &[&str], fields: Vec<Named>) -> Value {
    let properties: Map<String, Value> = fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    let mut object = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn example(mut object: Value, example: Value) -> Value {
    object["examples"] = json!([example]);
    object
}

/// The same schema with more said about it.
fn with(mut schema: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        schema[key] = value.clone();
    }
    schema
}

/// A reference to a component with a description beside it.
fn described(component: &str, about: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{component}"), "description": about })
}

fn flag_about(about: &str) -> Value {
    described("Flag", about)
}

fn flag() -> Value {
    json!({
        "description": "A boolean, or a word or number for it; null is false.",
        "anyOf": [
            { "type": ["boolean", "number", "null"] },
            { "enum": super::flag_words() },
        ],
    })
}

/// A text that may be empty, or a number, which is taken as its text.
fn text(max: usize) -> Value {
    json!({ "type": ["string", "number", "null"], "maxLength": max, "pattern": SAFE })
}

/// A text that is not empty.
fn filled(max: usize) -> Value {
    json!({ "type": ["string", "number"], "minLength": 1, "maxLength": max, "pattern": SAFE })
}

fn email(max: usize) -> Value {
    json!({ "type": "string", "format": "email", "maxLength": max })
}

/// Nothing, or a value of this schema.
fn or_nothing(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "enum": ["", null] }] })
}

fn password() -> Value {
    json!({
        "description": format!("At most {MAX_PASSWORD} bytes."),
        "type": ["string", "number"],
        "minLength": 1,
        "maxLength": MAX_PASSWORD,
        "pattern": r"^[^\x00]*$",
        "format": "password",
    })
}

/// A list of names in its several forms. `item` is the schema of one.
fn list(about: &str, item: &Value, words: &Value) -> Value {
    json!({
        "description": about,
        "anyOf": [
            { "type": "array", "items": item },
            words,
            { "enum": [null, false, 0] },
            { "type": "object", "maxProperties": 0 },
        ],
    })
}

fn names() -> Value {
    list(
        "Names: an array, or one string with commas between them. Nothing stands for none.",
        &json!({ "type": ["string", "number"], "minLength": 1 }),
        &json!({ "type": "string" }),
    )
}

fn permission_names() -> Value {
    let all = Permission::ALL.map(Permission::name);
    let word = all.join("|");
    list(
        "Names of permissions: an array, or one string with commas between them. Nothing stands for none.",
        &json!({ "enum": all }),
        &json!({ "type": "string", "pattern": format!(r"^\s*(({word})(\s*,\s*({word}))*)?\s*$") }),
    )
}

/// One of a few numbers, as a number or its text.
fn number_choice(choices: &[u8]) -> Value {
    let words: Vec<String> = choices
        .iter()
        .map(|choice| if *choice == 0 { "[+-]?0+".to_owned() } else { format!(r"\+?0*{choice}") })
        .collect();
    json!({
        "anyOf": [
            { "enum": choices },
            { "type": "string", "pattern": format!(r"^\s*({})\s*$", words.join("|")) },
        ],
    })
}

fn new_key(name: &'static str) -> Named {
    (name, flag_about("Whether to generate a new one."))
}

fn login() -> Value {
    let text = || json!({ "type": ["string", "number"], "minLength": 1 });
    let fields = vec![("username", text()), ("password", with(text(), &json!({ "format": "password" })))];
    object(&["username", "password"], fields)
}

/// What POST and PUT of a user have in common.
fn user_fields() -> Vec<Named> {
    let own_name = json!({
        "description": "Checked and otherwise ignored: nobody is renamed.",
        "type": ["string", "number"],
        "pattern": super::WIDE,
        "maxLength": UserName::MAX,
        "not": { "enum": user_rules::RESERVED },
    });
    vec![
        ("first_name", filled(user_rules::NAME_MAX)),
        ("last_name", filled(user_rules::NAME_MAX)),
        ("email", with(email(user_rules::EMAIL_MAX), &json!({ "description": "Nobody else's address or name." }))),
        ("password", password()),
        (
            "groups",
            described("Names", "All groups of the user. A UserAdmin's are those bound to the user's datacenter."),
        ),
        ("dc_bound", flag_about("Whether the user is bound to a datacenter; a SuperAdmin's to change.")),
        ("api_access", flag_about("Whether the user may use the API.")),
        ("is_active", flag_about("Whether the user may log in.")),
        ("is_super_admin", flag_about("Whether the user is a SuperAdmin; a SuperAdmin's to change.")),
        new_key("api_key"),
        new_key("callback_key"),
        ("username", own_name),
    ]
}

fn dc_name(about: &str) -> Value {
    json!({ "description": about, "type": ["string", "number"], "pattern": super::NARROW, "maxLength": DcName::MAX })
}

/// `dc` of a POST, whatever `dc_bound` is: it must name a datacenter.
fn dc_to_bind() -> Named {
    ("dc", dc_name("The datacenter to bind to; needed unless dc_bound is false."))
}

/// `dc` is needed unless `dc_bound` is one of the values for false.
fn bound_or_not(mut object: Value) -> Value {
    let mut no = json!(FALSE_WORDS);
    if let Some(values) = no.as_array_mut() {
        values.extend([json!(false), json!(0), json!(null)]);
    }
    object["anyOf"] = json!([
        { "required": ["dc"] },
        { "required": ["dc_bound"], "properties": { "dc_bound": { "enum": no } } },
    ]);
    object
}

fn user_create() -> Value {
    let mut fields = user_fields();
    for (name, default) in [
        ("groups", json!([])),
        ("dc_bound", json!(true)),
        ("api_access", json!(false)),
        ("is_active", json!(true)),
        ("is_super_admin", json!(false)),
    ] {
        if let Some((_, schema)) = fields.iter_mut().find(|(field, _)| *field == name) {
            schema["default"] = default;
        }
    }
    fields.push(dc_to_bind());
    let body = bound_or_not(object(&["first_name", "last_name", "email", "password"], fields));
    let user = json!({
        "first_name": "Alice", "last_name": "Archer", "email": "alice@example.com", "password": "correct horse",
        "dc_bound": false, "api_access": true,
    });
    example(body, user)
}

fn user_update() -> Value {
    let mut fields = user_fields();
    // Looked at only where the user gets bound, so anything goes elsewhere.
    let about = "The name of the datacenter to bind to. Without one a user stays bound where he is, or is bound to \
                 main. Looked at only with dc_bound=true.";
    fields.push(("dc", json!({ "description": about })));
    object(&[], fields)
}

fn profile_update(profile: &config::Profile) -> Value {
    let mut fields = vec![
        ("first_name", filled(user_rules::NAME_MAX)),
        ("last_name", filled(user_rules::NAME_MAX)),
        ("email", email(user_rules::EMAIL_MAX)),
    ];
    fields.extend(Field::ALL.map(|field| (field.key(), profile_field(field.kind(), profile))));
    object(&[], fields)
}

fn profile_field(kind: Kind, profile: &config::Profile) -> Value {
    let country = || described("Country", "Of the address.");
    match kind {
        Kind::Flag(_) => flag_about("On or off."),
        Kind::Verified => flag_about("A SuperAdmin's to change."),
        Kind::Usertype => {
            with(number_choice(&[0, 1, 2]), &json!({ "description": "0 unknown, 1 personal, 2 company." }))
        }
        Kind::Email(max) => or_nothing(&email(max)),
        Kind::Phone => {
            let number = json!({ "type": "string", "pattern": r"^\+", "maxLength": phone::MAX });
            let about = json!({ "description": "A phone number with its country's code; kept as E.164." });
            with(or_nothing(&number), &about)
        }
        Kind::Text(max) => text(max),
        Kind::Language => json!({ "enum": profile.languages }),
        Kind::Currency => json!({ "enum": profile.currencies }),
        Kind::Timezone => {
            json!({ "description": "A name of the IANA time zone database.", "type": "string", "minLength": 1 })
        }
        Kind::Country => country(),
        Kind::OptionalCountry => or_nothing(&reference("schemas", "Country")),
    }
}

fn ssh_key_create() -> Value {
    let expires = or_nothing(&json!({ "type": "string", "format": "date-time" }));
    let options = json!({
        "description": "Options of sshd(8)'s authorized_keys: one in each element, or one string as in a line of it. \
            An expiry-time is in the future.",
        "anyOf": [
            { "type": "array", "items": { "type": "string" } },
            { "type": ["string", "null"] },
        ],
        "examples": [["from=\"192.0.2.0/24\"", "no-port-forwarding"]],
    });
    let fields = vec![
        (
            "key",
            json!({
                "description": "A public key in OpenSSH form: type, base64, comment. Blanks at the ends are dropped.",
                "type": "string",
                "minLength": 1,
                "maxLength": key_rules::KEY_MAX,
            }),
        ),
        ("expires", with(expires, &json!({ "description": "When the key ends; in the future." }))),
        ("options", options),
    ];
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM2Cbze9O1y9ipWF6ryo8WqAug4QaIk94QN0v3fPnINR alice@example.com";
    example(object(&["key"], fields), json!({ "key": key }))
}

fn group_fields() -> Vec<Named> {
    vec![
        ("alias", with(filled(group_rules::ALIAS_MAX), &json!({ "description": "The shown name; no other group's." }))),
        ("permissions", described("PermissionNames", "All permissions of the group.")),
        ("users", described("Names", "All members of the group.")),
    ]
}

fn group_create() -> Value {
    let mut fields = group_fields();
    fields.push(("dc_bound", flag_about("Whether the group is bound to a datacenter; true by default.")));
    fields.push(dc_to_bind());
    example(
        bound_or_not(object(&[], fields)),
        json!({ "alias": "Staff", "permissions": ["user_admin"], "dc_bound": false }),
    )
}

fn group_update() -> Value {
    let mut fields = group_fields();
    let about = "true binds the group to the one datacenter that it is attached to.";
    fields.push(("dc_bound", flag_about(about)));
    object(&[], fields)
}

fn datacenter_fields() -> Vec<Named> {
    let site = json!({
        "description": "A host name, no other datacenter's.",
        "type": ["string", "number"],
        "pattern": "^[a-z0-9][a-z0-9.:-]+[a-z0-9]$",
        "maxLength": dc_rules::SITE_MAX,
    });
    let owner = with(
        text(UserName::MAX),
        &json!({ "description": "An active user's name. Nothing is the caller for a new datacenter, else no change." }),
    );
    let access = number_choice(&[Access::Public, Access::Private].map(Access::number));
    vec![
        ("site", site),
        ("alias", with(filled(dc_rules::ALIAS_MAX), &json!({ "description": "No other datacenter's." }))),
        ("owner", owner),
        ("access", with(access, &json!({ "description": "1 public, 3 private." }))),
        ("desc", text(dc_rules::DESC_MAX)),
        ("groups", datacenter_groups()),
    ]
}

/// Like other names, but one empty name is none.
fn datacenter_groups() -> Value {
    let about = "All groups that are attached to the datacenter.";
    json!({ "description": about, "anyOf": [reference("schemas", "Names"), { "const": [""] }] })
}

fn datacenter_create() -> Value {
    example(object(&["site"], datacenter_fields()), json!({ "site": "east.example.com", "access": 3 }))
}
