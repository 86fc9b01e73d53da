//! Keys against the real `ssh-keygen`: what is accepted here, it accepts, and it sees the same key.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::key::ParseError;
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

/// A small generator (xorshift) of the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    /// `bytes` with one to three of them changed, removed, added or doubled.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.byte(),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => bytes.insert(at, self.byte()),
                4 => bytes.truncate(at),
                _ => bytes.extend_from_within(at..),
            }
        }
    }
}

/// What nothing here refuses but a policy that allows all that OpenSSH does.
fn accepted(line: &str) -> Option<PublicKey> {
    let policy = Policy { min_rsa_bits: 0, types: KeyType::ALL.to_vec() };
    PublicKey::parse(line).ok().filter(|key| policy.check(key).is_ok())
}

/// Asserts that ssh-keygen reads every one of `lines`.
fn assert_read(directory: &Path, lines: &[String]) {
    let file = directory.join("lines.pub");
    std::fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let output = Command::new("ssh-keygen").args(["-l", "-f"]).arg(&file).output().unwrap();
    let shown: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split(' ').nth(1).map(str::to_owned))
        .collect();
    let ours: Vec<String> = lines.iter().map(|line| accepted(line).unwrap().fingerprint_sha256()).collect();
    if shown != ours {
        let refused = lines.iter().find(|line| ssh_keygen(directory, line, "sha256").is_none());
        panic!("ssh-keygen shows {} of {}, refuses {refused:?}", shown.len(), ours.len());
    }
}

