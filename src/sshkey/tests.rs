//! Keys against the real `ssh-keygen`: what is accepted here, it accepts, and it sees the same key.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;

/// A directory of its own for each test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("usher-sshkey-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn generate(scratch: &Scratch, arguments: &[&str], comment: &str) -> String {
    let file = scratch.0.join("key");
    let _ = std::fs::remove_file(&file);
    let status = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", comment])
        .args(arguments)
        .arg("-f")
        .arg(&file)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{arguments:?}");
    std::fs::read_to_string(file.with_extension("pub")).unwrap().trim_end().to_owned()
}

/// `BITS FINGERPRINT` as ssh-keygen shows it; none where it refuses the line.
fn ssh_keygen(directory: &Path, line: &str, hash: &str) -> Option<String> {
    let file = directory.join("line.pub");
    std::fs::write(&file, format!("{line}\n")).unwrap();
    let output = Command::new("ssh-keygen").args(["-l", "-E", hash, "-f"]).arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.split(' ').take(2).collect::<Vec<_>>().join(" "))
}

fn wire(fields: &[&[u8]]) -> Vec<u8> {
    fields.iter().flat_map(|field| [&u32::try_from(field.len()).unwrap().to_be_bytes(), *field].concat()).collect()
}

fn text(key_type: KeyType, blob: &[u8]) -> String {
    format!("{} {}", key_type.name(), base64::encode(blob))
}

/// A key of every type; those that ssh-keygen does not make without a token are put together.
fn every_type(scratch: &Scratch) -> Vec<String> {
    let mut keys: Vec<String> = [
        vec!["-t", "ed25519"],
        vec!["-t", "ecdsa", "-b", "256"],
        vec!["-t", "ecdsa", "-b", "384"],
        vec!["-t", "ecdsa", "-b", "521"],
        vec!["-t", "rsa", "-b", "1024"],
        vec!["-t", "rsa", "-b", "3072"],
        vec!["-t", "dsa"],
    ]
    .iter()
    .map(|arguments| generate(scratch, arguments, "two words, zwölf Wörter"))
    .collect();
    let p256 = PublicKey::parse(&keys[1]).unwrap();
    let point = base64::decode(p256.line().split(' ').nth(1).unwrap()).unwrap()[39..].to_vec();
    let name = |key_type: KeyType| key_type.name().as_bytes();
    keys.push(text(KeyType::SkEcdsaP256, &wire(&[name(KeyType::SkEcdsaP256), b"nistp256", &point, b"ssh:"])));
    keys.push(text(KeyType::SkEd25519, &wire(&[name(KeyType::SkEd25519), &[7; 32], b"ssh:pam"])));
    keys
}

#[test]
fn every_type_is_read_as_ssh_keygen_reads_it_and_written_as_it_was() {
    let scratch = Scratch::new("types");
    let mut seen = Vec::new();
    for line in every_type(&scratch) {
        let key = PublicKey::parse(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        seen.push(key.key_type());
        assert_eq!(key.line(), line);
        let sha256 = format!("{} {}", key.bits(), key.fingerprint_sha256());
        assert_eq!(ssh_keygen(&scratch.0, &line, "sha256"), Some(sha256));
        let md5 = format!("{} MD5:{}", key.bits(), key.fingerprint_md5());
        assert_eq!(ssh_keygen(&scratch.0, &line, "md5"), Some(md5));
    }
    for key_type in KeyType::ALL {
        assert!(seen.contains(&key_type), "{key_type}");
    }
}
