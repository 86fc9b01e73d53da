//! Who may use whom: reads every path in src/ that leads to another module or to a guarded crate and holds the table
//! below (the README has the same one). Anything not listed is forbidden.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Module, and the modules that it may use.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("name", &[]),
    ("lookup", &[]),
    ("authorized_keys", &["lookup", "name"]),
    ("sshkey", &["name"]),
    ("config", &[]),
    ("telemetry", &["config"]),
    ("audit", &["accounts", "config", "name"]),
    ("accounts", &["name", "sshkey"]),
    ("directory", &["accounts", "config", "name", "sshkey"]),
    ("api", &["accounts", "audit", "config", "directory", "lookup", "name", "sshkey", "telemetry"]),
    ("cli", &["name"]),
    ("admin", ANY),
    ("daemon", ANY),
];

/// `admin` and `daemon` put the others together; nobody uses them.
const ANY: &[&str] = &[
    "accounts",
    "admin",
    "api",
    "audit",
    "authorized_keys",
    "config",
    "directory",
    "lookup",
    "name",
    "sshkey",
    "telemetry",
];

/// Crates that only the given modules may name; `std` alone is what is left for the modules in `STD_ONLY`.
const GUARDED: [(&str, &[&str]); 3] =
    [("ldap3", &["directory"]), ("hyper", &["api", "cli", "daemon"]), ("hyper_util", &["api", "cli", "daemon"])];

const STD_ONLY: [&str; 3] = ["name", "lookup", "authorized_keys"];

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in sources() {
        let module = module_of(&file);
        let Some(top) = module.first().filter(|top| *top != "lib" && *top != "bin").cloned() else { continue };
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == top) else {
            wrong.push(format!("{}: module {top} is not in the table", file.display()));
            continue;
        };
        let code = without_comments_and_strings(&fs::read_to_string(&file).unwrap());
        for path in paths(&code, &module) {
            let target = path[0].as_str();
            if MAY_USE.iter().any(|(name, _)| *name == target) && target != top && !allowed.contains(&target) {
                wrong.push(format!("{}: {top} must not use {}", file.display(), path.join("::")));
            }
            // What lies below `directory` is its own: others use what its mod.rs shows.
            let deep = path.get(1).is_some_and(|next| next.starts_with(char::is_lowercase)) && path.len() > 2;
            if target == "directory" && deep && top == "api" {
                wrong.push(format!("{}: not the directory's public face: {}", file.display(), path.join("::")));
            }
            seen.insert((top.clone(), target.to_owned()));
        }
        for (name, users) in GUARDED {
            if !users.contains(&top.as_str()) && names_crate(&code, name) {
                wrong.push(format!("{}: {top} must not use {name}", file.display()));
            }
        }
    }
    assert!(seen.contains(&("directory".into(), "accounts".into())), "the reader finds no paths: {seen:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_helper_uses_the_standard_library_and_nothing_else() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-e", "normal", "--no-default-features", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let packages = String::from_utf8(tree.stdout).unwrap();
    let packages: Vec<&str> = packages.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(packages.len(), 1, "{packages:?}");

    let locked = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let crates =
        locked.lines().filter_map(|line| line.strip_prefix("name = \"")).map(|name| name.trim_end_matches('"'));
    let crates: Vec<String> = crates.filter(|name| *name != "usher").map(|name| name.replace('-', "_")).collect();
    for file in sources() {
        if module_of(&file).first().is_some_and(|top| STD_ONLY.contains(&top.as_str())) {
            let code = without_comments_and_strings(&fs::read_to_string(&file).unwrap());
            for name in crates.iter().filter(|name| names_crate(&code, name)) {
                // The file's own modules and variables may have a crate's name.
                assert!(!code.contains(&format!("use {name}")), "{} uses {name}", file.display());
            }
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<PathBuf> {
    fn walk(directory: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                out.push(path);
            }
        }
    }
    let mut out = Vec::new();
    walk(&root().join("src"), &mut out);
    out.sort();
    assert!(!out.is_empty());
    out
}

/// `src/api/routes/user.rs` is `api::routes::user`, `src/api/mod.rs` is `api`.
fn module_of(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(root().join("src")).unwrap().with_extension("");
    let mut parts: Vec<String> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// Whether `code` has a path that starts with the crate `name`.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        let starts =
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') || code[..at].ends_with(" ::");
        starts && after.trim_start().starts_with("::")
    })
}

/// Every path from the crate's root in `code`, written `crate::…` or as `super::…` that climbs out of `module`.
fn paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            expand(&code[at + "crate::".len()..], &mut Vec::new(), &mut out);
        }
    }
    for (at, _) in code.match_indices("super::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let mut rest = &code[at..];
        let mut climbed = 0;
        while let Some(further) = rest.strip_prefix("super::") {
            climbed += 1;
            rest = further;
        }
        // One step more than the file is deep leads out of an inline module; then the first name says where to.
        if climbed >= module.len() {
            expand(rest, &mut Vec::new(), &mut out);
        }
    }
    out.retain(|path| !path.is_empty());
    out
}

/// Reads the use tree at the start of `text` into `out`; gives what follows it.
fn expand<'a>(text: &'a str, prefix: &mut Vec<String>, out: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            if rest.is_empty() {
                return rest;
            }
            rest = expand(rest, prefix, out);
            rest = rest.trim_start();
            if !rest.starts_with([',', '}']) {
                // `as name`
                rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
            }
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*')).unwrap_or(text.len());
    if end == 0 {
        out.push(prefix.clone());
        return text;
    }
    prefix.push(text[..end].to_owned());
    let rest = &text[end..];
    let rest = match rest.strip_prefix("::") {
        Some(rest) => expand(rest, prefix, out),
        None => {
            out.push(prefix.clone());
            rest
        }
    };
    prefix.pop();
    rest
}

/// `code` without comments, and with every string and character literal emptied.
fn without_comments_and_strings(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let raw = rest.strip_prefix('r').map(|after| after.len() - after.trim_start_matches('#').len());
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw.filter(|hashes| rest[1 + hashes..].starts_with('"')) {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = 2 + hashes;
            rest[start..].find(&close).map_or(rest.len(), |end| start + end + close.len())
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && (rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'')) {
            quoted(rest, '\'')
        } else {
            0
        };
        if skip == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.push_str(if c == '/' { " " } else { "\"\"" });
            rest = &rest[skip..];
        }
    }
    out
}

/// The length of the literal at the start of `text`, which ends at an unescaped `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn the_reader_sees_groups_nesting_and_climbing_and_skips_text() {
    let module = ["api".to_owned(), "user".to_owned()];
    let code = without_comments_and_strings(
        "use crate::{name::UserName, directory::{self, Face as F}, cli};\n// crate::daemon\nlet a = \"crate::admin\";\n\
         let b = '\"'; let c = r#\"crate::audit\"#; super::super::lookup::ask(); super::helper(); x::<'_>(crate::config::A);",
    );
    let found: BTreeSet<String> = paths(&code, &module).iter().map(|path| path.join("::")).collect();
    let expected = ["name::UserName", "directory::self", "directory::Face", "cli", "lookup::ask", "config::A"];
    assert_eq!(found, expected.map(str::to_owned).into());
    assert!(names_crate("use hyper::body;", "hyper") && names_crate("a(ldap3::Scope::Base)", "ldap3"));
    assert!(!names_crate("use hyper_util::rt;", "hyper") && !names_crate("self::hyper::x", "hyper"));
}
