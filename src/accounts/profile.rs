//! A user's profile: the fields that the API documents, as a table (contract 3.7).
//!
//! A profile keeps only what the entry holds; everything absent has its default. First name, last name and e-mail are
//! the user's own and not in here.

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
}
