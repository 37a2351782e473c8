//! What both servers are asked: in the language of each, with what is right by the corpus' own bookkeeping.

use heliograph_model::level::Level;
use heliograph_model::tenant::TenantId;

use crate::corpus::Planted;
use crate::truth::Test;

/// What is wanted of the lines that are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// The latest so many of them.
    Latest(usize),
    /// How many they are.
    Count,
    /// How many in each five minutes.
    Histogram,
    /// The same for each level.
    LevelHistogram,
    /// The ten most frequent values of a field.
    Top(&'static str),
}

/// One question.
pub(crate) struct Question {
    pub(crate) name: &'static str,
    /// In our language.
    pub(crate) text: String,
    /// In LogsQL, without the tenant.
    pub(crate) logsql: String,
    /// Whose lines, where it is one tenant's.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) want: Want,
    /// What the lines have in common.
    pub(crate) test: Test,
}

/// What the questions are made of.
pub(crate) struct Inputs {
    pub(crate) planted: Planted,
    /// Of one task try.
    pub(crate) log_id: String,
    /// The largest.
    pub(crate) tenant: TenantId,
    /// Of a DAG's file.
    pub(crate) path: String,
}

/// In about every twentieth line.
pub(crate) const COMMON: &str = "rows";
const PHRASE: &str = "connection reset by peer";
/// A host that is met some dozens of times in a GiB.
const ADDRESS: &str = "10.25.8.1";
/// A person who is met some dozens of times in a GiB.
const PERSON: &str = "greta.kowalski";
const PAGE: Want = Want::Latest(100);

/// All questions, in the order of the table.
pub(crate) fn all(inputs: &Inputs) -> anyhow::Result<Vec<Question>> {
    let mut all = searches(inputs)?;
    all.extend(counts()?);
    Ok(all)
}

/// A word or phrase, which both languages write between quotes.
fn run(name: &'static str, text: &str, want: Want) -> Question {
    let quoted = format!("\"{text}\"");
    Question { name, text: quoted.clone(), logsql: quoted, tenant: None, want, test: Test::run(text) }
}

fn searches(inputs: &Inputs) -> anyhow::Result<Vec<Question>> {
    let Inputs { planted, log_id, tenant, path } = inputs;
    let question = |name, text: &str, logsql: &str, test| Question {
        name,
        text: text.to_owned(),
        logsql: logsql.to_owned(),
        tenant: None,
        want: PAGE,
        test,
    };
    let of_tenant = |question: Question| Question { tenant: Some(tenant.clone()), ..question };
    Ok(vec![
        run("needle: a uuid of one line", &planted.needle, PAGE),
        run("a uuid of ten lines", &planted.ten, PAGE),
        run("a uuid of no line", &planted.absent, PAGE),
        question(
            "an attribute's value, one line",
            &format!("trace_id:\"{}\"", planted.trace),
            &format!("trace_id:=\"{}\"", planted.trace),
            Test::Trace(planted.trace.clone()),
        ),
        run("rare word", planted.rare, PAGE),
        run("common word, latest 100", COMMON, PAGE),
        run("phrase, latest 100", PHRASE, PAGE),
        question(
            "two words, latest 100",
            "timed attempt",
            "\"timed\" \"attempt\"",
            Test::All(vec![Test::run("timed"), Test::run("attempt")]),
        ),
        of_tenant(question(
            "a tenant's errors, latest 100",
            "level:error",
            "level:=error",
            Test::Level(Level::Error),
        )),
        of_tenant(question("a tenant, latest 100", "", "", Test::Any)),
        Question {
            want: Want::Latest(1_000),
            ..question(
                "one task try (log_id)",
                &format!("log_id:\"{log_id}\""),
                &format!("log_id:=\"{log_id}\""),
                Test::LogId(log_id.clone()),
            )
        },
        run("ip address, latest 100", ADDRESS, PAGE),
        run("path, latest 100", path, PAGE),
        run("person, latest 100", PERSON, PAGE),
        question(
            "regex, latest 100",
            r"/took \d{4,}ms/",
            r"~`took \d{4,}ms`",
            Test::regex(r"took \d{4,}ms")?,
        ),
        question("substring, latest 100", "*ception*", "*ception*", Test::Contains("ception")),
    ])
}

fn counts() -> anyhow::Result<Vec<Question>> {
    let everything = |name, want| Question {
        name,
        text: String::new(),
        logsql: "*".to_owned(),
        tenant: None,
        want,
        test: Test::Any,
    };
    let count = |name, text: &str, logsql: &str, test| Question {
        name,
        text: text.to_owned(),
        logsql: logsql.to_owned(),
        tenant: None,
        want: Want::Count,
        test,
    };
    Ok(vec![
        run("count of a common word", COMMON, Want::Count),
        run("count of a phrase", PHRASE, Want::Count),
        count("count of a prefix", "blk_107*", "blk_107*", Test::Prefix("blk_107")),
        count(
            "count of a regex",
            r"/part-\d{3}77\.parquet/",
            r"~`part-\d{3}77\.parquet`",
            Test::regex(r"part-\d{3}77\.parquet")?,
        ),
        run("histogram of a common word, 5 min", COMMON, Want::Histogram),
        everything("histogram of all by level, 5 min", Want::LevelHistogram),
        everything("count by level", Want::Top("level")),
        everything("top 10 of dag_id", Want::Top("dag_id")),
        everything("top 10 of logger", Want::Top("logger")),
    ])
}
