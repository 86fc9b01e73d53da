use super::*;

fn parsed(arguments: &[&str]) -> Option<Action> {
    parse_arguments(arguments.iter().map(OsString::from).collect())
}

fn asked(socket: &str, milliseconds: u64, user: &str, fingerprint: Option<&str>) -> Option<Action> {
    let fingerprint = fingerprint.map(|text| Fingerprint::parse(text).unwrap());
    let question = Question { user: user.to_owned(), fingerprint };
    Some(Action::Ask { socket: socket.into(), deadline: Duration::from_millis(milliseconds), question })
}

const SHA256: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

#[test]
fn arguments_are_options_then_the_user_then_the_fingerprint() {
    assert_eq!(parsed(&["bob"]), asked(DEFAULT_SOCKET, 2000, "bob", None));
    assert_eq!(parsed(&["bob", SHA256]), asked(DEFAULT_SOCKET, 2000, "bob", Some(SHA256)));
    assert_eq!(parsed(&["--deadline", "1", "--socket", "/s", "bob"]), asked("/s", 1, "bob", None));
    assert_eq!(parsed(&["--", "-x", SHA256]), asked(DEFAULT_SOCKET, 2000, "-x", Some(SHA256)));
    assert_eq!(parsed(&["--", "--help"]), asked(DEFAULT_SOCKET, 2000, "--help", None));
    assert_eq!(parsed(&["--help"]), Some(Action::Help));
    assert_eq!(parsed(&["--version"]), Some(Action::Version));
}

#[test]
fn wrong_usage_is_told_from_a_name_that_nobody_can_have() {
    let wrong: [&[&str]; 17] = [
        &[],
        &["-x"],
        &["--"],
        &["--help", SHA256],
        &["--version", SHA256],
        &["-x", SHA256],
        &["--socket", SHA256],
        &["--socket", "", "bob"],
        &["--socket=/s", "bob"],
        &["--deadline", SHA256],
        &["--deadline", "0", "bob"],
        &["--deadline", "+5", "bob"],
        &["--deadline", "600001", "bob"],
        &["bob", "SHA256:x"],
        &["bob", "--deadline"],
        &["bob", SHA256, "x"],
        &["bob", ""],
    ];
    for arguments in wrong {
        assert_eq!(parsed(arguments), None, "{arguments:?}");
    }
    let long = "a".repeat(255);
    for name in
        ["", "a b", "../../etc/passwd", "$(id)", ";id", "%u", "*", ")(uid=*", "a\n", "\u{212a}", "ｒｏｏｔ", &long]
    {
        assert_eq!(parsed(&[name, SHA256]), Some(Action::Nobody), "{name:?}");
    }
    let invalid = std::os::unix::ffi::OsStringExt::from_vec(vec![b'b', 0xff]);
    assert_eq!(parse_arguments(vec![invalid]), Some(Action::Nobody));
}

const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIEhmfOJ+3jJf8JgGSkHJg1W6+oVvCZ8vQ2dIjZlLVc4x";

#[test]
fn key_lines_have_options_type_base64_and_comment() {
    let rest = format!("ssh-ed25519 {ED25519}");
    let mut scratch = Vec::new();
    for line in [
        rest.clone(),
        format!("{rest} bob@example, zwölf  blanks "),
        format!("restrict {rest}"),
        format!(r#"restrict,command="say \"ssh-rsa AAAA\"",from="a,!b" {rest} c"#),
        format!(r#"environment="A=ssh-ed25519 {ED25519}" {rest}"#),
    ] {
        assert!(is_key_line(&line, &mut scratch), "{line}");
    }
}

#[test]
fn what_is_no_key_line_is_refused() {
    let rest = format!("ssh-ed25519 {ED25519}");
    let mut scratch = Vec::new();
    for line in [
        String::new(),
        " ".to_owned(),
        format!("# {rest}"),
        format!(" {rest}"),
        format!("restrict  {rest}"),
        format!("restrict\t{rest}"),
        format!("{rest}\r"),
        format!("{rest} \u{7f}"),
        format!("{rest} \u{85}"),
        format!(r#"command="x {rest}"#),
        format!(r#"command="x\" {rest}"#),
        "ssh-ed25519".to_owned(),
        "ssh-ed25519 ".to_owned(),
        format!("ssh-ed25519  {ED25519}"),
        format!("ssh-rsa {ED25519}"),
        format!("ssh-ed448 {ED25519}"),
        format!("ssh-ed25519-cert-v01@openssh.com {ED25519}"),
        format!("ssh-ed25519 {}", &ED25519[..64]),
        format!("ssh-ed25519 {ED25519}AAAA"),
        format!("ssh-ed25519 {ED25519}="),
        format!("ssh-ed25519 {}-", &ED25519[..67]),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5".to_owned(),
    ] {
        assert!(!is_key_line(&line, &mut scratch), "{line:?}");
    }
}

#[test]
fn base64_has_one_spelling() {
    let mut out = Vec::new();
    for (text, plain) in [("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmFy", "foobar")]
    {
        assert_eq!(decode_base64(text.as_bytes(), &mut out), Some(()), "{text}");
        assert_eq!(out, plain.as_bytes());
    }
    for bad in ["", "Z", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm9v=", "Z=9v", "Zm-v", "Zm9v\n"] {
        assert_eq!(decode_base64(bad.as_bytes(), &mut out), None, "{bad:?}");
    }
}

#[test]
fn the_systems_log_gets_one_datagram_and_its_absence_is_no_matter() {
    let path = std::env::temp_dir().join(format!("usher-syslog-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    log(&path, "nobody listens");
    let syslog = UnixDatagram::bind(&path).unwrap();
    syslog.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    log(&path, "no keys");
    let mut buffer = [0; 200];
    let length = syslog.recv(&mut buffer).unwrap();
    let expected = format!("<83>usher-authorized-keys[{}]: no keys", std::process::id());
    assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), expected);
    // A log that nobody empties fills up; nobody waits for it.
    for _ in 0..5000 {
        log(&path, "full");
    }
    let _ = std::fs::remove_file(&path);
}
