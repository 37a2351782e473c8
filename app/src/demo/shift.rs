//! Moves every time that a line of Airflow says, in whatever form, and leaves all else as it was.
//!
//! Run ids, `log_id`s and ids of task instances hold times too: moved with the rest, each replay is a run of
//! its own.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Longest time of all forms, in bytes.
const FORM_BYTES_MAX: usize = 64;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The text with each time replaced by what `moved` makes of it, both in nanoseconds since the epoch. Where
/// `moved` gives none, the time stays.
pub(super) fn shift(text: &str, moved: &impl Fn(i64) -> Option<i64>) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut copied = 0;
    let mut at = 0;
    while let Some((place, found)) = next(text, at) {
        at = place + found.len;
        if let Some(replacement) = moved(found.nanos).and_then(|nanos| found.form.write(nanos)) {
            out.push_str(text.get(copied..place).unwrap_or_default());
            out.push_str(&replacement);
            copied = at;
        }
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// The first time that the text says.
pub(super) fn first(text: &str) -> Option<i64> {
    next(text, 0).map(|(_, found)| found.nanos)
}

/// The next time in `text` at or behind `from`, and where it stands.
fn next(text: &str, from: usize) -> Option<(usize, Found)> {
    let mut before = from.checked_sub(1).and_then(|i| text.as_bytes().get(i)).copied().unwrap_or(b' ');
    for (i, &b) in text.as_bytes().get(from..)?.iter().enumerate() {
        // A time is no part of a longer number.
        if b.is_ascii_hexdigit() && !before.is_ascii_hexdigit() {
            let rest = text.get(from + i..)?;
            let found = if before == b'(' { python(rest).or_else(|| found(rest)) } else { found(rest) };
            if let Some(found) = found {
                return Some((from + i, found));
            }
        }
        before = b;
    }
    None
}

/// How a time was written.
enum Form {
    /// `2026-11-23T22:00:14.229`; also with a space, a comma, `%3A` for the colons.
    Iso { separator: char, colon: &'static str, fraction: Fraction },
    /// `20261123T220313`.
    Compact,
    /// `2026_11_23T22_03_13_957608`.
    Cleaned,
    /// `23/Nov/2026:22:00:12`.
    Access,
    /// The numbers of `datetime(2026, 11, 23, 22, 3, 49, 733748, …`: so many of them.
    Python { numbers: usize },
    /// Nanoseconds since the epoch, in 19 digits.
    Nanoseconds,
    /// The first 12 hex digits of a UUID of version 7, a `-` among them.
    Uuid,
}

struct Fraction {
    mark: char,
    digits: usize,
}

struct Found {
    len: usize,
    nanos: i64,
    form: Form,
}

/// A time at the start of `text`.
fn found(text: &str) -> Option<Found> {
    let near = text.get(..FORM_BYTES_MAX).unwrap_or(text);
    let by_number = || iso(near).or_else(|| compact(near)).or_else(|| cleaned(near));
    near.starts_with(|c: char| c.is_ascii_digit())
        .then(|| by_number().or_else(|| access(near)).or_else(|| nanoseconds(near)))
        .flatten()
        .or_else(|| uuid(near))
}

impl Form {
    fn write(&self, nanos: i64) -> Option<String> {
        let time = TimeZone::UTC.to_datetime(jiff::Timestamp::from_nanosecond(i128::from(nanos)).ok()?);
        let (year, month, day) = (time.year(), time.month(), time.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let nanosecond = format!("{:09}", time.subsec_nanosecond());
        let micros = nanosecond.get(..6)?;
        Some(match self {
            Self::Iso { separator, colon, fraction } => {
                let mut text = format!(
                    "{year:04}-{month:02}-{day:02}{separator}{hour:02}{colon}{minute:02}{colon}{second:02}"
                );
                if fraction.digits > 0 {
                    text.push(fraction.mark);
                    text.push_str(nanosecond.get(..fraction.digits)?);
                }
                text
            }
            Self::Compact => format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}"),
            Self::Cleaned => {
                format!("{year:04}_{month:02}_{day:02}T{hour:02}_{minute:02}_{second:02}_{micros}")
            }
            Self::Access => {
                let month = MONTHS.get(usize::try_from(month - 1).ok()?)?;
                format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02}")
            }
            Self::Python { numbers } => {
                let micros: u32 = micros.parse().ok()?;
                let all = [
                    year.to_string(),
                    month.to_string(),
                    day.to_string(),
                    hour.to_string(),
                    minute.to_string(),
                    second.to_string(),
                    micros.to_string(),
                ];
                all.get(..*numbers)?.join(", ")
            }
            Self::Nanoseconds => format!("{nanos:019}"),
            Self::Uuid => {
                let hex = format!("{:012x}", nanos.div_euclid(1_000_000));
                format!("{}-{}", hex.get(..8)?, hex.get(8..)?)
            }
        })
    }
}

fn iso(text: &str) -> Option<Found> {
    let (date, rest) = text.split_at_checked(10)?;
    let separator = rest.chars().next().filter(|c| matches!(c, 'T' | ' '))?;
    let [year, month, day] = numbers(date, '-')?;
    let rest = rest.get(1..)?;
    let colon = if rest.get(2..5) == Some("%3A") { "%3A" } else { ":" };
    let width = 6 + 2 * colon.len();
    let [hour, minute, second] = {
        let clock = rest.get(..width)?.replace("%3A", ":");
        numbers(&clock, ':')?
    };
    let tail = rest.get(width..)?;
    let mark = tail.chars().next().filter(|c| matches!(c, '.' | ','));
    let digits = mark.map_or(0, |_| tail.bytes().skip(1).take_while(u8::is_ascii_digit).count());
    let fraction = if (1..=9).contains(&digits) { tail.get(1..=digits)? } else { "" };
    let nanos = nanos([year, month, day, hour, minute, second], fraction)?;
    let len = 11 + width + if fraction.is_empty() { 0 } else { 1 + digits };
    let fraction = Fraction { mark: mark.unwrap_or('.'), digits: fraction.len() };
    Some(Found { len, nanos, form: Form::Iso { separator, colon, fraction } })
}

fn compact(text: &str) -> Option<Found> {
    let (date, clock) = text.get(..15)?.split_once('T')?;
    let part = |of: &str, from: usize, to: usize| of.get(from..to).and_then(digits);
    let parts = [
        part(date, 0, 4)?,
        part(date, 4, 6)?,
        part(date, 6, 8)?,
        part(clock, 0, 2)?,
        part(clock, 2, 4)?,
        part(clock, 4, 6)?,
    ];
    Some(Found { len: 15, nanos: nanos(parts, "")?, form: Form::Compact })
}

fn cleaned(text: &str) -> Option<Found> {
    let (date, clock) = text.get(..26)?.split_once('T')?;
    let [year, month, day] = numbers(date, '_')?;
    let (clock, micros) = clock.split_at_checked(8)?;
    let [hour, minute, second] = numbers(clock, '_')?;
    let micros = micros.strip_prefix('_').filter(|m| m.len() == 6)?;
    let nanos = nanos([year, month, day, hour, minute, second], micros)?;
    Some(Found { len: 26, nanos, form: Form::Cleaned })
}

fn access(text: &str) -> Option<Found> {
    let (date, clock) = text.get(..20)?.split_once(':')?;
    let mut parts = date.split('/');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|m| *m == month)? + 1;
    let [hour, minute, second] = numbers(clock, ':')?;
    let nanos = nanos([digits(year)?, i16::try_from(month).ok()?, digits(day)?, hour, minute, second], "")?;
    Some(Found { len: 20, nanos, form: Form::Access })
}

