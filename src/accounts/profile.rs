//! A user's profile: the fields that the API documents, as a table (contract 3.7).
//!
//! A profile keeps only what the entry holds; everything absent has its default. First name, last name and e-mail are
//! the user's own and not in here. What a `PUT` may write is in `profile_rules`.

use serde::ser::{Serialize, Serializer};

/// A field of the profile, in the API's order of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Field {
    TosAcceptation,
    EmailVerified,
    Email2,
    Phone,
    PhoneVerified,
    Phone2,
    NewsletterTech,
    NewsletterBuss,
    Usertype,
    Language,
    Timezone,
    Currency,
    Title,
    MiddleName,
    Website,
    Jabber,
    Street1,
    Street2_1,
    City,
    Postcode,
    State,
    Country,
    DifferentBilling,
    Street2,
    Street2_2,
    City2,
    Postcode2,
    State2,
    Country2,
    Company,
    Companyid,
    Taxid,
    Vatid,
    Bankid,
    AlertingPhone,
    AlertingJabber,
    AlertingEmail,
}

/// What a field holds, and its default where the entry holds nothing; a text's number is the most characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Country,
    Currency,
    Email(usize),
    Flag(bool),
    Language,
    OptionalCountry,
    Phone,
    Text(usize),
    Timezone,
    /// 0 unknown, 1 personal, 2 company.
    Usertype,
    /// A flag that only a SuperAdmin sets; true for users that the API makes.
    Verified,
}

impl Field {
    /// All of them, in the API's order of output.
    pub(crate) const ALL: [Self; 37] = [
        Self::TosAcceptation,
        Self::EmailVerified,
        Self::Email2,
        Self::Phone,
        Self::PhoneVerified,
        Self::Phone2,
        Self::NewsletterTech,
        Self::NewsletterBuss,
        Self::Usertype,
        Self::Language,
        Self::Timezone,
        Self::Currency,
        Self::Title,
        Self::MiddleName,
        Self::Website,
        Self::Jabber,
        Self::Street1,
        Self::Street2_1,
        Self::City,
        Self::Postcode,
        Self::State,
        Self::Country,
        Self::DifferentBilling,
        Self::Street2,
        Self::Street2_2,
        Self::City2,
        Self::Postcode2,
        Self::State2,
        Self::Country2,
        Self::Company,
        Self::Companyid,
        Self::Taxid,
        Self::Vatid,
        Self::Bankid,
        Self::AlertingPhone,
        Self::AlertingJabber,
        Self::AlertingEmail,
    ];

    /// The key in the API's objects.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::TosAcceptation => "tos_acceptation",
            Self::EmailVerified => "email_verified",
            Self::Email2 => "email2",
            Self::Phone => "phone",
            Self::PhoneVerified => "phone_verified",
            Self::Phone2 => "phone2",
            Self::NewsletterTech => "newsletter_tech",
            Self::NewsletterBuss => "newsletter_buss",
            Self::Usertype => "usertype",
            Self::Language => "language",
            Self::Timezone => "timezone",
            Self::Currency => "currency",
            Self::Title => "title",
            Self::MiddleName => "middle_name",
            Self::Website => "website",
            Self::Jabber => "jabber",
            Self::Street1 => "street_1",
            Self::Street2_1 => "street2_1",
            Self::City => "city",
            Self::Postcode => "postcode",
            Self::State => "state",
            Self::Country => "country",
            Self::DifferentBilling => "different_billing",
            Self::Street2 => "street_2",
            Self::Street2_2 => "street2_2",
            Self::City2 => "city2",
            Self::Postcode2 => "postcode2",
            Self::State2 => "state2",
            Self::Country2 => "country2",
            Self::Company => "company",
            Self::Companyid => "companyid",
            Self::Taxid => "taxid",
            Self::Vatid => "vatid",
            Self::Bankid => "bankid",
            Self::AlertingPhone => "alerting_phone",
            Self::AlertingJabber => "alerting_jabber",
            Self::AlertingEmail => "alerting_email",
        }
    }

    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::TosAcceptation | Self::DifferentBilling => Kind::Flag(false),
            Self::EmailVerified | Self::PhoneVerified => Kind::Verified,
            Self::Email2 => Kind::Email(254),
            Self::Phone | Self::Phone2 | Self::AlertingPhone => Kind::Phone,
            Self::NewsletterTech | Self::NewsletterBuss => Kind::Flag(true),
            Self::Usertype => Kind::Usertype,
            Self::Language => Kind::Language,
            Self::Timezone => Kind::Timezone,
            Self::Currency => Kind::Currency,
            Self::Title => Kind::Text(16),
            Self::MiddleName => Kind::Text(32),
            Self::Website
            | Self::Street1
            | Self::Street2_1
            | Self::City
            | Self::Street2
            | Self::Street2_2
            | Self::City2
            | Self::Company
            | Self::Bankid => Kind::Text(255),
            Self::Jabber | Self::AlertingJabber | Self::AlertingEmail => Kind::Email(255),
            Self::Postcode | Self::Postcode2 => Kind::Text(12),
            Self::State | Self::State2 => Kind::Text(128),
            Self::Country => Kind::Country,
            Self::Country2 => Kind::OptionalCountry,
            Self::Companyid | Self::Taxid | Self::Vatid => Kind::Text(64),
        }
    }
}

