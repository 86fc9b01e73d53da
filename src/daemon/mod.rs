//! usherd's main: which subcommand, and the start order of the daemon.
//!
//! `serve` puts the daemon together and runs it to its end; `dev` gives it a directory of its own first, with `admin_env`.
//! `socket`, `tls`, `files` and `notify` are small surroundings. The other subcommands are `admin`'s.

mod admin_env;
mod dev;
mod files;
mod notify;
mod serve;
mod socket;
mod tls;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Profile};
use crate::directory::managed::{BECOME_SLAPD, become_slapd};
use crate::telemetry;
use crate::{admin, api};

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
    /// Run a private directory server, made on the first start, and the daemon on it.
    Dev(dev::DevArgs),
    /// Load the configuration, say what is wrong with it, and end.
    CheckConfig(ConfigArgs),
    /// Print the LDAP schema.
    Schema {
        #[command(flatten)]
        args: admin::schema::SchemaArgs,
    },
    /// Print the OpenAPI document of the API, as it is with the default configuration.
    Openapi,
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
        Config::load(&self.config, environment(), &self.sets)
    }
}

/// The environment. A variable that is not UTF-8 can't be one of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)))
}

/// The exit code of a command line or a configuration that is wrong (sysexits' EX_CONFIG).
const BAD_CONFIG: u8 = 78;

/// usherd.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let [_, first, rest @ ..] = args.as_slice()
        && first == BECOME_SLAPD
    {
        return become_slapd(rest);
    }
    let cli = match Cli::try_parse_from(args) {
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
                Ok(config) => end(run(serve::run(config))),
                Err(error) => bad_config(&error),
            }
        }
        Command::Dev(args) => {
            telemetry::start();
            end(run(dev::run(args)))
        }
        Command::CheckConfig(args) => match args.load().and_then(|config| serve::Parts::check(&config)) {
            Ok(()) => admin::say(&format!("{}: fine", args.config.display())),
            Err(error) => bad_config(&error),
        },
        Command::Schema { args } => admin::schema::run(&args),
        Command::Openapi => admin::say(api::openapi::text(&Profile::default()).trim_end()),
        Command::Version => admin::say(concat!("usherd ", env!("CARGO_PKG_VERSION"))),
    }
}

/// Runs the daemon to its end on a runtime of its own.
fn run(daemon: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string())?;
    let result = runtime.block_on(daemon);
    // Tasks that wait for a directory that does not answer are not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
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
