//! One run of the helper, the whole process, beside an empty static program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Sample;
use crate::support::{TempDir, Usherd};

const RUNS: usize = 1000;

pub(crate) fn run() {
    let usherd = Usherd::start();
    crate::create_user(&usherd.api(), "bench", crate::KEY);
    let temp = TempDir::new();
    let empty = empty_program(temp.path());
    // contrib/bench names the statically linked helper, which is the one to install
    let helper = std::env::var_os("USHER_BENCH_HELPER").map(PathBuf::from);
    let helper = helper.unwrap_or_else(|| env!("CARGO_BIN_EXE_usher-authorized-keys").into());
    let socket = usherd.admin.keys_socket.to_str().unwrap();
    let (mut known, mut unknown, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        nothing.push(time(&empty, &[], 0));
        known.push(time(&helper, &["--socket", socket, "bench"], crate::KEY.len() + 1));
        unknown.push(time(&helper, &["--socket", socket, "nobody-asked-for"], 0));
    }
    let (known, unknown, nothing) = (Sample::new(known), Sample::new(unknown), Sample::new(nothing));
    let ratio = |sample: &Sample, q| (sample.percentile_ms(q) / nothing.percentile_ms(q) * 1e3).round() / 1e3;
    crate::report(
        "helper_run",
        json!({"known_user": known.median_and_p99(), "unknown_user": unknown.median_and_p99(),
               "empty_program": nothing.median_and_p99(), "ratio_median": ratio(&known, 50),
               "ratio_p99": ratio(&known, 99), "ratio_median_unknown": ratio(&unknown, 50)}),
    );
}

fn time(program: &Path, args: &[&str], expected: usize) -> Duration {
    let start = Instant::now();
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    let taken = start.elapsed();
    assert!(output.status.success() && output.stdout.len() == expected, "{output:?}");
    taken
}

/// The reference: a Rust program that does nothing, linked statically.
fn empty_program(dir: &Path) -> PathBuf {
    let (source, binary) = (dir.join("empty.rs"), dir.join("empty"));
    std::fs::write(&source, "fn main() {}\n").unwrap();
    let status = Command::new("rustc")
        .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"])
        .args([&binary, &source])
        .status()
        .unwrap();
    assert!(status.success());
    binary
}