/// What a profile's choices are and what an absent value stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) languages: &'a [String],
    pub(crate) currencies: &'a [String],
    pub(crate) default_language: &'a str,
    pub(crate) default_timezone: &'a str,
    pub(crate) default_currency: &'a str,
    pub(crate) default_country: &'a str,
}

/// A field's value as the API shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    Flag(bool),
    Number(u8),
    Text(&'a str),
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Flag(flag) => serializer.serialize_bool(flag),
            Self::Number(number) => serializer.serialize_u8(number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// The values that the entry holds, sorted by field. Booleans are `TRUE`/`FALSE`, the user type a digit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile(Box<[(Field, Box<str>)]>);

impl Profile {
    /// A profile of these values; of two for one field the first counts.
    pub(crate) fn new(mut values: Vec<(Field, Box<str>)>) -> Self {
        values.sort_by_key(|(field, _)| *field);
        values.dedup_by_key(|(field, _)| *field);
        Self(values.into_boxed_slice())
    }

    /// The stored value of `field`, if there is one.
    pub(crate) fn get(&self, field: Field) -> Option<&str> {
        self.0.binary_search_by_key(&field, |(f, _)| *f).ok().map(|i| &*self.0[i].1)
    }

    /// The value of `field` as the API shows it: what is stored, also if the API would not take it, else the default.
    pub(crate) fn shown<'a>(&'a self, field: Field, settings: &Settings<'a>) -> Shown<'a> {
        let stored = self.get(field);
        let flag = |default| match stored {
            Some("TRUE") => Shown::Flag(true),
            Some("FALSE") => Shown::Flag(false),
            _ => Shown::Flag(default),
        };
        let text = |default| Shown::Text(stored.unwrap_or(default));
        match field.kind() {
            Kind::Flag(default) => flag(default),
            Kind::Verified => flag(false),
            Kind::Usertype => Shown::Number(stored.and_then(|digit| digit.parse().ok()).unwrap_or(0)),
            Kind::Language => text(settings.default_language),
            Kind::Timezone => text(settings.default_timezone),
            Kind::Currency => text(settings.default_currency),
            Kind::Country => text(settings.default_country),
            Kind::Email(_) | Kind::OptionalCountry | Kind::Phone | Kind::Text(_) => text(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings<'static> = Settings {
        languages: &[],
        currencies: &[],
        default_language: "en",
        default_timezone: "Europe/Bratislava",
        default_currency: "EUR",
        default_country: "SK",
    };

    #[test]
    fn an_absent_value_shows_its_default() {
        let empty = Profile::default();
        let shown = |field| empty.shown(field, &SETTINGS);
        assert_eq!(shown(Field::TosAcceptation), Shown::Flag(false));
        assert_eq!(shown(Field::NewsletterTech), Shown::Flag(true));
        assert_eq!(shown(Field::EmailVerified), Shown::Flag(false));
        assert_eq!(shown(Field::Usertype), Shown::Number(0));
        assert_eq!(shown(Field::Timezone), Shown::Text("Europe/Bratislava"));
        assert_eq!(shown(Field::Country), Shown::Text("SK"));
        assert_eq!(shown(Field::Country2), Shown::Text(""));
    }

    #[test]
    fn a_stored_value_is_shown_as_it_is_if_it_can_be() {
        let profile = Profile::new(vec![
            (Field::Country, "Slovakia".into()),
            (Field::Usertype, "x".into()),
            (Field::NewsletterBuss, "FALSE".into()),
            (Field::PhoneVerified, "TRUE".into()),
        ]);
        assert_eq!(profile.shown(Field::Country, &SETTINGS), Shown::Text("Slovakia"));
        assert_eq!(profile.shown(Field::Usertype, &SETTINGS), Shown::Number(0));
        assert_eq!(profile.shown(Field::NewsletterBuss, &SETTINGS), Shown::Flag(false));
        assert_eq!(profile.shown(Field::PhoneVerified, &SETTINGS), Shown::Flag(true));
    }

    #[test]
    fn the_table_of_all_fields_is_in_order_and_its_keys_differ() {
        assert!(Field::ALL.is_sorted());
        let keys: std::collections::BTreeSet<_> = Field::ALL.iter().map(|f| f.key()).collect();
        assert_eq!(keys.len(), Field::ALL.len());
    }
}
