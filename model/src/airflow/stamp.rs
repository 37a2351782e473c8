//! Times as log lines write them, read by hand because every line has one.
//!
//! A time without an offset is taken as UTC, which is what Airflow's images run in.

use serde_json::{Number, Value};

use crate::time::Timestamp;

/// Reads a time at the start of `text`: `2026-11-23T22:00:14.229+0000`, `2026-11-23 22:03:15.059328+00:00`,
/// `2026-11-23 22:00:11 +0000`, `2026-11-23 22:00:11,229`, `…Z`. Gives it with the length of its text.
pub(super) fn read(text: &[u8]) -> Option<(Timestamp, usize)> {
    let year = number(text, 0, 4)?;
    let month = number(text, 5, 2)?;
    let day = number(text, 8, 2)?;
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if marks.iter().any(|&(at, mark)| text.get(at) != Some(&mark))
        || !matches!(text.get(10), Some(b'T' | b' '))
    {
        return None;
    }
    let seconds = seconds_of_day(number(text, 11, 2)?, number(text, 14, 2)?, number(text, 17, 2)?)?;
    let mut at = 19;
    let mut nanos = 0;
    if matches!(text.get(at), Some(b'.' | b',')) && text.get(at + 1).is_some_and(u8::is_ascii_digit) {
        let digits = text.get(at + 1..)?.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits > 9 {
            return None;
        }
        nanos = number(text, at + 1, digits)? * 10_i64.pow(u32::try_from(9 - digits).ok()?);
        at += 1 + digits;
    }
    let (offset_seconds, offset_len) = offset(text.get(at..)?);
    let days = days_since_epoch(year, month, day)?;
    let time = moment(days, seconds - offset_seconds, nanos)?;
    Some((time, at + offset_len))
}

/// Reads a text that is a time and nothing else.
pub(super) fn whole(text: &str) -> Option<Timestamp> {
    read(text.as_bytes()).filter(|(_, len)| *len == text.len()).map(|(time, _)| time)
}

/// Reads a JSON value that is a time.
pub(super) fn of_json(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => of_text(text),
        Value::Number(n) => of_number(n),
        _ => None,
    }
}

/// Reads a text that is a time in one of the forms above, or in any of RFC 3339.
pub fn of_text(text: &str) -> Option<Timestamp> {
    whole(text).or_else(|| Timestamp::parse(text).ok())
}

/// Reads a number of s, ms, µs or ns since the epoch, by its size.
pub fn of_number(n: &Number) -> Option<Timestamp> {
    // Seconds until the year 5138, milliseconds until then, and so on: the ranges do not meet in our lives.
    if let Some(n) = n.as_i64() {
        let unit = match n {
            i64::MIN..100_000_000 => return None,
            100_000_000..100_000_000_000 => 1_000_000_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        return n.checked_mul(unit).map(Timestamp::from_nanos);
    }
    let text = n.to_string();
    let (whole, fraction) = text.split_once('.')?;
    let seconds: i64 = whole.parse().ok()?;
    if !(100_000_000..100_000_000_000).contains(&seconds) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.len().min(9);
    let nanos = number(fraction.as_bytes(), 0, digits)? * 10_i64.pow(u32::try_from(9 - digits).ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos).map(Timestamp::from_nanos)
}

/// Reads the time of an access log at the start of `text`: `23/Nov/2026:22:00:12 +0000`.
pub(super) fn access(text: &[u8]) -> Option<(Timestamp, usize)> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let marks = [(2, b'/'), (6, b'/'), (11, b':'), (14, b':'), (17, b':')];
    if marks.iter().any(|&(at, mark)| text.get(at) != Some(&mark)) {
        return None;
    }
    let name = text.get(3..6)?;
    let month = i64::try_from(MONTHS.iter().position(|m| *m == name)?).ok()? + 1;
    let days = days_since_epoch(number(text, 7, 4)?, month, number(text, 0, 2)?)?;
    let seconds = seconds_of_day(number(text, 12, 2)?, number(text, 15, 2)?, number(text, 18, 2)?)?;
    let (offset_seconds, offset_len) = offset(text.get(20..)?);
    Some((moment(days, seconds - offset_seconds, 0)?, 20 + offset_len))
}

