//! usherd's main: which subcommand, and the start order of the daemon.
//!
//! `serve` puts the daemon together and runs it to its end; `socket` and `notify` are its small surroundings. The other
//! subcommands are `admin`'s.

mod notify;
mod serve;
mod socket;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::admin;
use crate::config::Config;
use crate::telemetry;

/// An identity and SSH key directory: the Danube Cloud accounts API and sshd's keys over LDAP.
#[derive(Parser)]
#[command(name = "usherd", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon on a directory that exists.
    Serve(ConfigArgs),
    /// Load the configuration, say what is wrong with it, and end.
    CheckConfig(ConfigArgs),
    /// Print the LDAP schema.
    Schema {
        #[command(flatten)]
        args: admin::schema::SchemaArgs,
    },
    /// Print the version.
    Version,
}

/// Where the configuration comes from.
#[derive(Args)]
struct ConfigArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/usher/usherd.toml")]
    config: PathBuf,
    /// Override one key; may be given more than once.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    sets: Vec<String>,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, String> {
        // A variable that is not UTF-8 can't be one of ours.
        let environment = std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
        Config::load(&self.config, environment, &self.sets)
    }
}

/// The exit code of a command line or a configuration that is wrong (sysexits' EX_CONFIG).
const BAD_CONFIG: u8 = 78;

/// usherd.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // help and version are among the errors, and go to stdout
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Serve(args) => {
            telemetry::start();
            match args.load() {
                Ok(config) => end(serve::run(config)),
                Err(error) => bad_config(&error),
            }
        }
        Command::CheckConfig(args) => match args.load().and_then(|config| serve::Parts::check(&config)) {
            Ok(()) => admin::say(&format!("{}: fine", args.config.display())),
            Err(error) => bad_config(&error),
        },
        Command::Schema { args } => admin::schema::run(&args),
        Command::Version => admin::say(concat!("usherd ", env!("CARGO_PKG_VERSION"))),
    }
}

fn end(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            admin::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn bad_config(error: &str) -> ExitCode {
    admin::complain(error);
    ExitCode::from(BAD_CONFIG)
}