fn python(text: &str) -> Option<Found> {
    let inner = text.get(..FORM_BYTES_MAX).unwrap_or(text);
    let mut parts = [0_i16; 6];
    let (mut len, mut count, mut micros) = (0, 0, String::new());
    for piece in inner.split(", ") {
        let number = piece.strip_suffix(')').unwrap_or(piece);
        if number.is_empty() || number.len() > 6 || !number.bytes().all(|b| b.is_ascii_digit()) || count == 7
        {
            break;
        }
        match parts.get_mut(count) {
            Some(part) => *part = number.parse().ok()?,
            None => micros = format!("{number:0>6}"),
        }
        len += number.len() + if count > 0 { 2 } else { 0 };
        count += 1;
        if piece.ends_with(')') {
            break;
        }
    }
    let nanos = nanos(parts, &micros)?;
    (count >= 5 && parts.first() > Some(&1999)).then_some(Found {
        len,
        nanos,
        form: Form::Python { numbers: count },
    })
}

fn nanoseconds(text: &str) -> Option<Found> {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    let nanos = text.get(..len).filter(|_| len == 19)?.parse().ok()?;
    Some(Found { len, nanos, form: Form::Nanoseconds })
}

fn uuid(text: &str) -> Option<Found> {
    let uuid = text.get(..36)?;
    let shape = uuid.bytes().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => b == b'-',
        14 => b == b'7',
        _ => b.is_ascii_hexdigit(),
    });
    let millis = i64::from_str_radix(&uuid.get(..13)?.replace('-', ""), 16).ok().filter(|_| shape)?;
    Some(Found { len: 13, nanos: millis.checked_mul(1_000_000)?, form: Form::Uuid })
}

