//! The default rules: what well-known credentials look like.
//!
//! Each names the literals that a secret of it begins with or has before it, and what follows. Runs without a bound
//! are of letters that no anchor of the rule has in it, or end in a match that is then passed over, so that a text made
//! on purpose does not take more than a few looks at each byte.

use std::ops::Range;

use regex::{Regex, RegexBuilder};

use super::assignment::{self, Wanted, is_mixed};
use super::url;
use crate::error::{Error, Result};

/// A text that is looked at.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    /// The text; of an attribute its key, `=`, its value.
    pub(super) text: &'a str,
    /// Where the attribute's value begins; 0 in other texts.
    pub(super) value_at: usize,
}

/// A default rule, ready to be used.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) anchors: &'static [&'static str],
    begins: Begins,
    shape: Shape,
}

/// What may stand before an anchor.
#[derive(Clone, Copy)]
enum Begins {
    Anywhere,
    /// No letter or digit.
    Apart,
    /// Nothing that a token is made of.
    Alone,
}

/// What is at an anchor.
enum Shape {
    /// The first group of a match, if it has one; the check is of that.
    Pattern(Regex, fn(&str) -> bool),
    Url,
    Assigned(Wanted),
}

/// A rule as it is written below.
struct Written {
    name: &'static str,
    anchors: &'static [&'static str],
    begins: Begins,
    shape: WrittenShape,
}

enum WrittenShape {
    Pattern(&'static str),
    Checked(&'static str, fn(&str) -> bool),
    Url,
    Assigned(Wanted),
}

/// Between a name and its value: `=` or `:`, with quotes as JSON, Python or a shell have them.
macro_rules! is {
    () => {
        r#"\\*["']?\s*[=:]\s*\\*["']?"#
    };
}

const RULES: [Written; 24] = [
    pattern(
        "aws-access-key-id",
        &["AKIA", "ASIA"],
        Begins::Apart,
        r"((?:AKIA|ASIA)[A-Z0-9]{16})(?:[^A-Za-z0-9]|$)",
    ),
    pattern(
        "aws-secret-key",
        SECRET,
        Begins::Anywhere,
        concat!(r"(?i:secret[_-]?access[_-]?key)", is!(), r"([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)"),
    ),
    pattern("gcp-api-key", &["AIza"], Begins::Apart, r"(AIza[0-9A-Za-z_-]{35})(?:[^0-9A-Za-z_-]|$)"),
    pattern("gcp-access-token", &["ya29."], Begins::Apart, r"ya29\.[0-9A-Za-z_-]{20,}"),
    pattern(
        "azure-account-key",
        &["AccountKey", "SharedAccessKey"],
        Begins::Anywhere,
        concat!("(?:AccountKey|SharedAccessKey)", is!(), "([A-Za-z0-9+/]{40,100}={0,2})"),
    ),
    pattern("azure-sas-signature", &["sig="], Begins::Apart, "sig=([A-Za-z0-9%/+]{40,200}=?)"),
    pattern(
        "github-token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        Begins::Apart,
        "(?:gh[pousr]_[A-Za-z0-9_]{36,}|github_pat_[A-Za-z0-9_]{50,})",
    ),
    pattern("gitlab-token", &["glpat-"], Begins::Apart, "glpat-[A-Za-z0-9_.-]{20,}"),
    pattern(
        "slack-token",
        &["xoxa", "xoxb", "xoxe", "xoxp", "xoxr", "xoxs"],
        Begins::Apart,
        r"xox[abeprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}",
    ),
    pattern(
        "slack-webhook",
        &["hooks.slack.com"],
        Begins::Anywhere,
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9_/-]{20,})",
    ),
    pattern("stripe-key", &["sk_live_", "rk_live_"], Begins::Apart, "[sr]k_live_[A-Za-z0-9]{16,}"),
    pattern("npm-token", &["npm_"], Begins::Apart, "npm_[A-Za-z0-9]{36,}"),
    pattern("pypi-token", &["pypi-Ag"], Begins::Apart, "pypi-Ag[A-Za-z0-9_-]{50,}"),
    pattern("heliograph-token", &["hg_"], Begins::Apart, "hg_[0-9a-f]{12}_[A-Za-z0-9_-]{43}"),
    pattern("jwt", &["eyJ"], Begins::Alone, r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{10,}"),
    // Up to its end where that is there: a body has no two hyphens. Else all lines that look like its body.
    pattern(
        "private-key",
        &["BEGIN "],
        Begins::Anywhere,
        concat!(
            r"BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----(?:",
            r"((?:[^-]|-[^-])*[A-Za-z0-9+/]{16}(?:[^-]|-[^-])*)-----END|",
            r#"((?:(?:\s|\\+[nrt])*(?:Proc-Type|DEK-Info): [^\s\\]+)*"#,
            r#"(?:(?:\s|\\+[nrt]|["',])*[A-Za-z0-9+/]{16,}={0,2})+"#,
            r#"(?:(?:\s|\\+[nrt]|["',])*[A-Za-z0-9+/]{1,15}={1,2})?))"#,
        ),
    ),
    checked(
        "authorization-header",
        &["authorization", "Authorization", "AUTHORIZATION"],
        concat!("(?i:authorization)", is!(), r"(?i:bearer|basic|apikey|token)\s+([A-Za-z0-9._~+/-]{6,}=*)"),
        is_mixed,
    ),
    Written { name: "url-password", anchors: &["://"], begins: Begins::Anywhere, shape: WrittenShape::Url },
    // The password of a connection's URI is that of a URL; its query holds whatever else is secret.
    pattern(
        "airflow-connection",
        &["AIRFLOW_CONN_"],
        Begins::Anywhere,
        concat!("AIRFLOW_CONN_[A-Za-z0-9_]{1,100}", is!(), r#"[!#-&(->@-~]{0,300}\?([^\s"'<>]+)"#),
    ),
    pattern(
        "fernet-key",
        &["fernet", "Fernet", "FERNET"],
        Begins::Anywhere,
        concat!("(?i:fernet[_-]?keys?)", is!(), r"([A-Za-z0-9_-]{43}=(?:\s*,\s*[A-Za-z0-9_-]{43}=)*)"),
    ),
    assigned(
        "password",
        &["password", "Password", "PASSWORD", "passwd", "Passwd", "PASSWD", "passphrase"],
        Wanted::Password,
    ),
    assigned("secret", SECRET, Wanted::Random { may_be_key: true }),
    assigned(
        "api-key",
        &["api_key", "apikey", "api-key", "apiKey", "ApiKey", "Api-Key", "API_KEY", "APIKEY"],
        Wanted::Random { may_be_key: false },
    ),
    assigned("token", &["token", "Token", "TOKEN"], Wanted::Random { may_be_key: false }),
];

const SECRET: &[&str] = &["secret", "Secret", "SECRET"];

const fn pattern(
    name: &'static str,
    anchors: &'static [&'static str],
    begins: Begins,
    pattern: &'static str,
) -> Written {
    Written { name, anchors, begins, shape: WrittenShape::Pattern(pattern) }
}

const fn checked(
    name: &'static str,
    anchors: &'static [&'static str],
    pattern: &'static str,
    check: fn(&str) -> bool,
) -> Written {
    Written { name, anchors, begins: Begins::Anywhere, shape: WrittenShape::Checked(pattern, check) }
}

