//! The HTTP API and its clients, against a real `usherd dev`.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod crossing;
#[cfg(test)]
mod datacenters;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod esdc_api;
#[cfg(test)]
mod late;
#[cfg(test)]
mod listeners;
#[cfg(test)]
mod long_names;
#[cfg(test)]
mod neighbours;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod stale;
#[cfg(test)]
mod streaming;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
#[cfg(test)]
mod unanswered;
#[cfg(test)]
mod undone;
#[cfg(test)]
mod world;
