//! The entries of a new managed directory: base entries, policy, decoy, and the state that contract section 0 gives.
//!
//! The entry `cn=usher,ou=policies` comes last and says that everything else was made: a start that finds it makes
//! nothing again, so what somebody deleted stays deleted. A start after a crash completes what is missing.

use std::sync::Arc;

use tracing::info;

use crate::accounts::StoreError;
use crate::accounts::password::Cost;
use crate::accounts::secrets::{KeyKind, KeyRing, Secret, hex, new_key, new_token};
use crate::accounts::{FIRST_ADMIN, SYSTEM_USER};
use crate::config;
use crate::name::{DcName, GroupName, NameError, UserName};

use super::super::code::OpError;
use super::super::connection::{Attribute, Change, Client};
use super::super::dn::Tree;
use super::super::schema;
use super::conf;

/// The numbers that the original gave last: the next new user gets 8, the next datacenter 3.
const LAST_USER: &str = "7";
const LAST_DATACENTER: &str = "2";
const SYSTEM_NUMBER: &str = "7";
/// The first administrator's name and address.
pub(crate) const ADMIN: &str = "admin";
const ADMIN_EMAIL: &str = "admin@example.com";

/// What `admin` of a new directory gets.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) password: Secret,
    pub(crate) api_key: Secret,
}

/// A DN and its attributes.
type Entry = (String, Vec<Attribute>);

/// Makes and completes a managed directory's entries.
pub(crate) struct Bootstrap {
    client: Client,
    tree: Tree,
    ring: Arc<KeyRing>,
    cost: Cost,
}

impl Bootstrap {
    /// # Errors
    /// The base DN is none.
    pub(crate) fn new(config: &config::Directory, ring: Arc<KeyRing>, cost: Cost) -> Result<Self, String> {
        Ok(Self { client: Client::new(config), tree: Tree::new(&config.base_dn)?, ring, cost })
    }

    /// Whether an earlier start made all entries.
    pub(crate) async fn is_complete(&self) -> Result<bool, String> {
        let dn = self.tree.state();
        Ok(self.client.read(&dn, &[schema::KEY_ID]).await.map_err(|e| text(&dn, e))?.is_some())
    }

    /// Adds what is missing; `cn=usher` last.
    pub(crate) async fn run(&self, admin: &Credentials) -> Result<(), String> {
        let mut entries = self.base()?;
        entries.push(self.decoy().await?);
        entries.extend(self.accounts(admin).await?);
        for (dn, attributes) in &entries {
            match self.client.add(dn, attributes).await {
                Ok(_) | Err(OpError::Store(StoreError::Exists)) => {}
                Err(error) => return Err(text(dn, error)),
            }
        }
        info!(base = self.tree.base(), "the directory has its base entries");
        Ok(())
    }

    /// Gives `admin` a new password and API key.
    pub(crate) async fn reset_admin(&self, admin: &Credentials) -> Result<(), String> {
        let dn = self.user_dn(ADMIN)?;
        let hash = hashed(self.cost, admin.password.clone()).await?;
        let [(_, key), (_, key_hash)] = self.api_key(&admin.api_key);
        let changes = [
            Change::set(schema::PASSWORD, Some(&hash)),
            Change::Replace(schema::API_KEY, key),
            Change::Replace(schema::API_KEY_HASH, key_hash),
        ];
        self.client.modify(&dn, &changes, None).await.map(|_| ()).map_err(|e| text(&dn, e))
    }

    /// Keeps the decoy's hash as costly as configured, so that time does not tell who exists.
    pub(crate) async fn renew_decoy(&self) -> Result<(), String> {
        let dn = self.tree.decoy();
        let stored = self.client.read(&dn, &[schema::PASSWORD]).await.map_err(|e| text(&dn, e))?;
        let Some(stored) = stored else {
            let (dn, attributes) = self.decoy().await?;
            return self.client.add(&dn, &attributes).await.map(|_| ()).map_err(|e| text(&dn, e));
        };
        let current = stored.text("userpassword").is_some_and(|value| !self.cost.exceeds(value.as_bytes()));
        if current {
            return Ok(());
        }
        let hash = hashed(self.cost, new_token()).await?;
        let changes = [Change::set(schema::PASSWORD, Some(&hash))];
        self.client.modify(&dn, &changes, None).await.map(|_| ()).map_err(|e| text(&dn, e))
    }

