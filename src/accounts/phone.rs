//! Phone numbers: any form that libphonenumber reads, E.164 kept.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat};

/// The longest phone number that is looked at, in characters.
pub(crate) const MAX: usize = 32;

/// The number in E.164 (`+421905123456`), if the text names its country (a `+`, or RFC 3966's `phone-context`) and it is
/// a valid number there.
pub(crate) fn e164(text: &str) -> Option<String> {
    let number = PHONE_NUMBER_UTIL.parse(text, None).ok().filter(PhoneNumber::is_valid)?;
    Some(number.format_as(PhoneNumberFormat::E164).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_numbers_are_kept_as_e164() {
        assert_eq!(e164("+421 905 123 456").as_deref(), Some("+421905123456"));
        assert_eq!(e164("+44 20 7946 0958").as_deref(), Some("+442079460958"));
        assert_eq!(e164("+421905123457").as_deref(), Some("+421905123457"));
        assert_eq!(e164(" +421 905 123 457 ").as_deref(), Some("+421905123457"));
        assert_eq!(e164("+1 (650) 253-0000").as_deref(), Some("+16502530000"));
        assert_eq!(e164("(+421) 905 123 456").as_deref(), Some("+421905123456"));
        assert_eq!(e164("tel:+421905123456").as_deref(), Some("+421905123456"));
        assert_eq!(e164("+507850-1234").as_deref(), Some("+5078501234"));
        assert_eq!(e164("+6519001.234567").as_deref(), Some("+6519001234567"));
    }

    #[test]
    fn what_a_prefix_looks_like_may_belong_to_the_number() {
        assert_eq!(e164("+7 800 123-45-67").as_deref(), Some("+78001234567"));
        assert_eq!(e164("+370 800 12 345").as_deref(), Some("+37080012345"));
        assert_eq!(e164("+375 801 123 4567").as_deref(), Some("+3758011234567"));
        assert_eq!(e164("+7 8 (495) 123-45-67 ext. 8").as_deref(), Some("+74951234567"));
        assert_eq!(e164("+39 06 1234 5678.").as_deref(), Some("+390612345678"));
        assert_eq!(e164("+800 1234 5678").as_deref(), Some("+80012345678"));
    }

    #[test]
    fn letters_are_a_keypads_where_they_are_a_word() {
        assert_eq!(e164("+1 800 FLOWERS").as_deref(), Some("+18003569377"));
        assert_eq!(e164("+421 abc def ghi").as_deref(), Some("+421222333444"));
        assert_eq!(e164("+421905123456x").as_deref(), Some("+421905123456"));
        assert_eq!(e164("+421905123456 ext. 5").as_deref(), Some("+421905123456"));
        assert_eq!(e164("+421905123456abc"), None);
        assert_eq!(e164("+928002345b"), None);
    }

    /// What Google's own library answers (its Python port 9.0.43), text by text.
    #[test]
    fn what_follows_a_number_is_read_as_libphonenumber_reads_it() {
        for good in [
            "+421905123456 ext 5",
            "+421905123456 anexo 3",
            "+421905123456 # 7",
            "+421905123456,,5#",
            "+421905123456;ext=5",
            "+421905123456 доб 5",
            "0905123456;phone-context=+421",
            "tel:0905123456;phone-context=+421;isub=1",
            "\u{ff0b}\u{ff14}\u{ff12}\u{ff11}905123456",
            "+\u{664}\u{662}\u{661}905123456",
            "+421\u{a0}905\u{2010}123\u{2010}456",
            "++421905123456",
            "+421 0905 123 456",
        ] {
            assert_eq!(e164(good).as_deref(), Some("+421905123456"), "{good:?}");
        }
        for bad in [
            "+421905123456 ext",
            "+421905123456 ext.",
            "+421905123456 int",
            "+421905123456 anexo",
            "+421905123456#",
            "+421905123456;ext=",
            "+421905123456x5x",
            "0905123456;phone-context=example.com",
            "+421905123456é",
            "+00421905123456",
        ] {
            assert_eq!(e164(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_number_with_more_after_it_is_none() {
        for bad in ["+387611234561", "+8610123456781", "+4990012345671", "+601234567891", "+32322123451"] {
            assert_eq!(e164(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_international_number_is_refused() {
        for bad in [
            "",
            " ",
            "-",
            "tel:",
            "123",
            "0905123456",
            "1 +421905123456",
            "421905123456",
            "+",
            "+421",
            "+999123456789",
            "+x",
            "+42190512345678901",
        ] {
            assert_eq!(e164(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic() {
        // A small generator, so that the test is the same every time.
        let alphabet: Vec<char> = "+0123456789 ()-./xext;=#*,~\u{ff0b}\u{ff11}aé".chars().collect();
        let mut state = 1_u64;
        for _ in 0..3000 {
            let mut text = String::from("+");
            for _ in 0..(state >> 33) % 30 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push(alphabet[usize::try_from(state >> 40).unwrap() % alphabet.len()]);
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(3);
            if let Some(number) = e164(&text) {
                assert_eq!(e164(&number), Some(number.clone()), "{text:?}");
            }
        }
    }
}