#[test]
fn whatever_is_accepted_of_near_misses_is_accepted_by_ssh_keygen() {
    let scratch = Scratch::new("mutants");
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut survivors = Vec::new();
    let mut refused = 0;
    for line in every_type(&scratch) {
        let (word, rest) = line.split_once(' ').unwrap();
        let blob = base64::decode(rest.split(' ').next().unwrap()).unwrap();
        for round in 0..4000 {
            let mutant = if round % 2 == 0 {
                let mut blob = blob.clone();
                numbers.mutate(&mut blob);
                format!("{word} {} c", base64::encode(&blob))
            } else {
                let mut text = line.clone().into_bytes();
                numbers.mutate(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            };
            if mutant == line {
                continue;
            }
            match accepted(&mutant) {
                Some(key) => {
                    assert_eq!(key.line(), mutant);
                    survivors.push(mutant);
                }
                None => refused += 1,
            }
        }
    }
    assert_read(&scratch.0, &survivors);
    assert!(survivors.len() > 1000 && refused > 10_000, "the mutants test little: {} {refused}", survivors.len());
}

fn mpint(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut out = bytes[zeros..].to_vec();
    if out.first().is_some_and(|byte| byte & 0x80 != 0) {
        out.insert(0, 0);
    }
    out
}

fn rsa(exponent: &[u8], modulus: &[u8]) -> String {
    text(KeyType::Rsa, &wire(&[b"ssh-rsa", exponent, modulus]))
}

#[test]
fn numbers_that_are_no_rsa_key_are_refused() {
    let mut modulus = vec![0xa5; 256];
    modulus[255] |= 1;
    let good = mpint(&modulus);
    assert!(PublicKey::parse(&rsa(&[1, 0, 1], &good)).is_ok());
    assert!(PublicKey::parse(&rsa(&[3], &good)).is_ok());
    let even: Vec<u8> = good[..256].iter().copied().chain([0xa4]).collect();
    let padded = [&[0], good.as_slice()].concat();
    let negative = &good[1..];
    for (exponent, modulus) in [
        (&[][..], good.as_slice()),
        (&[1], &good),
        (&[4], &good),
        (&[0, 1, 0, 1], &good),
        (&[0x81], &good),
        (&[1; 9], &good),
        (&[1, 0, 1], &even),
        (&[1, 0, 1], &padded),
        (&[1, 0, 1], negative),
        (&[1, 0, 1], &[]),
        (&[1, 0, 1], &[3]),
        (&[1, 0, 1], &mpint(&[0x81; 2049])),
    ] {
        assert_eq!(PublicKey::parse(&rsa(exponent, modulus)), Err(ParseError::Format), "{exponent:?} {modulus:?}");
    }
}

#[test]
fn the_longest_rsa_key_is_one_for_ssh_keygen_too() {
    let scratch = Scratch::new("long");
    let line = rsa(&[1, 0, 1], &mpint(&[0x81; 2048]));
    assert_eq!(PublicKey::parse(&line).unwrap().bits(), 16_384);
    assert_read(&scratch.0, &[line]);
}

#[test]
fn the_policy_says_what_is_wrong_with_a_key_and_allows_nothing_unnamed() {
    let policy = Policy { min_rsa_bits: 2048, types: vec![KeyType::Rsa] };
    let check = |line: &str| policy.check(&PublicKey::parse(line).unwrap()).map_err(|violation| violation.to_string());
    let of_bits = |bits: usize| {
        let mut modulus = vec![0; bits.div_ceil(8)];
        modulus[0] = 1 << ((bits - 1) % 8);
        *modulus.last_mut().unwrap() |= 1;
        rsa(&[1, 0, 1], &mpint(&modulus))
    };
    assert_eq!(check(&of_bits(2048)), Ok(()));
    assert_eq!(check(&of_bits(2047)), Err("RSA keys must have at least 2048 bits (it has 2047).".to_owned()));
    let ed25519 = text(KeyType::Ed25519, &wire(&[b"ssh-ed25519", &[1; 32]]));
    assert_eq!(check(&ed25519), Err("SSH key type ssh-ed25519 is not allowed.".to_owned()));
    // OpenSSH's own floor holds whatever is configured.
    let lax = Policy { min_rsa_bits: 0, types: vec![KeyType::Rsa] };
    assert!(lax.check(&PublicKey::parse(&of_bits(1023)).unwrap()).is_err());
    assert!(lax.check(&PublicKey::parse(&of_bits(1024)).unwrap()).is_ok());
}

#[test]
fn what_is_no_key_gets_the_messages_of_the_api() {
    let blob = wire(&[b"ssh-ed25519", &[1; 32]]);
    let good = text(KeyType::Ed25519, &blob);
    let (word, body) = good.split_once(' ').unwrap();
    let format = ParseError::Format;
    for (line, error) in [
        (String::new(), ParseError::UnknownType),
        ("foo".to_owned(), ParseError::UnknownType),
        ("ssh-rsa".to_owned(), ParseError::UnknownType),
        (format!("from=\"a\" {good}"), ParseError::UnknownType),
        (format!(" {good}"), ParseError::UnknownType),
        (format!("SSH-ED25519 {body}"), ParseError::UnknownType),
        (format!("ssh-ed25519-cert-v01@openssh.com {body}"), ParseError::UnknownType),
        (format!("{word}\t{body}"), ParseError::UnknownType),
        (format!("{good}\nx"), ParseError::Newlines),
        (format!("{good} a\rb"), ParseError::Newlines),
        (format!("{word} x\ny"), ParseError::Newlines),
        (format!("{word}\n{body}"), ParseError::UnknownType),
        (format!("ssh-none {body}\nx"), ParseError::UnknownType),
        (format!("{word}  {body}"), format),
        (format!("{good}\tcomment"), format),
        (format!("{good} com\0ment"), format),
        (format!("{good} com\u{85}ment"), format),
        (format!("{good} "), format),
        (format!("{word} !!!!"), format),
        (format!("{word} AAAA"), format),
        (format!("ssh-rsa {body}"), format),
        (format!("{word} {}", &body[..body.len() - 4]), format),
        (text(KeyType::Ed25519, &[blob.as_slice(), b"x"].concat()), format),
        (text(KeyType::Ed25519, &wire(&[b"ssh-ed25519", &[1; 31]])), format),
        (text(KeyType::Ed25519, &wire(&[b"ssh-ed25519", &[1; 32], b""])), format),
        (text(KeyType::SkEd25519, &wire(&[b"sk-ssh-ed25519@openssh.com", &[1; 32]])), format),
        (text(KeyType::SkEd25519, &wire(&[b"sk-ssh-ed25519@openssh.com", &[1; 32], b"a\0b"])), format),
        (format!("{good} {}", "c".repeat(65_536)), format),
    ] {
        assert_eq!(PublicKey::parse(&line), Err(error), "{line:?}");
    }
    for (comment, kept) in [("", ""), (" two  words", "two  words"), ("  x", " x"), (" zwölf 🔑", "zwölf 🔑")] {
        let line = format!("{good}{comment}");
        let key = PublicKey::parse(&line).unwrap();
        assert_eq!((key.comment(), key.line()), (kept, line));
    }
}

#[test]
fn the_line_for_sshd_has_the_options_and_the_earlier_end() {
    let plain = text(KeyType::Ed25519, &wire(&[b"ssh-ed25519", &[1; 32]]));
    let key = PublicKey::parse(&format!("{plain} bob's")).unwrap();
    let line = |options: &str, expires| authorized_line(&key, &Options::parse(options).unwrap(), expires);
    let end = Some("20300101000000Z");
    for (options, expires, expected) in [
        ("", None, ""),
        ("", end, "expiry-time=\"20300101000000Z\" "),
        ("restrict", None, "restrict "),
        ("expiry-time=\"20310101Z\",PTY", end, "pty,expiry-time=\"20300101000000Z\" "),
        ("expiry-time=\"20291231Z\"", end, "expiry-time=\"20291231000000Z\" "),
        ("expiry-time=\"203001010000Z\"", None, "expiry-time=\"203001010000Z\" "),
        ("expiry-time=\"20291231\"", end, "expiry-time=\"20291231\",expiry-time=\"20300101000000Z\" "),
    ] {
        assert_eq!(line(options, expires), format!("{expected}{plain} bob's"), "{options}");
    }
}
