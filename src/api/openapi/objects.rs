//! Schemas of what is shown: the objects of `represent`, `login` and `task`, and the envelopes around them. Other keys
//! may join the objects' own later.

use serde_json::{Map, Value, json};

use super::bodies::Named;
use crate::accounts::profile::{Field, Kind};
use crate::accounts::{Access, Permission};
use crate::config;
use crate::sshkey::KeyType;

pub(super) fn schemas(profile: &config::Profile) -> Vec<Named> {
    vec![
        ("User", user()),
        ("Profile", profile_object(profile)),
        ("ApiKeys", api_keys()),
        ("SshKey", ssh_key()),
        ("Group", group()),
        ("Permission", permission()),
        ("Datacenter", datacenter()),
        ("Session", session()),
        ("Bye", object(vec![("detail", json!({ "const": "Bye." }))], vec![])),
        ("Pong", json!({ "const": "pong" })),
        ("Tasks", json!({ "description": "There are never any.", "type": "array", "maxItems": 0 })),
        ("TaskLog", task_log()),
        ("TaskLogEntry", task_log_entry()),
        ("TaskId", task_id()),
        ("Description", description()),
        ("Failure", failure(&messages())),
        ("Relations", failure(&relations())),
        ("LoginFields", object(vec![("detail", messages())], vec![])),
        ("Liveness", object(vec![("status", json!({ "const": "live" }))], vec![])),
        ("Readiness", object(vec![("status", json!({ "enum": ["ready", "not ready"] }))], vec![("detail", text())])),
    ]
}

/// What OPTIONS says of a URL.
fn description() -> Value {
    let json = json!({ "const": ["application/json"] });
    object(vec![("name", text()), ("description", text()), ("renders", json.clone()), ("parses", json)], vec![])
}

