//! A bare LDAP client: one connection, the directory manager's identity, one operation at a time.

use std::collections::HashSet;

use ldap3::{Ldap, LdapConnAsync, Mod};
use tokio::runtime::Runtime;

use crate::support::Usherd;

pub(crate) struct Bare {
    runtime: Runtime,
    ldap: Ldap,
}

impl Bare {
    pub(crate) fn connect(usherd: &Usherd) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let password = std::fs::read_to_string(&usherd.admin.bind_password_file).unwrap();
        let ldap = runtime.block_on(async {
            let (connection, mut ldap) = LdapConnAsync::new(&usherd.admin.ldap_url).await.unwrap();
            tokio::spawn(async move { connection.drive().await });
            ldap.simple_bind(&usherd.admin.bind_dn, password.trim_end()).await.unwrap().success().unwrap();
            ldap
        });
        Self { runtime, ldap }
    }

    pub(crate) fn modify(&mut self, dn: &str, change: Mod<&str>) {
        self.runtime.block_on(self.ldap.modify(dn, vec![change])).unwrap().success().unwrap();
    }
}

pub(crate) fn one(value: &str) -> HashSet<&str> {
    HashSet::from([value])
}
