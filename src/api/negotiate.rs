//! Content negotiation: `Accept` and `Content-Type` (contract 1.1). JSON is all there is.

use std::borrow::Cow;

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

use super::ApiError;

/// How many blanks a level the answer is to be indented by; 0 is compact.
///
/// # Errors
/// 406 where `Accept` takes no JSON.
pub(super) fn indent(headers: &HeaderMap) -> Result<usize, ApiError> {
    let is = |word: &[u8], own: &[u8]| word == b"*" || word.eq_ignore_ascii_case(own);
    let ranges = headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let mut accepted = !headers.contains_key(ACCEPT);
    for range in ranges {
        let mut parts = range.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let media = parts.next().unwrap_or_default();
        if media.eq_ignore_ascii_case(b"application/json") {
            let indent = parts.find_map(|part| part.strip_prefix(b"indent=")).and_then(|n| std::str::from_utf8(n).ok());
            return Ok(indent.and_then(|n| n.parse::<usize>().ok()).unwrap_or(0).min(8));
        }
        let mut words = media.splitn(2, |b| *b == b'/');
        let [main, sub] = [words.next(), words.next()].map(Option::unwrap_or_default);
        accepted |= is(main, b"application") && is(sub, b"json");
    }
    if accepted { Ok(0) } else { Err(ApiError::not_acceptable()) }
}

/// # Errors
/// 415 where a body that is not empty does not claim to be JSON.
pub(super) fn check_body_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let media = value.split(|b| *b == b';').next().unwrap_or_default();
    if media.trim_ascii().eq_ignore_ascii_case(b"application/json") {
        return Ok(());
    }
    let shown: Cow<'_, str> = String::from_utf8_lossy(value.get(..200).unwrap_or(value));
    Err(ApiError::unsupported_media(&shown))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn accept(value: &str) -> Option<usize> {
        indent(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_bytes(value.as_bytes()).unwrap())])).ok()
    }

    #[test]
    fn json_is_accepted_in_its_forms_and_indented_when_asked_for() {
        assert_eq!(indent(&HeaderMap::new()).ok(), Some(0));
        for (value, expected) in [
            ("*/*", Some(0)),
            ("*/json", Some(0)),
            ("application/*;q=0.5", Some(0)),
            ("application/json", Some(0)),
            ("application/json; indent=4", Some(4)),
            ("application/json;indent=99", Some(8)),
            ("application/json; indent=x", Some(0)),
            ("text/html, application/json; indent=2, */*", Some(2)),
            ("text/html,*/*;q=0.8", Some(0)),
            ("text/html", None),
            ("text/*", None),
            ("application/xml", None),
            ("*", None),
            ("", None),
            ("ü", None),
        ] {
            assert_eq!(accept(value), expected, "{value:?}");
        }
    }

    #[test]
    fn bodies_must_claim_to_be_json() {
        let check = |value: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(value).unwrap())]);
            check_body_type(&headers).map_err(|error| error.text().into_owned())
        };
        for good in ["application/json", "application/json; indent=4", "Application/JSON ; charset=utf-8"] {
            assert_eq!(check(good), Ok(()));
        }
        let form = "application/x-www-form-urlencoded";
        assert_eq!(check(form), Err(format!("Unsupported media type \"{form}\" in request.")));
        assert!(check("application/jsonx").is_err());
        let absent = check_body_type(&HeaderMap::new()).unwrap_err();
        assert_eq!(absent.text(), "Unsupported media type \"\" in request.");
    }
}