/// An object with fields that are always there and others.
fn object(always: Vec<Named>, sometimes: Vec<Named>) -> Value {
    let required: Vec<&str> = always.iter().map(|(name, _)| *name).collect();
    let all = always.into_iter().chain(sometimes);
    let properties: Map<String, Value> = all.map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

/// The envelope of a success around a result of this schema.
pub(super) fn success(result: &Value) -> Value {
    let fields = vec![
        ("status", json!({ "const": "SUCCESS" })),
        ("result", result.clone()),
        ("task_id", super::reference("schemas", "TaskId")),
    ];
    object(fields, vec![])
}

fn failure(result: &Value) -> Value {
    let fields = vec![
        ("status", json!({ "const": "FAILURE" })),
        ("result", result.clone()),
        ("task_id", super::reference("schemas", "TaskId")),
    ];
    object(fields, vec![])
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn maybe_time() -> Value {
    json!({ "type": ["string", "null"], "format": "date-time" })
}

fn maybe_text() -> Value {
    json!({ "type": ["string", "null"] })
}

fn texts() -> Value {
    json!({ "type": "array", "items": text() })
}

fn user() -> Value {
    let hidden = || json!({ "description": "Shown by apikeys alone.", "const": "***" });
    object(
        vec![
            ("api_key", hidden()),
            ("callback_key", hidden()),
            ("dc_bound", flag()),
            ("username", text()),
            ("current_dc", maybe_text()),
            ("email", text()),
            ("first_name", text()),
            ("last_name", text()),
            ("is_super_admin", flag()),
            ("is_active", flag()),
            ("api_access", flag()),
            ("groups", texts()),
            ("created", time()),
        ],
        vec![
            ("dcs", described(texts(), "Only in extended objects.")),
            ("warnings", described(texts(), "What is odd about the entry; only where something is.")),
        ],
    )
}

fn described(mut schema: Value, about: &str) -> Value {
    schema["description"] = about.into();
    schema
}

/// What an LDAP tool wrote is shown as it is, so texts may be anything.
fn profile_object(profile: &config::Profile) -> Value {
    let mut fields = vec![("username", text())];
    for field in Field::ALL {
        let schema = match field.kind() {
            Kind::Flag(default) => json!({ "type": "boolean", "default": default }),
            Kind::Verified => flag(),
            Kind::Usertype => {
                json!({ "description": "0 unknown, 1 personal, 2 company.", "type": "integer", "minimum": 0,
                    "maximum": u8::MAX, "default": 0 })
            }
            Kind::Language => json!({ "type": "string", "default": profile.default_language }),
            Kind::Timezone => json!({ "type": "string", "default": profile.default_timezone }),
            Kind::Currency => json!({ "type": "string", "default": profile.default_currency }),
            Kind::Country => json!({ "type": "string", "default": profile.default_country }),
            Kind::Email(_) | Kind::Phone | Kind::Text(_) | Kind::OptionalCountry => {
                json!({ "type": "string", "default": "" })
            }
        };
        fields.push((field.key(), schema));
        match field {
            Field::TosAcceptation => fields.push(("email", text())),
            Field::Title => fields.push(("first_name", text())),
            Field::MiddleName => fields.push(("last_name", text())),
            _ => {}
        }
    }
    object(fields, vec![])
}

fn api_keys() -> Value {
    let key = || json!({ "description": "Empty where none was generated.", "type": "string", "pattern": "^([0-9a-f]{32})?$" });
    object(vec![("api_key", key()), ("callback_key", key())], vec![])
}

fn ssh_key() -> Value {
    let types = KeyType::ALL.map(KeyType::name);
    object(
        vec![
            ("title", text()),
            (
                "fingerprint",
                json!({ "description": "MD5.", "type": "string", "pattern": "^[0-9a-f]{2}(:[0-9a-f]{2}){15}$" }),
            ),
            ("key", described(text(), "The key in OpenSSH form.")),
            (
                "fingerprint_sha256",
                json!({ "description": "As ssh-keygen shows it.", "type": "string",
                    "pattern": "^SHA256:[A-Za-z0-9+/]{43}$" }),
            ),
            ("type", json!({ "enum": types })),
            ("bits", json!({ "type": "integer", "minimum": 1 })),
            ("comment", text()),
            ("created", maybe_time()),
            ("expires", maybe_time()),
            ("options", described(texts(), "Options of sshd(8)'s authorized_keys.")),
        ],
        vec![],
    )
}

fn permission_name() -> Value {
    json!({ "enum": Permission::ALL.map(Permission::name) })
}

fn group() -> Value {
    object(
        vec![
            ("dc_bound", flag()),
            ("name", text()),
            ("alias", text()),
            ("permissions", json!({ "type": "array", "items": permission_name() })),
            ("users", texts()),
            ("created", time()),
        ],
        vec![("dcs", described(texts(), "Only in extended objects."))],
    )
}

fn permission() -> Value {
    let aliases = Permission::ALL.map(Permission::alias);
    object(vec![("name", permission_name()), ("alias", json!({ "enum": aliases }))], vec![])
}

fn datacenter() -> Value {
    let access = [Access::Public, Access::Private].map(Access::number);
    let mut sometimes = vec![("groups", described(texts(), "For SuperAdmins."))];
    for name in ["vms", "nodes", "snapshots", "backups", "real_vms", "size_vms", "size_snapshots", "size_backups"] {
        let about = "For SuperAdmins, in extended objects.";
        sometimes.push((name, json!({ "description": about, "type": "integer", "minimum": 0 })));
    }
    object(
        vec![
            ("name", text()),
            ("alias", text()),
            ("site", text()),
            ("owner", maybe_text()),
            ("access", json!({ "description": "1 public, 3 private.", "enum": access })),
            ("desc", text()),
            ("created", time()),
        ],
        sometimes,
    )
}

fn session() -> Value {
    object(
        vec![
            ("token", json!({ "type": "string", "pattern": "^[0-9a-f]{40}$" })),
            ("expires", time()),
            ("detail", text()),
        ],
        vec![],
    )
}

fn task_id() -> Value {
    json!({
        "description": "A reference into the task log.",
        "type": "string",
        "pattern": r"^[0-9]+[deamif][0-9]+[du][0-9]+-[0-9a-f]{8}(-[0-9a-f]{4}){3}$",
    })
}

fn task_log() -> Value {
    let entries = json!({ "type": "array", "items": super::reference("schemas", "TaskLogEntry") });
    object(vec![("results", entries)], vec![])
}

fn task_log_entry() -> Value {
    object(
        vec![
            ("status", json!({ "enum": ["SUCCESS", "FAILURE"] })),
            ("username", text()),
            ("task_type", described(json!({ "enum": [0, 100] }), "100 outside a datacenter.")),
            ("object_type", text()),
            ("detail", described(text(), "Parameters that are no secrets.")),
            ("object_alias", text()),
            ("flag", described(json!({ "enum": [1, 2, 3] }), "1 created, 2 deleted, 3 changed.")),
            ("task", super::reference("schemas", "TaskId")),
            ("object_name", text()),
            ("time", time()),
            ("msg", described(text(), "What was asked for.")),
        ],
        vec![],
    )
}

/// Messages by the name of the field that they are about; `non_field_errors` for those about none.
fn messages() -> Value {
    let list = json!({ "type": "array", "minItems": 1, "items": text() });
    json!({ "type": "object", "minProperties": 1, "additionalProperties": list })
}

fn relations() -> Value {
    let lists = json!({ "type": "object", "additionalProperties": texts() });
    object(vec![("detail", text()), ("relations", lists)], vec![])
}
