//! The managed slapd, the schema, the replica and writes, against a real `usherd dev`.

#[cfg(test)]
mod schema;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
