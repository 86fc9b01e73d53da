//! What the lists have in common: the flags that ask for objects, `order_by`, and paging by `limit` and `after`.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use super::{ApiError, Params};
use crate::accounts::input::{self, Errors, no_object};
use crate::accounts::{Datacenter, Group, Permission, SshKey, User};
use crate::directory::View;

/// The flag under `key`; `None` where it is not given.
pub(super) fn flag(params: &Params, key: &'static str) -> Result<Option<bool>, ApiError> {
    let parsed = params.get(key).map(input::boolean).transpose();
    parsed.map_err(|message| ApiError::failure(&Errors::one(key, message)))
}

/// Whether a detail shows its additional fields. Nothing else is asked there: `full` means nothing.
pub(super) fn extended(params: &Params) -> Result<bool, ApiError> {
    Ok(flag(params, "extended")?.unwrap_or(false))
}

/// How much a list shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail {
    /// Objects, not names.
    pub(super) full: bool,
    /// The objects' additional fields too.
    pub(super) extended: bool,
}

impl Detail {
    /// `full` and `extended`, which implies it.
    pub(super) fn parse(params: &Params) -> Result<Self, ApiError> {
        let full = flag(params, "full")?.unwrap_or(false);
        let extended = extended(params)?;
        Ok(Self { full: full || extended, extended })
    }

    /// `full` alone, for callers to whom `extended` means nothing; a flag it is all the same.
    pub(super) fn parse_full(params: &Params) -> Result<Self, ApiError> {
        Self::parse(params)?;
        Ok(Self { full: flag(params, "full")?.unwrap_or(false), extended: false })
    }

    /// The same where objects have no additional fields.
    pub(super) fn plain(self) -> Self {
        Self { extended: false, ..self }
    }
}

/// The order of a list and the part of it that is asked for.
#[derive(Debug)]
pub(super) struct Paging {
    /// Indexes into the fields that the list can be sorted by, the first of which is the name; and whether descending.
    order: Vec<(usize, bool)>,
    limit: usize,
    /// The name of the last object of the page before.
    after: Option<String>,
}

