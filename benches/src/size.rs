//! Sizes and counts as people write and read them.

/// Reads `64MiB`, `1 GiB`, `4096`.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let size: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        unit => return Err(format!("unknown unit {unit:?}: B, KiB, MiB, GiB")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is not a size like 64MiB"))?;
    number.checked_mul(size).ok_or_else(|| format!("{text:?} is too much"))
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "figures to be read have few digits")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    float(bytes) / float(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("64MiB"), Ok(64 << 20));
        assert_eq!(parse("1 GiB"), Ok(1 << 30));
        assert!(parse("1 GB").is_err() && parse("x").is_err() && parse("").is_err());
    }
}
