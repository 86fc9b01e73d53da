//! Phone numbers: international form in, E.164 kept; valid is what libphonenumber takes.

use phonenumber::metadata::{DATABASE, Descriptor};
use phonenumber::{Metadata, PhoneNumber};
use regex::RegexBuilder;

/// The longest phone number that is looked at, in characters.
pub(crate) const MAX: usize = 32;

/// The number in E.164 (`+421905123456`), if it begins with `+` and is a valid number of its country. What is before it
/// (`tel:`, a bracket) and punctuation after it do not matter.
pub(crate) fn e164(text: &str) -> Option<String> {
    let start = text.find(|c: char| c == '+' || c.is_ascii_digit())?;
    let text = text[start..].trim_end_matches(|c: char| !c.is_alphanumeric() && c != '#');
    if !text.starts_with('+') || text.chars().count() > MAX {
        return None;
    }
    // The crate takes some punctuation for the beginning of an extension.
    let mut digits = is_plain(text).then(|| dialled(text));
    let mut number = phonenumber::parse(None, digits.as_deref().unwrap_or(text)).ok()?;
    if digits.is_none() && number.extension().is_none() {
        let dialled = digits.insert(dialled(text));
        number = phonenumber::parse(None, dialled).ok()?;
    }
    let text = digits.as_deref().unwrap_or(text);
    let code = number.country().code();
    let regions = regions(code)?;
    let mut national = number.national().to_string();
    if let Some(written) = written(text, code, &number)
        && keeps_prefix(regions.first()?, &written, &national)
    {
        national = written;
    }
    is_valid(&regions, &national).then(|| format!("+{code}{national}"))
}

/// Whether there is nothing but digits and punctuation between them behind the `+`.
fn is_plain(text: &str) -> bool {
    text.trim_start_matches('+').chars().all(|c| c.is_ascii_digit() || " -.()/[]*\u{a0}".contains(c))
}

/// What is dialled for a number without an extension: three letters or more are a keypad's, fewer do not count. The
/// crate leaves letters out that come last.
fn dialled(text: &str) -> String {
    const KEYPAD: &[u8; 26] = b"22233344455566677778889999";
    let is_word = text.bytes().filter(u8::is_ascii_alphabetic).count() >= 3;
    let key = |c: char| match c.to_ascii_uppercase() {
        letter @ 'A'..='Z' if is_word => Some(char::from(KEYPAD[usize::from(letter as u8 - b'A')])),
        digit => Some(digit).filter(char::is_ascii_digit),
    };
    std::iter::once('+').chain(text.chars().filter_map(key)).collect()
}

/// The digits after the country code, without the extension.
fn written(text: &str, code: u16, number: &PhoneNumber) -> Option<String> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let rest = digits.strip_prefix(&code.to_string())?;
    let extension = number.extension().map_or("", |extension| extension.as_ref());
    rest.strip_suffix(extension).map(str::to_owned)
}

/// libphonenumber takes a prefix for calls within the country away only where that does not make another number of a
/// good one (`+7 800 …`, not 8 and `00 …`). The crate does not look.
fn keeps_prefix(meta: &Metadata, written: &str, stripped: &str) -> bool {
    let general = meta.descriptors().general();
    matches(general, written) && !matches(general, stripped)
}

/// The countries that share a calling code, the main one first.
fn regions(code: u16) -> Option<Vec<&'static Metadata>> {
    let ids = DATABASE.region(&code)?;
    if ids == ["001"] {
        return DATABASE.by_code(&code);
    }
    Some(ids.into_iter().filter_map(|id| DATABASE.by_id(id)).collect())
}

/// Whether it is a number of one of these countries. The crate's answer is no use: it also takes longer numbers, of
/// which a beginning would be one.
fn is_valid(regions: &[&Metadata], national: &str) -> bool {
    if let [region] = regions {
        return is_some_type(region, national);
    }
    let of_region = |meta: &&&Metadata| match meta.leading_digits() {
        Some(digits) => digits.find(national).is_some_and(|found| found.start() == 0),
        None => is_some_type(meta, national),
    };
    regions.iter().find(of_region).is_some_and(|meta| is_some_type(meta, national))
}

fn is_some_type(meta: &Metadata, national: &str) -> bool {
    let types = meta.descriptors();
    let all = [
        types.fixed_line(),
        types.mobile(),
        types.toll_free(),
        types.premium_rate(),
        types.shared_cost(),
        types.voip(),
        types.personal_number(),
        types.pager(),
        types.uan(),
        types.voicemail(),
    ];
    matches(types.general(), national) && all.into_iter().flatten().any(|kind| matches(kind, national))
}

/// Whether the whole of the number is as described.
fn matches(description: &Descriptor, national: &str) -> bool {
    let whole = || {
        let pattern = format!("^(?:{})$", description.national_number().as_str());
        RegexBuilder::new(&pattern).ignore_whitespace(true).build().is_ok_and(|regex| regex.is_match(national))
    };
    description.is_match(national) && whole()
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
