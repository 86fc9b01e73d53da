//! Points in time: microseconds since 1970 UTC, to and from the API's and LDAP's text forms.

use std::fmt;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    pub(crate) const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub(crate) const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    pub(crate) const fn micros(self) -> i64 {
        self.0
    }

    pub(crate) const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The point `seconds` later.
    pub(crate) const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Parses the `date-time` of RFC 3339.
    pub(crate) fn parse_rfc3339(text: &str) -> Option<Self> {
        // The crate's parser takes more: other separators, parts left out, offsets beyond a day.
        let text = text.to_ascii_uppercase();
        let form = text.replace(|c: char| c.is_ascii_digit(), "0");
        let rest = form.strip_prefix("0000-00-00T00:00:00")?;
        let zone = rest.strip_prefix(".0").map_or(rest, |more| more.trim_start_matches('0'));
        let is_zone = match zone {
            "Z" => true,
            "+00:00" | "-00:00" => text[text.len() - "00:00".len()..] < *"24",
            _ => false,
        };
        if !is_zone {
            return None;
        }
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_microsecond()))
    }

    /// Parses LDAP's generalized time (RFC 4517, 3.3.13) in UTC: `YYYYmmddHHMMSS[.f]Z`; minutes and seconds may be absent.
    pub(crate) fn parse_generalized(text: &str) -> Option<Self> {
        let body = text.strip_suffix('Z')?;
        let (whole, fraction) = match body.split_once(['.', ',']) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (body, None),
        };
        if !whole.bytes().all(|b| b.is_ascii_digit()) || !matches!(whole.len(), 10 | 12 | 14) {
            return None;
        }
        let field = |from: usize, to: usize| whole.get(from..to).map_or(Some(0), |s| s.parse::<i8>().ok());
        let date_time = jiff::civil::DateTime::new(
            whole.get(0..4)?.parse().ok()?,
            field(4, 6)?,
            field(6, 8)?,
            field(8, 10)?,
            field(10, 12)?,
            field(12, 14)?,
            0,
        )
        .ok()?;
        let seconds = jiff::tz::Offset::UTC.to_timestamp(date_time).ok()?.as_second();
        let micros = match fraction {
            None => 0,
            Some(f) if whole.len() == 14 && !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()) => {
                let six: String = f.chars().chain("000000".chars()).take(6).collect();
                six.parse::<i64>().ok()?
            }
            Some(_) => return None,
        };
        seconds.checked_mul(1_000_000)?.checked_add(micros).map(Self)
    }

    /// LDAP's generalized time with microseconds.
    pub(crate) fn generalized(self) -> String {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(t) => t.strftime("%Y%m%d%H%M%S.%6fZ").to_string(),
            Err(_) => "99991231235959Z".to_owned(),
        }
    }

    /// RFC 3339 with an offset and always with microseconds, the form of a login's `expires`.
    pub(crate) fn rfc3339_offset(self) -> String {
        jiff::Timestamp::from_microsecond(self.0)
            .map(|t| t.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string())
            .unwrap_or_default()
    }
}

/// The API's form: ISO 8601 in UTC with `Z`, microseconds only where they are not zero (contract 1.2).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(t) = jiff::Timestamp::from_microsecond(self.0) else {
            return f.write_str("9999-12-31T23:59:59Z");
        };
        let form = if self.0.rem_euclid(1_000_000) == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6fZ" };
        write!(f, "{}", t.strftime(form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generalized_time_round_trips_and_prints_as_the_api_does() {
        let t = Timestamp::parse_generalized("20120711172041Z").unwrap();
        assert_eq!(t.to_string(), "2012-07-11T17:20:41Z");
        let t = Timestamp::parse_generalized("20261124001637.567497Z").unwrap();
        assert_eq!(t.to_string(), "2026-11-24T00:16:37.567497Z");
        assert_eq!(Timestamp::parse_generalized(&t.generalized()), Some(t));
        assert_eq!(t.rfc3339_offset(), "2026-11-24T00:16:37.567497+00:00");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-24T00:16:37.567497Z"), Some(t));
    }

    #[test]
    fn a_time_in_the_api_is_of_the_form_of_rfc_3339() {
        let noon = Some(Timestamp::parse_generalized("20300101120000Z").unwrap());
        for text in ["2030-01-01T12:00:00Z", "2030-01-01t12:00:00.000z", "2030-01-01T14:30:00+02:30"] {
            assert_eq!(Timestamp::parse_rfc3339(text), noon, "{text}");
        }
        assert!(Timestamp::parse_rfc3339("2030-01-01T12:00:00-23:59").is_some());
        for bad in [
            "",
            "2030-01-01",
            "2030-01-01T12:00Z",
            "2030-01-01T12:00:00",
            "2030-01-01 12:00:00Z",
            " 2030-01-01T12:00:00Z",
            "2030-01-01T12:00:00+0100",
            "2030-01-01T12:00:00+01",
            "2030-01-01T12:00:00+24:00",
            "2030-01-01T12:00:00+01:60",
            "2030-01-01T12:00:00,5Z",
            "2030-01-01T12:00:00.Z",
            "2030-13-01T12:00:00Z",
            "2030-01-01T25:00:00Z",
            "2030-01-01T12:00:00Z[UTC]",
            "20300101T120000Z",
            "2030-01-01T12:00:00Žá:é",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_generalized_time_is_refused() {
        for bad in
            ["", "Z", "20120711172041", "20121311172041Z", "2012071117204Z", "20120711172041.Z", "2012071117é41Z"]
        {
            assert_eq!(Timestamp::parse_generalized(bad), None, "{bad:?}");
        }
    }
}