impl Paging {
    /// `order_by`, `limit` and `after`. `fields` are those that the list can be sorted by, its default first: the name.
    ///
    /// # Errors
    /// 412 for another field, 400 for a limit that is no positive number.
    pub(super) fn parse(params: &Params, fields: &[&str]) -> Result<Self, ApiError> {
        let given = |key| params.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let text = |key| given(key).map(str::trim).filter(|text| !text.is_empty());
        let mut order = Vec::new();
        // Nothing is the default; blanks are a field that does not exist.
        for part in given("order_by").into_iter().flat_map(|all| all.split(',')) {
            let part = part.trim();
            // The original takes both signs for descending.
            let name = part.strip_prefix(['-', '+']);
            let index = fields.iter().position(|field| *field == name.unwrap_or(part));
            let index = index.ok_or_else(|| ApiError::bad_order(fields))?;
            // What is equal by a field is equal by it the second time.
            if !order.iter().any(|(earlier, _)| *earlier == index) {
                order.push((index, name.is_some()));
            }
        }
        let limit = match text("limit") {
            None => usize::MAX,
            Some(digits) if !digits.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(ApiError::invalid("limit", "Enter a whole number."));
            }
            Some(digits) => digits.parse().unwrap_or(usize::MAX),
        };
        if limit == 0 {
            return Err(ApiError::invalid("limit", "Ensure this value is greater than or equal to 1."));
        }
        Ok(Self { order, limit, after: text("after").map(str::to_owned) })
    }

    /// The page of `items`, which come by the bytes of their names. `find` looks an item up by a name as it was
    /// given, whether it is in the list or not, and even if it was deleted lately.
    ///
    /// # Errors
    /// 400 where `after` names nothing and the order needs more of it than its name.
    pub(super) fn page<'a, T: Listed>(
        &self,
        mut items: Vec<&'a T>,
        find: impl FnOnce(&str) -> Option<&'a T>,
    ) -> Result<Vec<&'a T>, ApiError> {
        // Names differ, so whatever follows the name in the order has no say.
        let by_name = match self.order.first() {
            None => Some(false),
            Some((0, descending)) => Some(*descending),
            Some(_) => None,
        };
        match by_name {
            Some(false) => {}
            Some(true) => items.reverse(),
            None => items.sort_by(|a, b| self.compare(*a, *b)),
        }
        let start = match (&self.after, by_name) {
            (None, _) => 0,
            (Some(after), Some(descending)) => {
                let beyond = if descending { Ordering::Less } else { Ordering::Greater };
                // As it is spelt, if there is such an object.
                let after = find(after).map_or(&**after, |last| last.name());
                items.partition_point(|item| item.name().cmp(after) != beyond)
            }
            (Some(after), None) => {
                let last = find(after).ok_or_else(|| ApiError::invalid("after", &no_object("name", after)))?;
                items.partition_point(|item| self.compare(*item, last) != Ordering::Greater)
            }
        };
        items.drain(..start);
        items.truncate(self.limit);
        Ok(items)
    }

    fn compare<T: Listed>(&self, a: &T, b: &T) -> Ordering {
        let fields = self.order.iter().map(|&(field, descending)| {
            let ordering = if field == 0 { a.name().cmp(b.name()) } else { a.compare_created(b) };
            if descending { ordering.reverse() } else { ordering }
        });
        // What is equal by `created` goes by its name, in the same direction: the reverse order is the reverse list.
        let is_reverse = self.order.iter().any(|&(field, descending)| field != 0 && descending);
        let names = std::iter::once_with(|| if is_reverse { b.name().cmp(a.name()) } else { a.name().cmp(b.name()) });
        fields.chain(names).find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// What can be listed: by its name, and where the list's second field is `created`, by that.
pub(super) trait Listed {
    fn name(&self) -> &str;

    fn compare_created(&self, _other: &Self) -> Ordering {
        Ordering::Equal
    }
}

/// Writes the name of what is listed, as the short lists show it.
pub(super) fn name<T: Listed>(_: &View<'_>, item: &T, out: &mut Vec<u8>) -> serde_json::Result<()> {
    serde_json::to_writer(out, item.name())
}

/// The names of all that is listed.
pub(super) struct Names<'i, T>(pub(super) &'i [T]);

impl<T: Listed> Serialize for Names<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Listed::name))
    }
}

impl<T: Listed> Listed for &T {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn compare_created(&self, other: &Self) -> Ordering {
        (**self).compare_created(other)
    }
}

impl<T: Listed> Listed for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn compare_created(&self, other: &Self) -> Ordering {
        (**self).compare_created(other)
    }
}

impl Listed for User {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn compare_created(&self, other: &Self) -> Ordering {
        (self.created, self.number).cmp(&(other.created, other.number))
    }
}

impl Listed for Group {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn compare_created(&self, other: &Self) -> Ordering {
        self.created.cmp(&other.created)
    }
}

impl Listed for Datacenter {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn compare_created(&self, other: &Self) -> Ordering {
        (self.created, self.number).cmp(&(other.created, other.number))
    }
}

impl Listed for SshKey {
    fn name(&self) -> &str {
        self.title.as_str()
    }
}

