//! Query parameters: each at most once unless it may repeat, and none that is not known, so that a misspelt
//! `tenant` never reads more than was meant.

use std::str::FromStr;

use axum::extract::Query;
use heliograph_model::time::{TimeRange, Timestamp};
use http::Uri;

use crate::error::{Error, Result};

/// The parameters of a request that were not taken yet.
pub(super) struct Params {
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Params {
    /// Reads a request's query.
    pub(super) fn of(uri: &Uri) -> Result<Self> {
        let Query(left) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|e| Error::invalid(format!("the query parameters cannot be read: {e}")))?;
        Ok(Self { left, known: Vec::new() })
    }

    /// All values of a parameter that may repeat.
    pub(super) fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        self.left.extract_if(.., |(n, _)| n == name).map(|(_, value)| value).collect()
    }

    /// The value of a parameter.
    pub(super) fn one(&mut self, name: &'static str) -> Result<Option<String>> {
        let mut values = self.all(name).into_iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Error::invalid(format!("{name} is given twice"))),
        }
    }

    /// The value of a parameter that has a form, or a default.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &'static str, default: T, form: &str) -> Result<T> {
        match self.one(name)? {
            None => Ok(default),
            Some(text) => {
                text.parse().map_err(|_| Error::invalid_hint(format!("{name}={text:?} cannot be read"), form))
            }
        }
    }

    /// A switch; off where it is not given.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool> {
        self.parsed(name, false, &format!("{name} is true or false"))
    }

    /// A count within bounds.
    pub(super) fn count(
        &mut self,
        name: &'static str,
        default: usize,
        least: usize,
        most: usize,
    ) -> Result<usize> {
        let form = format!("{name} is a number from {least} to {most}");
        let count = self.parsed(name, default, &form)?;
        if (least..=most).contains(&count) {
            Ok(count)
        } else {
            Err(Error::invalid_hint(format!("{name}={count} is out of bounds"), form))
        }
    }

    /// Refuses what was not taken.
    pub(super) fn finish(self) -> Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid_hint(
                format!("there is no parameter {name:?} here"),
                format!("known are {}", self.known.join(", ")),
            )),
        }
    }
}

/// A time range as it was written: relative times count from the moment of the first page.
#[derive(Clone, Debug, Default)]
pub(super) struct RangeText {
    pub(super) start: Option<String>,
    pub(super) end: Option<String>,
}

impl RangeText {
    /// Takes `start` and `end`.
    pub(super) fn of(params: &mut Params) -> Result<Self> {
        Ok(Self { start: params.one("start")?, end: params.one("end")? })
    }

    /// The range, from the first moment inside to the first moment behind it.
    pub(super) fn resolve(&self, now: Timestamp) -> Result<TimeRange> {
        let at = |text: &Option<String>, open: Timestamp| match text {
            None => Ok(open),
            Some(text) => Timestamp::parse_relative(text, now).map_err(|e| Error::invalid(e.to_string())),
        };
        let range =
            TimeRange { start: at(&self.start, Timestamp::MIN)?, end: at(&self.end, Timestamp::MAX)? };
        if range.start > range.end {
            return Err(Error::invalid_hint("start lies behind end", "start comes first"));
        }
        Ok(range)
    }
}

/// Reads a query as a search does, for the fuzz targets.
#[cfg(feature = "fuzz")]
pub(crate) fn read(query: &[u8], now: Timestamp) -> Result<()> {
    let uri = Uri::try_from([b"/x?", query].concat()).map_err(|e| Error::invalid(e.to_string()))?;
    let mut params = Params::of(&uri)?;
    let given = params.left.len();
    let tenants = params.all("tenant").len();
    let text = params.one("q")?.unwrap_or_default();
    let range = RangeText::of(&mut params)?.resolve(now)?;
    let limit = params.count("limit", 1, 1, 10)?;
    let is_explained = params.flag("explain")?;
    params.finish()?;
    assert!(range.start <= range.end && (1..=10).contains(&limit));
    assert!(tenants + 5 >= given, "each but the tenant is there once: {given} {is_explained}");
    crate::tail::question(&text, range, now).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn known_ones_once() {
        let mut p = params("tenant=a&tenant=b&q=x%20y&limit=5");
        assert_eq!(p.all("tenant"), ["a", "b"]);
        assert_eq!(p.one("q").unwrap().as_deref(), Some("x y"));
        assert_eq!(p.count("limit", 100, 1, 10).unwrap(), 5);
        p.finish().unwrap();
    }

    #[test]
    fn others_are_refused() {
        let mut p = params("tennant=a");
        assert!(p.all("tenant").is_empty());
        assert!(p.finish().unwrap_err().to_string().contains("tennant"));
        assert!(params("q=a&q=b").one("q").is_err());
        assert!(params("limit=0").count("limit", 100, 1, 10).is_err());
        assert!(params("limit=11").count("limit", 100, 1, 10).is_err());
        assert!(params("limit=x").count("limit", 100, 1, 10).is_err());
    }

    #[test]
    fn ranges() {
        let now = Timestamp::from_nanos(3_600_000_000_000);
        let range = |query: &str| RangeText::of(&mut params(query)).unwrap().resolve(now);
        assert_eq!(range("").unwrap(), TimeRange::ALL);
        assert_eq!(range("start=now-1h").unwrap().start, Timestamp::from_nanos(0));
        assert!(range("start=now&end=now-1h").is_err());
        assert!(range("start=yesterday").is_err());
    }
}