    fn base(&self) -> Result<Vec<Entry>, String> {
        let base = self.tree.base();
        let (kind, value) = conf::first_rdn(base).ok_or("the base DN begins with neither dc nor o nor ou")?;
        let top = match kind {
            "dc" => vec![many("objectClass", &["organization", "dcObject"]), one("dc", value), one("o", value)],
            "o" => vec![one("objectClass", "organization"), one("o", value)],
            _ => vec![one("objectClass", "organizationalUnit"), one("ou", value)],
        };
        let unit = |name: &'static str| {
            (format!("ou={name},{base}"), vec![one("objectClass", "organizationalUnit"), one("ou", name)])
        };
        let policies = |name: &str| format!("cn={name},ou=policies,{base}");
        Ok(vec![
            (base.to_owned(), top),
            unit("policies"),
            (
                policies("default"),
                vec![
                    many("objectClass", &["applicationProcess", "pwdPolicy"]),
                    one("cn", "default"),
                    one(
                        "description",
                        "The password policy: an administrator's lock holds, wrong passwords lock nobody",
                    ),
                    one("pwdAttribute", "userPassword"),
                    one("pwdLockout", "TRUE"),
                    one("pwdMaxFailure", "0"),
                ],
            ),
            (
                policies("usherd"),
                vec![
                    one("objectClass", "applicationProcess"),
                    one("cn", "usherd"),
                    one("description", "The identity of usherd; it has no password"),
                ],
            ),
            (
                policies("readers"),
                vec![
                    one("objectClass", "groupOfMembers"),
                    one("cn", "readers"),
                    one("description", "Its members read people and groups, without secrets"),
                ],
            ),
            unit("people"),
            unit("groups"),
            unit("datacenters"),
            unit("sessions"),
        ])
    }

    /// The entry that unknown users' passwords are tried against; nobody knows its own.
    async fn decoy(&self) -> Result<Entry, String> {
        let hash = hashed(self.cost, new_token()).await?;
        let attributes = vec![
            many("objectClass", &["applicationProcess", "simpleSecurityObject"]),
            one("cn", "decoy"),
            one("description", "Unknown users' passwords are tried against this, so that they take as long as others"),
            one(schema::PASSWORD, &hash),
        ];
        Ok((self.tree.decoy(), attributes))
    }

    async fn accounts(&self, admin: &Credentials) -> Result<Vec<Entry>, String> {
        let name = |e: NameError| format!("{e:?}");
        let admin_dn = self.user_dn(ADMIN)?;
        let system_dn = self.user_dn(SYSTEM_USER)?;
        let group_dn = self.tree.group(&GroupName::parse("admins").map_err(name)?);
        let datacenter = |text: &str| DcName::parse(text).map(|dc| self.tree.datacenter(&dc)).map_err(name);
        let hash = hashed(self.cost, admin.password.clone()).await?;
        let callback = self.ring.seal(KeyKind::Callback, &new_key());
        let [api_key, api_key_hash] = self.api_key(&admin.api_key);
        let classes = ["inetOrgPerson", "ldapPublicKey", "usherAccount"];
        Ok(vec![
            (
                admin_dn.clone(),
                vec![
                    many("objectClass", &classes),
                    one("uid", ADMIN),
                    one("cn", "Danube Cloud"),
                    one("givenName", "Danube"),
                    one("sn", "Cloud"),
                    one("mail", ADMIN_EMAIL),
                    one("o", "Danube Cloud"),
                    one(schema::PASSWORD, &hash),
                    one(schema::NUMBER, &FIRST_ADMIN.to_string()),
                    one(schema::ACTIVE, "TRUE"),
                    one(schema::API_ACCESS, "TRUE"),
                    one(schema::SUPER_ADMIN, "TRUE"),
                    many(schema::IDENTITY, &[ADMIN, ADMIN_EMAIL]),
                    api_key,
                    api_key_hash,
                    one(schema::CALLBACK_KEY, callback.as_stored()),
                    one("usherTosAcceptation", "TRUE"),
                    one("usherNewsletterTech", "FALSE"),
                    one("usherNewsletterBuss", "FALSE"),
                    one("usherUserType", "2"),
                    one("usherEmailVerified", "TRUE"),
                    one("usherPhoneVerified", "TRUE"),
                ],
            ),
            (
                system_dn,
                vec![
                    many("objectClass", &classes),
                    one("uid", SYSTEM_USER),
                    one("cn", SYSTEM_USER),
                    one("sn", SYSTEM_USER),
                    one("description", "Keeps the name and the number; nobody logs in as this"),
                    one(schema::NUMBER, SYSTEM_NUMBER),
                    one(schema::ACTIVE, "FALSE"),
                    one(schema::IDENTITY, SYSTEM_USER),
                ],
            ),
            (
                group_dn,
                vec![
                    one("objectClass", "usherGroup"),
                    one("cn", "admins"),
                    one(schema::ALIAS, "Admins"),
                    one(schema::PERMISSION, "admin"),
                ],
            ),
            (
                datacenter("main")?,
                vec![
                    one("objectClass", "usherDatacenter"),
                    one("cn", "main"),
                    one(schema::NUMBER, "1"),
                    one(schema::ALIAS, "main*"),
                    one(schema::SITE, "main"),
                    one(schema::OWNER, &admin_dn),
                    one(schema::ACCESS, "1"),
                    one("description", "Default datacenter"),
                ],
            ),
            (
                datacenter("admin")?,
                vec![
                    one("objectClass", "usherDatacenter"),
                    one("cn", "admin"),
                    one(schema::NUMBER, "2"),
                    one(schema::ALIAS, "admin"),
                    one(schema::SITE, "mgmt01.local"),
                    one(schema::OWNER, &admin_dn),
                    one(schema::ACCESS, "3"),
                    one("description", "Admin datacenter"),
                ],
            ),
            (
                self.tree.state(),
                vec![
                    one("objectClass", "usherState"),
                    one("cn", "usher"),
                    one("description", "What the daemons of this directory share"),
                    one(schema::KEY_ID, self.ring.identifier()),
                    one(schema::NEXT_USER, LAST_USER),
                    one(schema::NEXT_DATACENTER, LAST_DATACENTER),
                ],
            ),
        ])
    }

    fn user_dn(&self, name: &str) -> Result<String, String> {
        UserName::parse(name).map(|name| self.tree.user(&name)).map_err(|e| format!("{name}: {e:?}"))
    }

    fn api_key(&self, key: &Secret) -> [Attribute; 2] {
        let sealed = self.ring.seal(KeyKind::Api, key);
        let hash = hex(&self.ring.lookup_hash(key.reveal()));
        [one(schema::API_KEY, sealed.as_stored()), one(schema::API_KEY_HASH, &hash)]
    }
}

/// The hash of a password. It takes its time, so not on an async thread.
async fn hashed(cost: Cost, password: Secret) -> Result<String, String> {
    tokio::task::spawn_blocking(move || cost.hash(&password)).await.map_err(|e| e.to_string())?
}

fn one(name: &'static str, value: &str) -> Attribute {
    (name, vec![value.as_bytes().to_vec()])
}

fn many(name: &'static str, values: &[&str]) -> Attribute {
    (name, values.iter().map(|value| value.as_bytes().to_vec()).collect())
}

fn text(dn: &str, error: OpError) -> String {
    format!("{dn}: {}", StoreError::from(error))
}
