//! Where entries begin and end in files of systemd's Journal Export Format, as `journalctl --output=export` and
//! systemd-journal-remote write them: <https://systemd.io/JOURNAL_EXPORT_FORMATS/>.
//!
//! As `framing`, a pure function of the bytes from the start of an entry on. What an entry holds is read by the journald
//! source's decoder; here it only matters where it ends, which a value with blank lines in it must not blur.

use super::framing::{Flush, Frame};

/// The journal's own limit of a name.
const NAME_BYTES_MAX: usize = 64;
/// Fields beside the one with the long value.
const ROOM_FOR_FIELDS: usize = 64 << 10;
/// How an entry begins in every stream of systemd's; where to go on behind what is not understood.
const NEXT_ENTRY: &[u8] = b"\n\n__";

/// What stands at one place of an entry.
enum Step {
    /// A field that ends here.
    Field(usize),
    /// The blank line behind the entry; where it ends.
    Blank(usize),
    /// More bytes are needed.
    Incomplete,
    /// No field.
    Malformed,
}

/// How many bytes are always enough to find the end of an entry, or to see that it is too long.
pub fn window_bytes(event_bytes_max: usize) -> usize {
    event_bytes_max
        .saturating_mul(4)
        .saturating_add(ROOM_FOR_FIELDS)
}

/// Looks at the bytes from the start of an entry on. An entry of more than `window` bytes is cut; what is no entry is
/// handed out as one, up to where an entry begins again: its reader says what is wrong with it.
pub fn next(bytes: &[u8], window: usize, flush: Flush) -> Frame {
    let blank = bytes.iter().take_while(|byte| **byte == b'\n').count();
    if blank > 0 {
        return Frame::Skipped(blank);
    }
    let mut at = 0;
    loop {
        match step(&bytes[at..]) {
            Step::Field(length) => at += length,
            Step::Blank(length) => {
                return Frame::Event {
                    text: 0..at,
                    consumed: at + length,
                    is_cut: false,
                };
            }
            Step::Malformed => return malformed(bytes, at, window, flush),
            Step::Incomplete => return unfinished(bytes, window, flush),
        }
    }
}

/// Bytes that belong to what was cut, and whether it ends with them.
pub fn rest(bytes: &[u8], flush: Flush) -> (usize, bool) {
    match memchr::memmem::find(bytes, NEXT_ENTRY) {
        Some(at) => (at + 2, true),
        None if flush == Flush::Everything => (bytes.len(), false),
        // The mark may lie across the end.
        None => (bytes.len().saturating_sub(NEXT_ENTRY.len() - 1), false),
    }
}

fn step(bytes: &[u8]) -> Step {
    let Some(line_end) = memchr::memchr(b'\n', bytes) else {
        return Step::Incomplete;
    };
    if line_end == 0 {
        return Step::Blank(1);
    }
    let line = &bytes[..line_end];
    let name_end = memchr::memchr(b'=', line).unwrap_or(line_end);
    let is_name_byte =
        |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let is_name =
        (1..=NAME_BYTES_MAX).contains(&name_end) && line[..name_end].iter().all(is_name_byte);
    if !is_name {
        return Step::Malformed;
    }
    if name_end < line_end {
        return Step::Field(line_end + 1);
    }
    let value_start = line_end + 1 + 8;
    let Some(length) = bytes.get(line_end + 1..value_start) else {
        return Step::Incomplete;
    };
    let length = <[u8; 8]>::try_from(length).map_or(u64::MAX, u64::from_le_bytes);
    let value_end = usize::try_from(length)
        .ok()
        .and_then(|length| value_start.checked_add(length));
    match value_end.map(|end| (end, bytes.get(end))) {
        Some((end, Some(b'\n'))) => Step::Field(end + 1),
        Some((_, Some(_))) => Step::Malformed,
        // Longer than any file, or not all there yet.
        Some((_, None)) | None => Step::Incomplete,
    }
}

fn unfinished(bytes: &[u8], window: usize, flush: Flush) -> Frame {
    if bytes.len() >= window {
        return Frame::Event {
            text: 0..window,
            consumed: window,
            is_cut: true,
        };
    }
    match flush {
        Flush::Everything if !bytes.is_empty() => Frame::Event {
            text: 0..bytes.len(),
            consumed: bytes.len(),
            is_cut: false,
        },
        _ => Frame::Incomplete,
    }
}

