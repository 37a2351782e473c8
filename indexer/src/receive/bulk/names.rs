//! The names that fields have in documents, and the values found under them.

use super::json::Raw;

macro_rules! names {
    ($($name:ident = $text:literal,)*) => {
        /// A name that means something to us.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Name { $($name,)* }

        impl Name {
            pub(super) const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            fn find(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

names! {
    AtTimestamp = "@timestamp", Timestamp = "timestamp", Asctime = "asctime", Time = "time", Ts = "ts",
    Message = "message", Event = "event", Log = "log", Msg = "msg",
    Level = "level", Levelname = "levelname", Severity = "severity", LogLevel = "log.level",
    Stream = "stream",
    Component = "component", Namespace = "namespace", Pod = "pod", Container = "container", Node = "node",
    Kubernetes = "kubernetes",
    DagId = "dag_id", TaskId = "task_id", RunId = "run_id", MapIndex = "map_index", TryNumber = "try_number",
    LogId = "log_id", ExecutionDate = "execution_date",
    PythonLogger = "name", LogLogger = "log.logger", Logger = "logger",
    ErrorDetail = "error_detail", Exception = "exception", ExcInfo = "exc_info", StackTrace = "stack_trace",
    Traceback = "traceback",
}

/// Names of the time; the first that can be read counts.
pub(super) const TIMES: [Name; 5] = [Name::AtTimestamp, Name::Timestamp, Name::Asctime, Name::Time, Name::Ts];
/// Names of the message; the first that is a text counts.
pub(super) const MESSAGES: [Name; 4] = [Name::Message, Name::Event, Name::Log, Name::Msg];
/// Names of the level; the first that is one counts.
pub(super) const LEVELS: [Name; 4] = [Name::Level, Name::Levelname, Name::Severity, Name::LogLevel];
/// What tells one source from another.
pub(super) const SOURCE: [Name; 6] =
    [Name::Component, Name::Namespace, Name::Pod, Name::Container, Name::Node, Name::Kubernetes];
/// What tells one identity from another; of several loggers the last counts.
pub(super) const IDENTITY: [Name; 10] = [
    Name::DagId,
    Name::TaskId,
    Name::RunId,
    Name::MapIndex,
    Name::TryNumber,
    Name::LogId,
    Name::ExecutionDate,
    Name::PythonLogger,
    Name::LogLogger,
    Name::Logger,
];
/// Where exceptions are, whose text belongs to the message.
pub(super) const EXCEPTIONS: [Name; 5] =
    [Name::ErrorDetail, Name::Exception, Name::ExcInfo, Name::StackTrace, Name::Traceback];

/// The values of one document that stand under known names.
pub(super) struct Known<'a>([Option<Raw<'a>>; Name::ALL.len()]);

impl<'a> Known<'a> {
    pub(super) const fn new() -> Self {
        Self([None; Name::ALL.len()])
    }

    /// Keeps the value if the key, as written, is a known name. Of equal keys the last counts.
    pub(super) fn keep(&mut self, key: Raw<'a>, value: Raw<'a>) -> bool {
        let name = key.0.strip_prefix('"').and_then(|key| Name::find(key.strip_suffix('"')?));
        match name.and_then(|name| self.0.get_mut(name as usize)) {
            Some(slot) => {
                *slot = Some(value);
                true
            }
            None => false,
        }
    }

    pub(super) fn get(&self, name: Name) -> Option<Raw<'a>> {
        self.0.get(name as usize).copied().flatten()
    }

    /// Takes the first of `names` that can be read as something.
    pub(super) fn take<T>(
        &mut self,
        names: &[Name],
        read: impl Fn(Raw<'a>) -> Option<T>,
    ) -> Option<(Name, T)> {
        let (name, found) = names.iter().find_map(|name| Some((*name, read(self.get(*name)?)?)))?;
        self.drop(name);
        Some((name, found))
    }

    /// Takes a value away: it is somewhere else now.
    pub(super) fn drop(&mut self, name: Name) {
        if let Some(slot) = self.0.get_mut(name as usize) {
            *slot = None;
        }
    }

    /// What was not taken.
    pub(super) fn left(&self) -> impl Iterator<Item = (Name, Raw<'a>)> {
        Name::ALL.into_iter().zip(&self.0).filter_map(|(name, value)| Some((name, (*value)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again() {
        for (i, name) in Name::ALL.into_iter().enumerate() {
            assert_eq!((name as usize, Name::find(name.as_str())), (i, Some(name)));
        }
        assert_eq!(Name::find("offset"), None);
        assert_eq!(EXCEPTIONS.map(Name::as_str), heliograph_model::airflow::EXCEPTIONS);
    }
}
