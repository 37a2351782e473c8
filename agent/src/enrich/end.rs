//! The end of a container as the last record of its log.

use std::sync::Arc;

use heliograph_model::level::Level;
use heliograph_model::record::{Attributes, Record};
use heliograph_model::source::Position;
use heliograph_model::time::Timestamp;
use serde_json::{Map, Value};

use super::Enricher;
use crate::pods::facts::{ContainerEnd, Pod};

/// Behind every line of its file: no file is that long.
const BEHIND_ALL_BYTES: u64 = (1 << 40) - 1;
/// What the shell makes of SIGTERM: somebody asked it to stop.
const TERMINATED: i32 = 143;

impl Enricher {
    /// The record of how the container ended, behind all of the source's `newest` file.
    pub(crate) fn end(&mut self, end: &ContainerEnd, newest: u32, now: Timestamp) -> Record {
        // The kubelet tells whole seconds, so that the last lines may seem to be later.
        let time = end.at.unwrap_or(now).min(now).max(self.last);
        self.last = time;
        Record {
            time,
            observed: now,
            position: Position::in_file(newest, BEHIND_ALL_BYTES),
            source: Arc::clone(&self.source),
            level: Some(level(end)),
            stream: None,
            identity: self.pod_task.clone().unwrap_or_default(),
            message: message(end).into(),
            attributes: attributes(end, self.pod.as_deref()),
        }
    }
}

/// As in `container worker ended: OOMKilled, exit code 137`.
fn message(end: &ContainerEnd) -> String {
    let mut text = format!("container {} ended: {}", end.container, end.reason);
    if let Some(code) = end.exit_code {
        text.push_str(&format!(", exit code {code}"));
    }
    if let Some(cause) = &end.cause {
        text.push_str(&format!(" ({cause})"));
    }
    text
}

fn level(end: &ContainerEnd) -> Level {
    match (&*end.reason, end.exit_code) {
        ("Completed", _) => Level::Info,
        ("Error", Some(TERMINATED)) => Level::Warning,
        _ => Level::Error,
    }
}

fn attributes(end: &ContainerEnd, pod: Option<&Pod>) -> Attributes {
    let mut map = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        map.extend(value.map(|value| (name.to_owned(), value)));
    };
    let text = |text: &Option<Box<str>>| text.as_deref().map(Value::from);
    put("event", Some("container_end".into()));
    put("exit_code", end.exit_code.map(Value::from));
    put("signal", end.signal.map(Value::from));
    put("reason", Some((&*end.reason).into()));
    put("restart_count", Some(end.number.into()));
    if let Some(pod) = pod {
        put("pod_phase", text(&pod.phase));
        put("pod_owner", text(&pod.owner));
        put("release", text(&pod.release));
        put("airflow_version", text(&pod.airflow_version));
    }
    Attributes::from_map(&map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reason: &str, exit_code: Option<i32>, cause: Option<&str>, expected: (&str, Level)) {
        let end = ContainerEnd {
            container: "worker".into(),
            number: 3,
            exit_code,
            signal: None,
            reason: reason.into(),
            cause: cause.map(Into::into),
            at: None,
        };
        assert_eq!((message(&end).as_str(), level(&end)), expected);
        let attributes: Value = serde_json::from_str(attributes(&end, None).as_json()).unwrap();
        assert_eq!(
            (attributes["reason"].as_str(), attributes["restart_count"].as_u64()),
            (Some(reason), Some(3))
        );
    }

    #[test]
    fn messages_and_levels() {
        check("Completed", Some(0), None, ("container worker ended: Completed, exit code 0", Level::Info));
        check("Error", Some(1), None, ("container worker ended: Error, exit code 1", Level::Error));
        check("Error", Some(143), None, ("container worker ended: Error, exit code 143", Level::Warning));
        check(
            "OOMKilled",
            Some(137),
            None,
            ("container worker ended: OOMKilled, exit code 137", Level::Error),
        );
        check(
            "Evicted",
            Some(137),
            Some("node was low on memory"),
            ("container worker ended: Evicted, exit code 137 (node was low on memory)", Level::Error),
        );
        check(
            "ContainerStatusUnknown",
            None,
            None,
            ("container worker ended: ContainerStatusUnknown", Level::Error),
        );
    }
}