impl Listed for Permission {
    fn name(&self) -> &str {
        (*self).name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{Timestamp, samples};

    fn users() -> Vec<User> {
        // By the bytes of their names, as the replica gives them.
        [("Zed", 3), ("anna", 2), ("bob", 2), ("carl", 1)]
            .map(|(name, second)| User { created: Timestamp::from_seconds(second), ..samples::user(name) })
            .to_vec()
    }

    fn names(query: &str) -> Result<String, ApiError> {
        let users = users();
        let paging = Paging::parse(&Params::from_query(Some(query)), &["username", "created"])?;
        let page = paging.page(users.iter().collect(), |name| {
            users.iter().find(|user| user.name.as_str().eq_ignore_ascii_case(name))
        })?;
        Ok(page.into_iter().map(|user| user.name.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn lists_are_sorted_by_the_named_fields_and_then_by_name() {
        for (query, expected) in [
            ("", "Zed anna bob carl"),
            ("order_by=", "Zed anna bob carl"),
            ("order_by=username", "Zed anna bob carl"),
            ("order_by=-username", "carl bob anna Zed"),
            ("order_by=%2Busername", "carl bob anna Zed"),
            ("order_by=+username", "Zed anna bob carl"),
            ("order_by=created", "carl anna bob Zed"),
            ("order_by=-created", "Zed bob anna carl"),
            ("order_by=-created,username", "Zed anna bob carl"),
            ("order_by=created , username", "carl anna bob Zed"),
        ] {
            assert_eq!(names(query).unwrap(), expected, "{query}");
        }
        for bad in ["zzz", "Username", "username,", "--username", "-%20username", "%20", "+", ",", "-"] {
            let bad = &format!("order_by={bad}");
            assert!(format!("{:?}", names(bad).unwrap_err()).contains("412"), "{bad}");
        }
    }

    #[test]
    fn a_field_that_is_named_again_makes_no_more_work() {
        let many = format!("order_by=created{}", ",-created,username".repeat(1000));
        let paging = Paging::parse(&Params::from_query(Some(&many)), &["username", "created"]).unwrap();
        assert_eq!(paging.order, [(1, false), (0, false)]);
        assert_eq!(names(&many).unwrap(), names("order_by=created").unwrap());
    }

    #[test]
    fn pages_follow_each_other_in_every_order() {
        for order in ["username", "-username", "created", "-created", "-created,-username"] {
            let whole = names(&format!("order_by={order}")).unwrap();
            let (mut all, mut after) = (Vec::new(), String::new());
            for _ in 0..10 {
                let page = names(&format!("order_by={order}&limit=1&after={after}")).unwrap();
                if page.is_empty() {
                    break;
                }
                all.push(page.clone());
                after = page;
            }
            assert_eq!(all.join(" "), whole, "{order}");
        }
    }

    #[test]
    fn a_cursor_that_is_gone_still_works_where_its_name_says_enough() {
        assert_eq!(names("after=az").unwrap(), "bob carl");
        assert_eq!(names("after=BOB").unwrap(), "carl");
        assert_eq!(names("after=az&order_by=-username").unwrap(), "anna Zed");
        assert!(format!("{:?}", names("after=az&order_by=created").unwrap_err()).contains("400"));
    }

    #[test]
    fn a_limit_is_a_positive_number() {
        assert_eq!(names("limit=2").unwrap(), "Zed anna");
        assert_eq!(names("limit=99999999999999999999999").unwrap(), "Zed anna bob carl");
        assert_eq!(names("limit=").unwrap(), "Zed anna bob carl");
        for bad in ["limit=0", "limit=-1", "limit=x", "limit=1.5"] {
            assert!(format!("{:?}", names(bad).unwrap_err()).contains("400"), "{bad}");
        }
    }

    #[test]
    fn extended_implies_full() {
        let detail = |query| Detail::parse(&Params::from_query(Some(query))).map(|d| (d.full, d.extended));
        assert_eq!(detail("").unwrap(), (false, false));
        assert_eq!(detail("full").unwrap(), (false, false));
        assert_eq!(detail("full=True").unwrap(), (true, false));
        assert_eq!(detail("extended=1&full=0").unwrap(), (true, true));
        assert!(detail("full=no").is_err());
    }

    #[test]
    fn extended_is_plain_objects_or_nothing_where_it_adds_nothing() {
        let params = |query| Params::from_query(Some(query));
        let plain = Detail::parse(&params("extended=1")).unwrap().plain();
        assert_eq!((plain.full, plain.extended), (true, false));
        let full = |query| Detail::parse_full(&params(query)).map(|d| (d.full, d.extended));
        assert_eq!(full("extended=1").unwrap(), (false, false));
        assert_eq!(full("extended=1&full=1").unwrap(), (true, false));
        assert_eq!(full("extended=no").unwrap_err().text(), r#"{"extended":["Invalid value."]}"#);
    }
}
