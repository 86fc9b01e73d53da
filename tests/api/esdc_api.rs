//! The Python client that the original's users have (PyPI `esdc-api`, unmodified) against the daemon.

use std::path::Path;
use std::process::Command;

use crate::support::Usherd;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl bob@laptop";

/// The Python that has the client: `contrib/test` installs it and says where.
fn python() -> Option<String> {
    let python = std::env::var("USHER_TEST_PYTHON")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-venv/bin/python").to_owned());
    if Path::new(&python).exists() {
        return Some(python);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{python} is missing: run contrib/test");
    None
}

#[test]
fn the_pypi_client_works_unmodified() {
    let Some(python) = python() else {
        eprintln!("SKIPPED: the PyPI client esdc-api is not installed; contrib/test installs it");
        return;
    };
    let usherd = Usherd::start();
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/drive_esdc_api.py"))
        .env("ES_API_URL", usherd.url())
        .env("ES_API_KEY", &usherd.admin.api_key)
        .env("USHER_USERNAME", &usherd.admin.username)
        .env("USHER_PASSWORD", &usherd.admin.password)
        .env("USHER_KEY", KEY)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}\nusherd's stderr:\n{}", usherd.stderr());
}
