//! Sizes as people write them: `512MiB`, `1GB`, `1.5 GiB`, `4096`.

use std::fmt;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 14] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("B", 1),
    ("", 1),
];

impl ByteSize {
    /// `count` MiB.
    pub const fn mib(count: u64) -> ByteSize {
        ByteSize(count << 20)
    }

    /// `count` GiB.
    pub const fn gib(count: u64) -> ByteSize {
        ByteSize(count << 30)
    }

    /// Reads a size; the unit's case does not matter, `K`, `M`, `G` and `T` alone are powers of 1024.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<ByteSize, String> {
        let wrong = || format!("{text:?} is no size; write for instance 512MiB, 1GB or 4096");
        let trimmed = text.trim();
        let digits = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))
            .ok_or_else(wrong)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let bytes = whole.checked_mul(*factor).ok_or_else(wrong)?;
        let fraction_bytes = match fraction {
            "" if number.ends_with('.') => return Err(wrong()),
            "" => 0,
            digits => {
                let share: f64 = format!("0.{digits}").parse().map_err(|_| wrong())?;
                (share * *factor as f64).round() as u64
            }
        };
        bytes
            .checked_add(fraction_bytes)
            .map(ByteSize)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit that needs no fraction; what is written is read back as the same size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS[..8]
            .iter()
            .filter(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor))
            .max_by_key(|(_, factor)| *factor)
            .unwrap_or(&("", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1B", 1),
            ("1KiB", 1024),
            ("64 KiB", 65536),
            ("1kb", 1000),
            ("512MiB", 512 << 20),
            ("1GB", 1_000_000_000),
            ("1.5GiB", 3 << 29),
            ("1g", 1 << 30),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
        for text in [
            "",
            "-1",
            "1XB",
            "GiB",
            "1.",
            ".5GiB",
            "1.2.3MiB",
            "99999999TiB",
            "1 2",
        ] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for bytes in [
            0,
            1,
            1000,
            1024,
            1536,
            1 << 20,
            1_000_000,
            (1 << 30) + 1,
            u64::MAX,
        ] {
            let text = ByteSize(bytes).to_string();
            assert_eq!(ByteSize::parse(&text), Ok(ByteSize(bytes)), "{text}");
        }
        assert_eq!(ByteSize::gib(4).to_string(), "4GiB");
    }
}
