//! The line before a document: what to do with it.

use super::json::{Raw, members};

/// What a sender wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Index,
    Create,
    Update,
    Delete,
}

impl Verb {
    const ALL: [Self; 4] = [Self::Index, Self::Create, Self::Update, Self::Delete];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// Whether a line of its own follows.
    pub(super) const fn has_document(self) -> bool {
        !matches!(self, Self::Delete)
    }

    /// Whether we do it.
    pub(super) const fn is_taken(self) -> bool {
        matches!(self, Self::Index | Self::Create)
    }
}

/// An action as its line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action<'a> {
    pub(super) verb: Verb,
    /// The index, as JSON.
    pub(super) index: &'a str,
    /// The id, a text or a number, where there is one that is not empty.
    pub(super) id: Option<Raw<'a>>,
}

/// Reads actions. Most are the same as the one before.
pub(super) struct Actions<'a> {
    /// The index of actions that name none, as JSON.
    index: &'a str,
    last: Option<(&'a [u8], Action<'a>)>,
}

impl<'a> Actions<'a> {
    pub(super) fn new(index: &'a str) -> Self {
        Self { index, last: None }
    }

    /// Reads a line; if it is no action, what is wrong with it and what would be right.
    pub(super) fn read(&mut self, line: &'a [u8]) -> Result<Action<'a>, String> {
        if let Some((_, action)) = self.last.filter(|(last, _)| *last == line) {
            return Ok(action);
        }
        let action = parse(line, self.index)
            .map_err(|what| format!("{what}: send {{\"create\":{{}}}}, and the document on the next line"))?;
        self.last = Some((line, action));
        Ok(action)
    }
}

fn parse<'a>(line: &'a [u8], index: &'a str) -> Result<Action<'a>, String> {
    let line = std::str::from_utf8(line).map_err(|_| "the action is not UTF-8".to_owned())?;
    let (mut verb, mut body, mut count) = (None, None, 0);
    members(line, |key, value| {
        count += 1;
        verb = Verb::ALL.into_iter().find(|v| key.text().is_some_and(|key| key == v.as_str()));
        body = Some(value);
    })
    .map_err(|fault| {
        format!("the action is not a whole JSON object ({}, byte {})", fault.what, fault.at + 1)
    })?;
    let (Some(verb), Some(body), 1) = (verb, body, count) else {
        return Err("an action is one of index, create, update and delete alone".to_owned());
    };
    let mut action = Action { verb, index, id: None };
    members(body.0, |key, value| match key.0 {
        "\"_index\"" if value.is_text() => action.index = value.0,
        "\"_id\"" => action.id = Some(value).filter(is_id),
        _ => {}
    })
    .map_err(|_| format!("what follows {} is not an object", verb.as_str()))?;
    Ok(action)
}

fn is_id(value: &Raw<'_>) -> bool {
    value.is_number() || value.is_text() && value.0 != "\"\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: (Verb, &str, Option<&str>)) {
        let (verb, index, id) = (expected.0, expected.1, expected.2.map(Raw));
        assert_eq!(Actions::new("\"p\"").read(line.as_bytes()), Ok(Action { verb, index, id }), "{line}");
    }

    #[track_caller]
    fn check_bad(line: &[u8], expected: &str) {
        let said = Actions::new("\"p\"").read(line).unwrap_err();
        assert!(said.starts_with(expected), "{said}");
        assert!(said.ends_with("send {\"create\":{}}, and the document on the next line"), "{said}");
    }

    #[test]
    fn actions_as_clients_write_them() {
        check(r#"{"index":{"_index":"airflow-logs"}}"#, (Verb::Index, "\"airflow-logs\"", None));
        check(r#"{"create": {}}"#, (Verb::Create, "\"p\"", None));
        check(
            r#"{"create":{"_index":"a\"b","_id":"x","_type":"_doc","routing":7}}"#,
            (Verb::Create, r#""a\"b""#, Some("\"x\"")),
        );
        check(r#"{"create":{"_index": "syslog","_id":""}}"#, (Verb::Create, "\"syslog\"", None));
        check(r#"{"index":{"_index":null,"_id":null}}"#, (Verb::Index, "\"p\"", None));
        check(r#"{"delete":{"_index":"a","_id":"1"}}"#, (Verb::Delete, "\"a\"", Some("\"1\"")));
        check(r#"{"update":{"_id":1}}"#, (Verb::Update, "\"p\"", Some("1")));
    }

    #[test]
    fn what_is_no_action_says_what_would_be() {
        check_bad(br#"{"message":"x"}"#, "an action is one of");
        check_bad(br#"{"index":{},"create":{}}"#, "an action is one of");
        check_bad(b"{}", "an action is one of");
        check_bad(br#"{"index":7}"#, "what follows index is not an object");
        check_bad(b"[", "the action is not a whole JSON object (not a JSON object, byte 1)");
        check_bad(b"hello", "the action is not a whole JSON object");
        check_bad(b"\xff{}", "the action is not UTF-8");
    }

    #[test]
    fn a_repeated_line_is_the_same_action() {
        let mut actions = Actions::new("\"p\"");
        let [a, b] = [&br#"{"index":{"_id":"1"}}"#[..], br#"{"create":{}}"#];
        let read: Vec<_> = [a, a, b, a].map(|line| actions.read(line).unwrap().id.map(|id| id.0)).into();
        assert_eq!(read, [Some("\"1\""), Some("\"1\""), None, Some("\"1\"")]);
    }
}
