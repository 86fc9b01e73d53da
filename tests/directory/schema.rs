//! The files in schema/: both forms say the same, slapd and schema2ldif take them, the README lists every OID.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::support::TempDir;

const NAMES: [&str; 3] = ["rfc2307bis", "openssh-lpk", "usher"];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap()
}

fn words(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// The definitions of the slapd.conf form: a keyword at the start of a line, continued on indented lines.
fn of_schema(text: &str) -> Vec<String> {
    let mut definitions: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match definitions.last_mut() {
            Some(last) if line.starts_with(' ') => last.push_str(line),
            _ => definitions.push(line.to_owned()),
        }
    }
    definitions.iter().map(|definition| words(definition)).collect()
}

/// The definitions of the cn=config form, with the other form's keywords.
fn of_ldif(text: &str) -> Vec<String> {
    let unfolded = text.replace("\n ", "");
    let definition = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        let keyword = match name {
            "olcAttributeTypes" => "attributetype",
            "olcObjectClasses" => "objectclass",
            _ => return None,
        };
        Some(words(&format!("{keyword} {value}")))
    };
    unfolded.lines().filter_map(definition).collect()
}

/// Runs `slaptest` on a configuration with these files, and gives what it says.
fn slaptest(files: &[PathBuf]) -> (bool, String) {
    let temp = TempDir::new();
    let conf = temp.path().join("slapd.conf");
    let includes: String = files.iter().map(|file| format!("include \"{}\"\n", file.display())).collect();
    fs::write(&conf, includes).unwrap();
    let output = Command::new("slaptest")
        .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
        .arg("-u")
        .arg("-f")
        .arg(&conf)
        .output()
        .expect("slaptest (package slapd)");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn both_forms_of_each_schema_hold_the_same_definitions() {
    for name in NAMES {
        let (schema, ldif) = (of_schema(&read(&format!("{name}.schema"))), of_ldif(&read(&format!("{name}.ldif"))));
        assert!(schema.len() >= 2 && schema.iter().all(|d| d.ends_with(')')), "{name}: {schema:?}");
        assert_eq!(schema, ldif, "{name}");
    }
}

#[test]
fn slapd_takes_the_schema_after_the_standard_ones() {
    let standard = ["core", "cosine", "inetorgperson"].map(|name| format!("/etc/ldap/schema/{name}.schema").into());
    let ours = NAMES.map(|name| file(&format!("{name}.schema")));
    let (taken, said) = slaptest(&[standard.as_slice(), ours.as_slice()].concat());
    assert!(taken, "{said}");
}

#[test]
fn rfc2307bis_and_nis_exclude_each_other_as_the_readme_says() {
    let standard = ["core", "cosine", "nis"].map(|name| format!("/etc/ldap/schema/{name}.schema").into());
    let (taken, said) = slaptest(&[standard.as_slice(), &[file("rfc2307bis.schema")]].concat());
    assert!(!taken && said.contains("Duplicate"), "{said}");
}

/// cn=config takes the LDIF form on top of a configuration that has only the standard schema.
#[test]
fn cn_config_takes_the_ldif_form() {
    let temp = TempDir::new();
    let (conf, config) = (temp.path().join("slapd.conf"), temp.path().join("slapd.d"));
    let includes: String = ["core", "cosine", "inetorgperson"]
        .iter()
        .map(|name| format!("include /etc/ldap/schema/{name}.schema\n"))
        .collect();
    fs::write(&conf, includes).unwrap();
    fs::create_dir(&config).unwrap();
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let run = |tool: &str, args: &[&Path]| {
        let output = Command::new(tool).env("PATH", &path).args(args).output().expect(tool);
        assert!(output.status.success(), "{tool} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("slaptest", &[Path::new("-f"), &conf, Path::new("-F"), &config]);
    for name in NAMES {
        let ldif = file(&format!("{name}.ldif"));
        run("slapadd", &[Path::new("-F"), &config, Path::new("-n0"), Path::new("-l"), &ldif]);
    }
}

#[test]
fn schema2ldif_takes_the_schema() {
    for name in NAMES {
        let output = Command::new("schema2ldif")
            .arg(file(&format!("{name}.schema")))
            .stdin(Stdio::null())
            .output()
            .expect("schema2ldif (package schema2ldif)");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let made = of_ldif(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(made.len(), of_schema(&read(&format!("{name}.schema"))).len(), "{name}");
    }
}

#[test]
fn the_readme_lists_every_oid_with_its_name() {
    let readme = read("README.md");
    let arc = "2.25.119104626834933733037287642780634805980.";
    assert!(readme.contains(arc.trim_end_matches('.')));
    for name in NAMES {
        for definition in of_schema(&read(&format!("{name}.schema"))) {
            let words: Vec<&str> = definition.split(' ').collect();
            let (oid, name) = (words[2].strip_prefix(arc).unwrap_or(words[2]), words[4].trim_matches('\''));
            let row = format!("| {oid} | `{name}` |");
            assert!(readme.contains(&row), "schema/README.md has no row {row:?}");
        }
    }
}
