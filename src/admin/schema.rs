//! `usherd schema`: the LDAP schema in the form that a server loads.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

/// What is to be printed.
#[derive(Args)]
pub(crate) struct SchemaArgs {
    /// The form: for slapd.conf, or LDIF for cn=config.
    #[arg(long, value_enum, default_value_t = Format::Ldif)]
    format: Format,
    /// Which schema.
    #[arg(long, value_enum, default_value_t = Name::Usher)]
    name: Name,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Schema,
    Ldif,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// usher's own.
    Usher,
    /// `sshPublicKey`; needed unless the server has it.
    OpensshLpk,
    /// POSIX accounts; needed unless the server has it or nis.
    Rfc2307bis,
}

/// Prints the schema.
pub(crate) fn run(args: &SchemaArgs) -> ExitCode {
    super::say(
        match (args.name, args.format) {
            (Name::Usher, Format::Schema) => include_str!("../../schema/usher.schema"),
            (Name::Usher, Format::Ldif) => include_str!("../../schema/usher.ldif"),
            (Name::OpensshLpk, Format::Schema) => include_str!("../../schema/openssh-lpk.schema"),
            (Name::OpensshLpk, Format::Ldif) => include_str!("../../schema/openssh-lpk.ldif"),
            (Name::Rfc2307bis, Format::Schema) => include_str!("../../schema/rfc2307bis.schema"),
            (Name::Rfc2307bis, Format::Ldif) => include_str!("../../schema/rfc2307bis.ldif"),
        }
        .trim_end(),
    )
}
