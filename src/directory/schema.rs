//! Attribute and class names, as `schema/` defines them, and which attribute holds which field.

use crate::accounts::profile::Field;

pub(crate) const ACTIVE: &str = "usherActive";
pub(crate) const API_ACCESS: &str = "usherApiAccess";
pub(crate) const SUPER_ADMIN: &str = "usherSuperAdmin";
pub(crate) const SSH_KEY: &str = "usherSshKey";
pub(crate) const SSH_PUBLIC_KEY: &str = "sshPublicKey";
pub(crate) const DC_BOUND: &str = "usherDcBound";
/// Only the directory's guard looks at it, so it is not replicated.
pub(crate) const IDENTITY: &str = "usherIdentity";
pub(crate) const API_KEY: &str = "usherApiKey";
pub(crate) const API_KEY_HASH: &str = "usherApiKeyHash";
pub(crate) const CALLBACK_KEY: &str = "usherCallbackKey";
pub(crate) const NUMBER: &str = "usherNumber";
pub(crate) const ALIAS: &str = "usherAlias";
pub(crate) const PERMISSION: &str = "usherPermission";
pub(crate) const DATACENTER_LINK: &str = "usherDatacenterLink";
pub(crate) const SITE: &str = "usherSite";
pub(crate) const OWNER: &str = "usherOwner";
pub(crate) const ACCESS: &str = "usherAccess";
/// [`RequestMark`](crate::accounts::secrets::RequestMark) of an entry whose groups are not all written yet.
pub(crate) const UNFINISHED: &str = "usherUnfinished";
pub(crate) const TOKEN_HASH: &str = "usherTokenHash";
pub(crate) const SESSION_USER: &str = "usherSessionUser";
pub(crate) const SESSION_EPOCH: &str = "usherSessionEpoch";
pub(crate) const EXPIRES: &str = "usherExpires";
pub(crate) const KEY_ID: &str = "usherKeyId";
pub(crate) const NEXT_USER: &str = "usherNextUser";
pub(crate) const NEXT_DATACENTER: &str = "usherNextDatacenter";
pub(crate) const UNANSWERED: &str = "usherUnanswered";
pub(crate) const PASSWORD: &str = "userPassword";
/// Written by ppolicy after wrong passwords, and by administrators with the value [`LOCKED_FOR_GOOD`].
pub(crate) const LOCKED_TIME: &str = "pwdAccountLockedTime";
pub(crate) const LOCKED_FOR_GOOD: &str = "000001010000Z";
/// 389-DS's administrator lock.
pub(crate) const NS_LOCK: &str = "nsAccountLock";
pub(crate) const ENTRY_CSN: &str = "entryCSN";
pub(crate) const ENTRY_UUID: &str = "entryUUID";

/// What the replica asks for: an explicit list, since decoding is what a refresh costs (field notes 1.2).
pub(crate) const REPLICATED: &[&str] = &[
    "objectClass",
    ENTRY_UUID,
    ENTRY_CSN,
    "createTimestamp",
    "uid",
    "cn",
    "givenName",
    "sn",
    "mail",
    PASSWORD,
    "preferredLanguage",
    "telephoneNumber",
    "title",
    "o",
    "street",
    "l",
    "st",
    "postalCode",
    "description",
    "shadowExpire",
    LOCKED_TIME,
    "pwdStartTime",
    "pwdEndTime",
    NS_LOCK,
    "member",
    SSH_PUBLIC_KEY,
    SSH_KEY,
    ACTIVE,
    API_ACCESS,
    SUPER_ADMIN,
    DC_BOUND,
    API_KEY,
    API_KEY_HASH,
    CALLBACK_KEY,
    NUMBER,
    ALIAS,
    PERMISSION,
    DATACENTER_LINK,
    SITE,
    OWNER,
    ACCESS,
    UNFINISHED,
    TOKEN_HASH,
    SESSION_USER,
    SESSION_EPOCH,
    EXPIRES,
    "usherTosAcceptation",
    "usherEmailVerified",
    "usherPhoneVerified",
    "usherNewsletterTech",
    "usherNewsletterBuss",
    "usherDifferentBilling",
    "usherEmail2",
    "usherPhone2",
    "usherUserType",
    "usherTimezone",
    "usherCurrency",
    "usherMiddleName",
    "usherWebsite",
    "usherJabber",
    "usherStreetLine2",
    "usherCountry",
    "usherBillingStreet",
    "usherBillingStreetLine2",
    "usherBillingCity",
    "usherBillingPostalCode",
    "usherBillingState",
    "usherBillingCountry",
    "usherCompanyId",
    "usherTaxId",
    "usherVatId",
    "usherBankId",
    "usherAlertingPhone",
    "usherAlertingJabber",
    "usherAlertingEmail",
];

/// The profile's fields and their attributes: the standard one wherever there is one.
pub(crate) const PROFILE: &[(Field, &str)] = &[
    (Field::TosAcceptation, "usherTosAcceptation"),
    (Field::EmailVerified, "usherEmailVerified"),
    (Field::Email2, "usherEmail2"),
    (Field::Phone, "telephoneNumber"),
    (Field::PhoneVerified, "usherPhoneVerified"),
    (Field::Phone2, "usherPhone2"),
    (Field::NewsletterTech, "usherNewsletterTech"),
    (Field::NewsletterBuss, "usherNewsletterBuss"),
    (Field::Usertype, "usherUserType"),
    (Field::Language, "preferredLanguage"),
    (Field::Timezone, "usherTimezone"),
    (Field::Currency, "usherCurrency"),
    (Field::Title, "title"),
    (Field::MiddleName, "usherMiddleName"),
    (Field::Website, "usherWebsite"),
    (Field::Jabber, "usherJabber"),
    (Field::Street1, "street"),
    (Field::Street2_1, "usherStreetLine2"),
    (Field::City, "l"),
    (Field::Postcode, "postalCode"),
    (Field::State, "st"),
    (Field::Country, "usherCountry"),
    (Field::DifferentBilling, "usherDifferentBilling"),
    (Field::Street2, "usherBillingStreet"),
    (Field::Street2_2, "usherBillingStreetLine2"),
    (Field::City2, "usherBillingCity"),
    (Field::Postcode2, "usherBillingPostalCode"),
    (Field::State2, "usherBillingState"),
    (Field::Country2, "usherBillingCountry"),
    (Field::Company, "o"),
    (Field::Companyid, "usherCompanyId"),
    (Field::Taxid, "usherTaxId"),
    (Field::Vatid, "usherVatId"),
    (Field::Bankid, "usherBankId"),
    (Field::AlertingPhone, "usherAlertingPhone"),
    (Field::AlertingJabber, "usherAlertingJabber"),
    (Field::AlertingEmail, "usherAlertingEmail"),
];

/// The attribute that holds `field`.
pub(crate) fn profile_attribute(field: Field) -> &'static str {
    // PROFILE is in the order of the enumeration, which the test below holds.
    PROFILE[field as usize].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_table_has_every_field_in_order_and_all_of_it_is_replicated() {
        for (i, (field, attribute)) in PROFILE.iter().enumerate() {
            assert_eq!(*field as usize, i);
            assert!(REPLICATED.contains(attribute), "{attribute} is not replicated");
        }
        assert_eq!(PROFILE.len(), Field::AlertingEmail as usize + 1);
    }
}
