//! Phone numbers: international form in, E.164 kept.

/// The longest phone number that is looked at, in characters.
pub(crate) const MAX: usize = 32;

/// The number in E.164 (`+421905123456`), if it begins with `+` and is a valid number of its country. Blanks around it
/// do not matter.
pub(crate) fn e164(text: &str) -> Option<String> {
    let text = text.trim();
    if !text.starts_with('+') || text.chars().count() > MAX {
        return None;
    }
    let number = phonenumber::parse(None, text).ok()?;
    number.is_valid().then(|| number.format().mode(phonenumber::Mode::E164).to_string())
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
    }

    #[test]
    fn what_is_no_international_number_is_refused() {
        for bad in
            ["", " ", "123", "0905123456", "421905123456", "+", "+421", "+999123456789", "+x", "+42190512345678901"]
        {
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