fn malformed(bytes: &[u8], at: usize, window: usize, flush: Flush) -> Frame {
    match memchr::memmem::find(&bytes[at..], NEXT_ENTRY) {
        Some(found) if at + found <= window => Frame::Event {
            text: 0..at + found,
            consumed: at + found + 2,
            is_cut: false,
        },
        _ => unfinished(bytes, window, flush),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        let length = (value.len() as u64).to_le_bytes();
        [name.as_bytes(), b"\n", &length, value, b"\n"].concat()
    }

    /// The entries of the bytes and how many bytes wait behind them.
    fn entries(bytes: &[u8], window: usize, flush: Flush) -> (Vec<Vec<u8>>, usize) {
        let (mut at, mut found, mut is_skipping) = (0, Vec::new(), false);
        while at < bytes.len() {
            if is_skipping {
                let (count, is_over) = rest(&bytes[at..], flush);
                (at, is_skipping) = (at + count, !is_over);
                if count == 0 {
                    break;
                }
                continue;
            }
            match next(&bytes[at..bytes.len().min(at + window)], window, flush) {
                Frame::Event {
                    text,
                    consumed,
                    is_cut,
                } => {
                    found.push(bytes[at..][text].to_vec());
                    (at, is_skipping) = (at + consumed, is_cut);
                }
                Frame::Skipped(count) => at += count,
                Frame::Mark { .. } | Frame::Incomplete => break,
            }
        }
        (found, bytes.len() - at)
    }

    #[test]
    fn entries_end_with_a_blank_line_and_not_inside_a_value() {
        let first = [&b"__CURSOR=a\n"[..], &binary("MESSAGE", b"x\n\n__y")].concat();
        let second = b"__CURSOR=b\nMESSAGE=z\n".to_vec();
        let bytes = [&first[..], b"\n", &second, b"\n", b"__CURS"].concat();
        let both = vec![first, second];
        assert_eq!(entries(&bytes, 1000, Flush::Nothing), (both.clone(), 6));
        let with_rest = [both, vec![b"__CURS".to_vec()]].concat();
        assert_eq!(entries(&bytes, 1000, Flush::Everything), (with_rest, 0));
    }

    #[test]
    fn what_is_no_entry_ends_where_the_next_one_begins() {
        let bytes = b"__CURSOR=a\nno field\n\nor text\n\n__CURSOR=b\nA=1\n\n";
        let (found, waiting) = entries(bytes, 1000, Flush::Nothing);
        assert_eq!(
            found,
            [
                &b"__CURSOR=a\nno field\n\nor text"[..],
                b"__CURSOR=b\nA=1\n"
            ]
        );
        assert_eq!(waiting, 0);
    }

    #[test]
    fn an_entry_that_is_too_long_is_cut_and_the_next_one_is_whole() {
        let long = [&b"__CURSOR=a\n"[..], &binary("MESSAGE", &[b'x'; 200])].concat();
        let bytes = [&long[..], b"\n__CURSOR=b\nA=1\n\n"].concat();
        let (found, waiting) = entries(&bytes, 100, Flush::Nothing);
        assert_eq!(found, [&bytes[..100], b"__CURSOR=b\nA=1\n"]);
        assert_eq!(waiting, 0);
        let endless = [&b"MESSAGE\n"[..], &u64::MAX.to_le_bytes(), &[b'x'; 300]].concat();
        assert_eq!(entries(&endless, 100, Flush::Nothing).0, [&endless[..100]]);
    }

    proptest! {
        /// A full window always holds something, and nothing is handed out twice.
        #[test]
        fn any_bytes_are_cut_into_entries(
            pieces in proptest::collection::vec(prop_oneof![
                Just(b"A=1\n".to_vec()), Just(b"\n".to_vec()), Just(b"__CURSOR=x\n".to_vec()), Just(binary("B", b"\n\n__")),
                proptest::collection::vec(any::<u8>(), 0..12),
            ], 0..12),
        ) {
            let bytes = pieces.concat();
            let (found, waiting) = entries(&bytes, 40, Flush::Nothing);
            prop_assert!(waiting < 40);
            prop_assert!(found.iter().map(Vec::len).sum::<usize>() <= bytes.len());
            let (_, waiting) = entries(&bytes, 40, Flush::Everything);
            prop_assert_eq!(waiting, 0);
        }
    }
}