const fn assigned(name: &'static str, anchors: &'static [&'static str], wanted: Wanted) -> Written {
    Written { name, anchors, begins: Begins::Anywhere, shape: WrittenShape::Assigned(wanted) }
}

/// The names of all default rules.
pub fn names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.name)
}

/// Compiles the rules that are wanted.
pub(super) fn compile(is_wanted: impl Fn(&str) -> bool) -> Result<Vec<Rule>> {
    RULES.iter().filter(|rule| is_wanted(rule.name)).map(Written::compile).collect()
}

impl Written {
    fn compile(&self) -> Result<Rule> {
        let compile = |pattern: &str| {
            let built = RegexBuilder::new(&format!("^(?:{pattern})")).size_limit(1 << 20).build();
            built.map_err(|e| Error::Pattern { pattern: self.name.to_owned(), reason: e.to_string() })
        };
        let shape = match self.shape {
            WrittenShape::Pattern(pattern) => Shape::Pattern(compile(pattern)?, |_| true),
            WrittenShape::Checked(pattern, check) => Shape::Pattern(compile(pattern)?, check),
            WrittenShape::Url => Shape::Url,
            WrittenShape::Assigned(wanted) => Shape::Assigned(wanted),
        };
        Ok(Rule { name: self.name, anchors: self.anchors, begins: self.begins, shape })
    }
}

impl Rule {
    /// The secret of this kind at an anchor.
    pub(super) fn secret(&self, text: Text<'_>, anchor: Range<usize>) -> Option<Range<usize>> {
        let before = text.text.get(..anchor.start)?.as_bytes().last();
        let is_apart = match self.begins {
            Begins::Anywhere => true,
            Begins::Apart => before.is_none_or(|b| !b.is_ascii_alphanumeric()),
            Begins::Alone => {
                before.is_none_or(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'_' | b'-' | b'.'))
            }
        };
        if !is_apart {
            return None;
        }
        match &self.shape {
            Shape::Pattern(pattern, check) => {
                let found = pattern.captures(text.text.get(anchor.start..)?)?;
                let secret = found.iter().skip(1).flatten().next().or(found.get(0))?;
                check(secret.as_str()).then_some(anchor.start + secret.start()..anchor.start + secret.end())
            }
            Shape::Url => url::password(text.text, anchor.end),
            Shape::Assigned(wanted) => assignment::find(text, anchor, *wanted),
        }
    }
}