/// Three numbers of two digits (the first of four, in a date), with `separator` between them.
fn numbers(text: &str, separator: char) -> Option<[i16; 3]> {
    let mut parts = text.split(separator);
    let found = [digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?];
    parts.next().is_none().then_some(found)
}

fn digits(text: &str) -> Option<i16> {
    (matches!(text.len(), 2 | 4) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn nanos([year, month, day, hour, minute, second]: [i16; 6], fraction: &str) -> Option<i64> {
    let small = |n: i16| i8::try_from(n).ok();
    let subsec = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    let time =
        DateTime::new(year, small(month)?, small(day)?, small(hour)?, small(minute)?, small(second)?, subsec)
            .ok()?;
    let time = TimeZone::UTC.to_timestamp(time).ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One day, one hour, one minute, one second and a microsecond later.
    const BY: i64 = (86_400 + 3_600 + 60 + 1) * 1_000_000_000 + 1_000;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let year_2026 = 1_767_225_600_000_000_000..1_798_761_600_000_000_000;
        let moved = |nanos: i64| year_2026.contains(&nanos).then_some(nanos + BY);
        assert_eq!(shift(text, &moved), expected);
        assert_eq!(shift(text, &|_| None), text);
    }

    #[test]
    fn every_form_in_the_samples() {
        check("2026-11-23T21:59:34.455999933Z stderr F text", "2026-11-24T23:00:35.456000933Z stderr F text");
        check("[2026-11-23T22:08:09.523+0000] {x.py:1}", "[2026-11-24T23:09:10.523+0000] {x.py:1}");
        check("2026-11-23 22:03:15.059328+00:00 [info", "2026-11-24 23:04:16.059329+00:00 [info");
        check("[2026-11-23 22:00:11 +0000] [3544]", "[2026-11-24 23:01:12 +0000] [3544]");
        check("- [23/Nov/2026:22:00:12 +0000] \"GET", "- [24/Nov/2026:23:01:13 +0000] \"GET");
        check("\"asctime\": \"2026-11-23T22:00:12,001\"", "\"asctime\": \"2026-11-24T23:01:13,001\"");
        check("2026_11_23T22_04_07_663006", "2026_11_24T23_05_08_663007");
        check("execution_date=20261123T221844,", "execution_date=20261124T231945,");
        check("\"offset\": 1795471396012523008,", "\"offset\": 1795561457012524008,");
        check(
            "t_a-b-manual__2026-11-23T22:13:52.753270+00:00--1-1",
            "t_a-b-manual__2026-11-24T23:14:53.753271+00:00--1-1",
        );
        check(
            "/manual__2026-11-23T22%3A07%3A43.140159%2B00%3A00 HTTP",
            "/manual__2026-11-24T23%3A08%3A44.140160%2B00%3A00 HTTP",
        );
        check(
            "datetime.datetime(2026, 11, 23, 22, 3, 49, 733748, tzinfo=x)",
            "datetime.datetime(2026, 11, 24, 23, 4, 50, 733749, tzinfo=x)",
        );
        check("DateTime(2026, 11, 23, 22, 4, 16, 67561)", "DateTime(2026, 11, 24, 23, 5, 17, 67562)");
        check("ti_id=01a20a6e-1025-735d-a11d-4a042c0c22f4", "ti_id=01a20fcc-48ed-735d-a11d-4a042c0c22f4");
        check("0.33s            2026-11-23T22:01:48", "0.33s            2026-11-24T23:02:49");
        check(
            "a/run_id=manual__2026-11-23T22:04:22.831269+00:00/b",
            "a/run_id=manual__2026-11-24T23:05:23.831270+00:00/b",
        );
    }

    #[test]
    fn all_else_stays() {
        for text in [
            "s3://bucket/data/date=2024-01-07/part-12302.parquet rows=8184876",
            "12026-11-23T22:08:09",
            "2026-13-23T22:08:09",
            "2024-11-23T22:08:09",
            "Node(2026, 1)",
            "f(2026, 11, 23)",
            "a10d7e3c-3c1f-4b1a-9c3e-5f6a7b8c9d0e",
            "12345678901234567890",
            "日本 ::group:: 0.3494500883866837",
            "",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn the_first_time_is_found() {
        assert_eq!(
            first("a {\"timestamp\":\"1970-01-01T00:00:01Z\"} 1970-01-02T00:00:00Z"),
            Some(1_000_000_000)
        );
        assert_eq!(first("none"), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>(), near in "[0-9a-f(), :T_/%A.Nov-]{0,80}") {
            for text in [text, near] {
                prop_assert_eq!(shift(&text, &|_| None), text.clone());
                let _ = (shift(&text, &|n| n.checked_add(BY)), first(&text));
            }
        }
    }
}
