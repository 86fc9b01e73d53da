//! The managed slapd, the schema, the replica and writes, against a real `usherd dev`.

#[cfg(test)]
mod access;
#[cfg(test)]
mod both_ways;
#[cfg(test)]
mod existing;
#[cfg(test)]
mod managed;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod serve;
#[cfg(test)]
mod steady_state;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
