//! Reads out of a request's head who asks.

use data_encoding::BASE64;

/// A request, as far as it matters who may read its answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Which one of its connection, from 1.
    pub(super) number: u64,
    /// Method and path, without the query: that may hold what somebody seeks.
    pub(super) line: String,
    /// All that may be a credential.
    pub(super) credentials: Vec<String>,
}

impl Asked {
    /// The next request of a connection, with this head.
    pub(super) fn next(&self, head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let line = format!("{method} {}", target.split('?').next().unwrap_or_default());
        let mut asked = Self { number: self.number + 1, line, credentials: Vec::new() };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            asked.credentials.push(value.to_owned());
            match name.to_ascii_lowercase().as_str() {
                "authorization" => asked.credentials.extend(of_authorization(value)),
                "cookie" => {
                    let pairs = value.split(';').filter_map(|pair| pair.split_once('='));
                    asked.credentials.extend(pairs.map(|(_, value)| value.to_owned()));
                }
                _ => {}
            }
        }
        asked
    }
}

fn of_authorization(value: &str) -> Vec<String> {
    let Some((scheme, rest)) = value.split_once(' ') else { return Vec::new() };
    if !scheme.eq_ignore_ascii_case("basic") {
        return vec![rest.to_owned()];
    }
    let decoded = BASE64.decode(rest.as_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&decoded);
    text.split_once(':').map_or_else(Vec::new, |(user, secret)| vec![user.to_owned(), secret.to_owned()])
}
