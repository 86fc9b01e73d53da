//! From a path to a route. What there is to find is in `routes`.

use std::fmt::Write;
use std::sync::LazyLock;

use hyper::Method;
use hyper::header::HeaderValue;

use super::routes::{Handler, ROUTES, Route};
use super::{ApiError, Json};

/// A route, made ready to be matched and answered for.
pub(super) struct Endpoint {
    pub(super) route: &'static Route,
    segments: Vec<Segment>,
    pub(super) allow: HeaderValue,
    /// Under `/dc`: task ids say `d`.
    pub(super) in_dc: bool,
    /// Needs no credentials.
    pub(super) open: bool,
    /// The body of OPTIONS.
    pub(super) options: Json,
}

enum Segment {
    Literal(&'static str),
    /// `[A-Za-z0-9@.+_-]+`
    Wide,
    /// `[A-Za-z0-9._-]+`
    Narrow,
    /// `[A-Za-z0-9-]+`
    TaskId,
}

impl Segment {
    fn is_variable(&self) -> bool {
        !matches!(self, Self::Literal(_))
    }

    fn matches(&self, text: &str) -> bool {
        let word =
            |also: &[u8]| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b));
        match self {
            Self::Literal(literal) => text == *literal,
            Self::Wide => word(b"@.+_-"),
            Self::Narrow => word(b"._-"),
            Self::TaskId => word(b"-"),
        }
    }
}

static ENDPOINTS: LazyLock<Vec<Endpoint>> = LazyLock::new(|| ROUTES.iter().map(Endpoint::new).collect());

impl Endpoint {
    fn new(route: &'static Route) -> Self {
        let segment = |text| match text {
            "{user}" | "{title}" => Segment::Wide,
            "{group}" | "{permission}" | "{dc}" => Segment::Narrow,
            "{task}" => Segment::TaskId,
            literal => Segment::Literal(literal),
        };
        let mut allow = String::new();
        for (method, _) in route.methods {
            // Writing to a String can't fail.
            let _ = write!(allow, "{method}, ");
        }
        allow.push_str("OPTIONS");
        let options = serde_json::json!({
            "name": title(route.view),
            "description": route.about,
            "renders": ["application/json"],
            "parses": ["application/json"],
        });
        Self {
            route,
            segments: route.pattern.split('/').map(segment).collect(),
            allow: HeaderValue::from_str(&allow).unwrap_or(HeaderValue::from_static("OPTIONS")),
            in_dc: route.pattern.split('/').next() == Some("dc"),
            open: route.methods.iter().any(|(_, handler)| matches!(handler, Handler::Open(_))),
            options: Json::of(&options),
        }
    }

    /// # Errors
    /// 405 where the route has no such method.
    pub(super) fn handler(&self, method: &Method) -> Result<Handler, ApiError> {
        let found = self.route.methods.iter().find(|(m, _)| m == method);
        found.map(|(_, handler)| *handler).ok_or_else(|| ApiError::method_not_allowed(method))
    }
}

/// The endpoint for `path`, which is decoded and follows `/api/`, and the path's variable segments. One slash at the
/// end makes no difference.
pub(super) fn find(path: &str) -> Option<(&'static Endpoint, Vec<String>)> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let count = path.split('/').count();
    let matches = |endpoint: &&Endpoint| {
        endpoint.segments.len() == count && path.split('/').zip(&endpoint.segments).all(|(text, s)| s.matches(text))
    };
    let endpoint = ENDPOINTS.iter().find(matches)?;
    let variables = path.split('/').zip(&endpoint.segments).filter(|(_, segment)| segment.is_variable());
    Some((endpoint, variables.map(|(text, _)| text.to_owned()).collect()))
}

/// `user_manage` as `User Manage`.
fn title(view: &str) -> String {
    let mut out = String::with_capacity(view.len());
    for word in view.split('_') {
        if !out.is_empty() {
            out.push(' ');
        }
        let mut letters = word.chars();
        out.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(path: &str) -> Option<&'static str> {
        find(path).map(|(endpoint, _)| endpoint.route.view)
    }

    #[test]
    fn one_slash_at_the_end_makes_no_difference_and_two_do() {
        assert_eq!(view("accounts/login"), Some("api_login"));
        assert_eq!(view("accounts/login/"), Some("api_login"));
        for missing in ["accounts/login//", "accounts//login", "/accounts/login", "", "/", "accounts", "foo/ping/"] {
            assert_eq!(view(missing), None, "{missing:?}");
        }
    }

    #[test]
    fn literal_routes_come_before_variable_ones() {
        assert_eq!(view("task/log"), Some("task_log"));
        assert_eq!(view("accounts/user/profile"), Some("userprofile_list"));
        assert_eq!(view("accounts/user/bob@x/profile/"), Some("userprofile_manage"));
        assert_eq!(view("accounts/group/bob@x"), None);
        assert_eq!(view("task/a.b"), None);
        let (endpoint, args) = find("task/xyz/").unwrap();
        assert_eq!((endpoint.route.view, args), ("task_details", vec!["xyz".to_owned()]));
    }

    #[test]
    fn segments_take_their_characters_and_no_others() {
        for good in ["a", "A.b_c-9"] {
            assert!(Segment::Narrow.matches(good) && Segment::Wide.matches(good));
        }
        assert!(Segment::Wide.matches("bob+x@example") && !Segment::Narrow.matches("bob@x"));
        for bad in ["", "a b", "a\n", "ü", "a%", "a:b", "\0"] {
            assert!(!Segment::Narrow.matches(bad) && !Segment::Wide.matches(bad), "{bad:?}");
        }
    }

    #[test]
    fn patterns_are_well_formed_and_every_view_says_what_it_is() {
        for endpoint in ENDPOINTS.iter() {
            let Route { pattern, view, about, methods } = endpoint.route;
            let literal = |s: &Segment| matches!(s, Segment::Literal(l) if l.is_empty() || l.contains(['{', '}']));
            assert!(!endpoint.segments.iter().any(literal), "{pattern}");
            assert!(!methods.is_empty() && !about.is_empty() && !view.is_empty(), "{pattern}");
            assert!(endpoint.allow.to_str().unwrap().ends_with("OPTIONS"));
        }
    }

    #[test]
    fn options_shows_the_view_as_a_title() {
        assert_eq!(title("permission_manage"), "Permission Manage");
        assert_eq!(title("api_login"), "Api Login");
    }
}
