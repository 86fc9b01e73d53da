use super::*;

#[test]
fn options_are_written_in_one_form_and_keep_their_order() {
    for (text, canonical) in [
        ("", ""),
        ("restrict,pty", "restrict,pty"),
        ("PTY,Restrict,NO-x11-FORWARDING", "pty,restrict,no-X11-forwarding"),
        (r#"command="say \"a, b\"",no-pty"#, r#"command="say \"a, b\"",no-pty"#),
        (r#"command="a\\b \\"c""#, r#"command="a\\b \\"c""#),
        (r#"command="a\nb\\\"c""#, r#"command="a\nb\\\"c""#),
        (r#"FROM="*.example.org,!10.0.0.0/8,2001:db8::/32""#, r#"from="*.example.org,!10.0.0.0/8,2001:db8::/32""#),
        (r#"environment="A=b=c",environment="A=d""#, r#"environment="A=b=c",environment="A=d""#),
        (r#"permitopen="[::1]:22",permitopen="a:*""#, r#"permitopen="[::1]:22",permitopen="a:*""#),
        (r#"permitlisten="8080",tunnel="any""#, r#"permitlisten="8080",tunnel="any""#),
        ("no-touch-required,verify-required", "no-touch-required,verify-required"),
    ] {
        let options = Options::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(options.to_string(), canonical, "{text}");
        assert_eq!(Options::parse(canonical).as_ref(), Ok(&options));
        assert_eq!(Options::from_list(&options.to_list()).as_ref(), Ok(&options));
        assert_eq!(options.is_empty(), text.is_empty());
    }
}

#[test]
fn what_sshd_would_refuse_or_never_match_is_refused() {
    use OptionsError::{Duplicate, Syntax};
    let invalid = |name: &str| OptionsError::Invalid(name.to_owned());
    for (text, error) in [
        (",", Syntax),
        ("pty,", Syntax),
        (",pty", Syntax),
        ("pty,,restrict", Syntax),
        ("pty restrict", OptionsError::Unknown("pty restrict".to_owned())),
        ("shell", OptionsError::Unknown("shell".to_owned())),
        ("no-restrict", OptionsError::Unknown("no-restrict".to_owned())),
        ("no-", OptionsError::Unknown("no-".to_owned())),
        ("nö-pty", OptionsError::Unknown("nö-pty".to_owned())),
        ("no-command=\"x\"", OptionsError::Unknown("no-command".to_owned())),
        ("pty=\"x\"", invalid("pty")),
        ("no-pty=\"x\"", invalid("no-pty")),
        ("command", invalid("command")),
        ("command=x", Syntax),
        ("command=\"x", Syntax),
        (r#"command="x\""#, Syntax),
        ("command=\"x\"y", Syntax),
        ("command=\"\"", invalid("command")),
        ("command=\"a\nb\"", invalid("command")),
        ("command=\"a\0b\"", invalid("command")),
        ("command=\"a\",command=\"b\"", Duplicate("command")),
        ("from=\"a\",From=\"b\"", Duplicate("from")),
        ("principals=\"a\",principals=\"a\"", Duplicate("principals")),
        ("environment=\"x\"", invalid("environment")),
        ("environment=\"a-b=c\"", invalid("environment")),
        ("environment=\"=c\"", invalid("environment")),
        ("expiry-time=\"2030\"", invalid("expiry-time")),
        ("expiry-time=\"20301301\"", invalid("expiry-time")),
        ("expiry-time=\"20300229\"", invalid("expiry-time")),
        ("expiry-time=\"203001012400\"", invalid("expiry-time")),
        ("expiry-time=\"19700101Z\"", invalid("expiry-time")),
        ("expiry-time=\"+2030101\"", invalid("expiry-time")),
        ("from=\"\"", invalid("from")),
        ("from=\"a,,b\"", invalid("from")),
        ("from=\"10.0.0.1/8\"", invalid("from")),
        ("from=\"10.0.0.0/33\"", invalid("from")),
        ("from=\"host/8\"", invalid("from")),
        ("from=\"a b\"", invalid("from")),
        ("permitopen=\"22\"", invalid("permitopen")),
        ("permitopen=\"a:0\"", invalid("permitopen")),
        ("permitopen=\"a:ssh\"", invalid("permitopen")),
        ("permitopen=\"::1:22\"", invalid("permitopen")),
        ("permitlisten=\"65536\"", invalid("permitlisten")),
        ("tunnel=\"-1\"", invalid("tunnel")),
        ("tunnel=\"2147483646\"", invalid("tunnel")),
        ("principals=\"a,\"", invalid("principals")),
    ] {
        assert_eq!(Options::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn a_value_that_would_eat_its_closing_quote_is_refused() {
    // No spelling gives the value `a\`, so none can come out of here that would not read back.
    assert_eq!(Options::parse(r#"command="a\\""#), Err(OptionsError::Syntax));
    let list = [r#"command="a\\"b""#.to_owned()];
    assert_eq!(Options::from_list(&list).unwrap().to_list(), list);
}

#[test]
fn an_element_of_a_list_is_one_option() {
    for bad in ["pty,restrict", "", "pty,", r#"command="a",pty"#] {
        assert!(Options::from_list(&[bad.to_owned()]).is_err(), "{bad:?}");
    }
}

#[test]
fn sizes_are_bounded() {
    let many = |count| vec!["pty".to_owned(); count];
    assert!(Options::from_list(&many(64)).is_ok());
    assert_eq!(Options::from_list(&many(65)), Err(OptionsError::TooLong));
    assert_eq!(Options::parse(&many(65).join(",")), Err(OptionsError::TooLong));
    let long = |length| format!("command=\"{}\"", "x".repeat(length));
    assert!(Options::parse(&long(8000)).is_ok());
    assert_eq!(Options::parse(&long(8192)), Err(OptionsError::TooLong));
    assert_eq!(Options::parse(&long(1 << 20)), Err(OptionsError::TooLong));
}

#[test]
fn users_may_restrict_and_only_administrators_may_do_more() {
    let first = |text: &str| Options::parse(text).unwrap().admin_only();
    let restrictions = "restrict,pty,no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc,\
                        verify-required,from=\"a\",expiry-time=\"20300101\"";
    assert_eq!(first(restrictions), None);
    for (text, name) in [
        ("restrict,command=\"x\"", "command"),
        ("environment=\"A=b\"", "environment"),
        ("permitopen=\"a:1\"", "permitopen"),
        ("permitlisten=\"1\"", "permitlisten"),
        ("principals=\"a\"", "principals"),
        ("cert-authority", "cert-authority"),
        ("tunnel=\"0\"", "tunnel"),
        ("no-touch-required", "no-touch-required"),
        ("no-verify-required", "no-verify-required"),
    ] {
        assert_eq!(first(text).as_deref(), Some(name));
    }
}