/// The offset at the start of `text` in seconds, with the length of its text.
fn offset(text: &[u8]) -> (i64, usize) {
    if text.first() == Some(&b'Z') {
        return (0, 1);
    }
    if text.starts_with(b" UTC") {
        return (0, 4);
    }
    let space = usize::from(text.first() == Some(&b' '));
    let sign = match text.get(space) {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return (0, 0),
    };
    let colon = usize::from(text.get(space + 3) == Some(&b':'));
    match (number(text, space + 1, 2), number(text, space + 3 + colon, 2)) {
        (Some(hours), Some(minutes)) if hours < 24 && minutes < 60 => {
            (sign * (hours * 3_600 + minutes * 60), space + 5 + colon)
        }
        _ => (0, 0),
    }
}

fn moment(days: i64, seconds: i64, nanos: i64) -> Option<Timestamp> {
    let seconds = days.checked_mul(86_400)?.checked_add(seconds)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos).map(Timestamp::from_nanos)
}

fn seconds_of_day(hour: i64, minute: i64, second: i64) -> Option<i64> {
    // A leap second is counted as the next one, as everywhere.
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3_600 + minute * 60 + second)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar; months counted from March, so that the leap day
/// is the last of the year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468)
}

/// The decimal number of `len` digits at `at`.
fn number(text: &[u8], at: usize, len: usize) -> Option<i64> {
    text.get(at..at.checked_add(len)?)?
        .iter()
        .try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(whole(text), Some(Timestamp::parse(expected).unwrap()), "{text}");
    }

    #[test]
    fn the_forms_in_airflow_lines() {
        check("2026-11-23T22:00:14.229+0000", "2026-11-23T22:00:14.229Z");
        check("2026-11-23 22:03:15.059328+00:00", "2026-11-23T22:03:15.059328Z");
        check("2026-11-23T22:03:14.207690Z", "2026-11-23T22:03:14.207690Z");
        check("2026-11-23 22:00:11 +0000", "2026-11-23T22:00:11Z");
        check("2026-11-23 22:00:11,229", "2026-11-23T22:00:11.229Z");
        check("2026-11-23T22:00:14+0530", "2026-11-23T16:30:14Z");
        check("2024-02-29T00:00:00-01:00", "2024-02-29T01:00:00Z");
        for bad in ["2026-02-29T00:00:00Z", "2026-11-23", "2026-11-23T25:00:00Z", "", "2026-11-23T22:00:14Zx"]
        {
            assert_eq!(whole(bad), None, "{bad}");
        }
        let (time, len) = access(b"23/Nov/2026:22:00:12 +0000] \"GET").unwrap();
        assert_eq!((time, len), (Timestamp::parse("2026-11-23T22:00:12Z").unwrap(), 26));
    }

    #[test]
    fn numbers_by_their_size() {
        let want = Timestamp::parse("2026-11-23T22:00:14.5Z").unwrap();
        for n in [json!(1_795_471_214.5), json!(1_795_471_214_500_i64), json!(1_795_471_214_500_000_000_i64)]
        {
            assert_eq!(of_json(&n), Some(want), "{n}");
        }
        assert_eq!(of_json(&json!(5)), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_library(nanos in -9_000_000_000_000_000_000_i64..9_000_000_000_000_000_000) {
            let time = Timestamp::from_nanos(nanos);
            prop_assert_eq!(whole(&time.to_string()), Some(time));
        }

        #[test]
        fn never_panics(text in ".{0,60}", tail in "[0-9TZ:+ /-]{0,40}") {
            let bytes = text.as_bytes();
            let _ = (read(bytes), access(bytes), read(tail.as_bytes()), access(tail.as_bytes()));
        }
    }
}
