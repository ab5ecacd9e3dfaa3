//! The Journal Export Format to entries; a pure function of its bytes, however they are cut.
//!
//! <https://systemd.io/JOURNAL_EXPORT_FORMATS/>: a field is `NAME=text\n`, or for a value with line ends or control
//! characters `NAME\n`, its length (u64, little endian), the value and `\n`. An empty line ends an entry. Names are
//! capital letters, digits and underscores; the same one may come several times.

/// The journal's own limit of fields in one entry.
const FIELDS_MAX: usize = 1024;
/// The journal's own limit of a name is 64.
const NAME_BYTES_MAX: usize = 64;
/// How many value limits all values of an entry may take together; further ones are cut to nothing.
const VALUES_PER_ENTRY: usize = 4;

/// One entry of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// In their order; a name may come several times.
    pub fields: Vec<Field>,
    /// Bytes it took in the stream.
    pub raw_bytes: usize,
    /// Fields beyond the journal's own limits, which are gone.
    pub left_out: usize,
}

/// One field of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// As the journal has it: `_SYSTEMD_UNIT`.
    pub name: String,
    /// Any bytes.
    pub value: Vec<u8>,
    /// Whether the value was longer than allowed; the rest is gone.
    pub is_cut: bool,
}

/// The bytes are no export stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// A line that is neither a field nor empty.
    #[error("no field name: {0:?}")]
    NoName(String),
    /// Behind a value of known length something else than a line's end.
    #[error("the value of {0} does not end where its length says")]
    NoEnd(String),
}

impl Entry {
    /// The value of the first field of this name.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// As [`Entry::get`], as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)
            .and_then(|field| std::str::from_utf8(&field.value).ok())
    }
}

/// The state between two reads.
pub struct Decoder {
    entry: Entry,
    value_bytes: usize,
    value_bytes_max: usize,
    state: State,
}

enum State {
    /// A name, as far as it has come.
    Name(Vec<u8>),
    /// A value up to the line's end.
    Text { is_kept: bool },
    /// The length of a value, as far as it has come.
    Length {
        bytes: [u8; 8],
        filled: usize,
        is_kept: bool,
    },
    /// A value of so many more bytes.
    Binary { left: u64, is_kept: bool },
    /// The line's end behind it.
    End,
}

impl Decoder {
    /// Before the first byte. Longer values are cut.
    pub fn new(value_bytes_max: usize) -> Decoder {
        Decoder {
            entry: Entry::default(),
            value_bytes: 0,
            value_bytes_max,
            state: State::Name(Vec::new()),
        }
    }

    /// Takes the next bytes; whole entries go to `entries`.
    ///
    /// # Errors
    /// They are no export stream; what follows cannot be understood.
    pub fn push(&mut self, mut bytes: &[u8], entries: &mut Vec<Entry>) -> Result<(), ExportError> {
        while let Some(first) = bytes.first() {
            let is_blank_line =
                *first == b'\n' && matches!(&self.state, State::Name(name) if name.is_empty());
            if is_blank_line {
                bytes = &bytes[1..];
                self.entry.raw_bytes += 1;
                self.end_entry(entries);
                continue;
            }
            let before = bytes.len();
            bytes = self.step(bytes)?;
            self.entry.raw_bytes += before - bytes.len();
        }
        Ok(())
    }

    /// The entry that is under way, as far as it has come; for streams that end without its blank line.
    pub fn finish(mut self) -> Option<Entry> {
        let is_broken_off = !matches!(&self.state, State::Name(name) if name.is_empty());
        if is_broken_off && let Some(field) = self.entry.fields.last_mut() {
            field.is_cut = true;
        }
        (!self.entry.fields.is_empty()).then_some(self.entry)
    }

    fn end_entry(&mut self, entries: &mut Vec<Entry>) {
        let entry = std::mem::take(&mut self.entry);
        self.value_bytes = 0;
        // Several blank lines are no entries.
        if !entry.fields.is_empty() {
            entries.push(entry);
        }
    }

    /// Takes bytes, at least one; answers those behind them.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ExportError> {
        match &mut self.state {
            State::Name(name) => {
                let end = bytes.iter().position(|byte| matches!(byte, b'=' | b'\n'));
                let taken = end.unwrap_or(bytes.len());
                name.extend_from_slice(&bytes[..taken.min(NAME_BYTES_MAX + 1)]);
                let is_name = name.iter().copied().all(is_name_byte);
                if name.len() > NAME_BYTES_MAX || !is_name {
                    let name = String::from_utf8_lossy(name).chars().take(80).collect();
                    return Err(ExportError::NoName(name));
                }
                let Some(end) = end else {
                    return Ok(&[]);
                };
                if name.is_empty() {
                    return Err(ExportError::NoName("=".to_owned()));
                }
                let name = String::from_utf8_lossy(name).into_owned();
                let is_kept = self.begin_field(name);
                self.state = match bytes[end] {
                    b'=' => State::Text { is_kept },
                    _ => State::Length {
                        bytes: [0; 8],
                        filled: 0,
                        is_kept,
                    },
                };
                Ok(&bytes[end + 1..])
            }
            State::Text { is_kept } => {
                let is_kept = *is_kept;
                let end = memchr::memchr(b'\n', bytes);
                let value = &bytes[..end.unwrap_or(bytes.len())];
                self.append(value, is_kept);
                let Some(end) = end else {
                    return Ok(&[]);
                };
                self.state = State::Name(Vec::new());
                Ok(&bytes[end + 1..])
            }
            State::Length {
                bytes: length,
                filled,
                is_kept,
            } => {
                length[*filled] = bytes[0];
                *filled += 1;
                if *filled == length.len() {
                    self.state = State::Binary {
                        left: u64::from_le_bytes(*length),
                        is_kept: *is_kept,
                    };
                    self.end_binary_when_over();
                }
                Ok(&bytes[1..])
            }
            State::Binary { left, is_kept } => {
                let taken = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= taken as u64;
                let is_kept = *is_kept;
                self.append(&bytes[..taken], is_kept);
                self.end_binary_when_over();
                Ok(&bytes[taken..])
            }
            State::End if bytes[0] == b'\n' => {
                self.state = State::Name(Vec::new());
                Ok(&bytes[1..])
            }
            State::End => {
                let name = self.entry.fields.last().map(|field| field.name.clone());
                Err(ExportError::NoEnd(name.unwrap_or_default()))
            }
        }
    }

    /// Whether there is room for another field.
    fn begin_field(&mut self, name: String) -> bool {
        if self.entry.fields.len() >= FIELDS_MAX {
            self.entry.left_out += 1;
            return false;
        }
        self.entry.fields.push(Field {
            name,
            value: Vec::new(),
            is_cut: false,
        });
        true
    }

    fn append(&mut self, bytes: &[u8], is_kept: bool) {
        let Some(field) = self.entry.fields.last_mut().filter(|_| is_kept) else {
            return;
        };
        let entry_room = (VALUES_PER_ENTRY * self.value_bytes_max).saturating_sub(self.value_bytes);
        let room = self.value_bytes_max.saturating_sub(field.value.len());
        let kept = bytes.len().min(room).min(entry_room);
        field.value.extend_from_slice(&bytes[..kept]);
        field.is_cut |= kept < bytes.len();
        self.value_bytes += kept;
    }

    fn end_binary_when_over(&mut self) {
        if let State::Binary { left: 0, .. } = self.state {
            self.state = State::End;
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        let mut bytes = format!("{name}\n").into_bytes();
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
        bytes
    }

    fn read(bytes: &[u8], pieces: usize, max: usize) -> Result<Vec<Entry>, ExportError> {
        let (mut decoder, mut entries) = (Decoder::new(max), Vec::new());
        for piece in bytes.chunks(pieces) {
            decoder.push(piece, &mut entries)?;
        }
        Ok(entries)
    }

    #[test]
    fn entries_are_read_however_they_are_cut() {
        let stream = [
            b"__CURSOR=s=1;i=1\nMESSAGE=one = two\nEMPTY=\n".to_vec(),
            binary("BLOB", b"a\nb\0"),
            binary("NONE", b""),
            b"\n\n__CURSOR=2\n\n__CURSOR=3\nMESSAGE=not whole".to_vec(),
        ]
        .concat();
        for pieces in [1, 2, 3, 7, 1000] {
            let entries = read(&stream, pieces, 100).unwrap();
            assert_eq!(entries.len(), 2, "{pieces}");
            let values: Vec<(&str, &[u8])> = entries[0]
                .fields
                .iter()
                .map(|field| (field.name.as_str(), &field.value[..]))
                .collect();
            assert_eq!(
                values,
                [
                    ("__CURSOR", &b"s=1;i=1"[..]),
                    ("MESSAGE", b"one = two"),
                    ("EMPTY", b""),
                    ("BLOB", b"a\nb\0"),
                    ("NONE", b""),
                ]
            );
            assert_eq!(entries[1].text("__CURSOR"), Some("2"));
            let raw: usize = entries.iter().map(|entry| entry.raw_bytes).sum();
            let whole = stream.len() - b"__CURSOR=3\nMESSAGE=not whole".len();
            assert!(raw <= whole && raw + 2 >= whole, "{raw} of {whole}");
        }
    }

    #[test]
    fn long_values_are_cut_and_their_neighbours_are_not() {
        let stream = [
            b"A=123456\n".to_vec(),
            binary("B", b"123456"),
            b"C=1\n\n".to_vec(),
        ]
        .concat();
        let entry = read(&stream, 2, 5).unwrap().remove(0);
        let values: Vec<(&[u8], bool)> = entry
            .fields
            .iter()
            .map(|field| (&field.value[..], field.is_cut))
            .collect();
        assert_eq!(
            values,
            [(&b"12345"[..], true), (b"12345", true), (b"1", false)]
        );
    }

    #[test]
    fn an_entry_of_too_many_fields_keeps_the_first() {
        let mut stream = "A=1\n".repeat(FIELDS_MAX);
        stream.push_str("B=2\nC\n");
        let mut stream = stream.into_bytes();
        stream.extend_from_slice(&2u64.to_le_bytes());
        stream.extend_from_slice(b"xy\n\n__CURSOR=1\n\n");
        let entries = read(&stream, 100, 10).unwrap();
        assert_eq!(
            (entries[0].fields.len(), entries[0].left_out),
            (FIELDS_MAX, 2)
        );
        assert_eq!(entries[1].text("__CURSOR"), Some("1"));
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for (bytes, expected) in [
            (&b"lower=1\n"[..], ExportError::NoName("lower".to_owned())),
            (b"=1\n", ExportError::NoName("=".to_owned())),
            (
                b"A\n\x01\0\0\0\0\0\0\0xy",
                ExportError::NoEnd("A".to_owned()),
            ),
        ] {
            assert_eq!(read(bytes, 100, 10), Err(expected));
        }
        assert!(read(&[b'A'; 100], 7, 10).is_err());
    }

    proptest! {
        /// Any bytes give the same however they are cut, and never more than came in.
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(prop_oneof![Just(b'A'), Just(b'='), Just(b'\n'), 0u8..4], 0..120),
            pieces in 1usize..30,
        ) {
            let whole = read(&bytes, usize::MAX, 10);
            let cut = read(&bytes, pieces, 10);
            prop_assert_eq!(whole.is_ok(), cut.is_ok());
            if let (Ok(whole), Ok(cut)) = (whole, cut) {
                prop_assert_eq!(&whole, &cut);
                let raw: usize = whole.iter().map(|entry| entry.raw_bytes).sum();
                prop_assert!(raw <= bytes.len());
            }
        }
    }
}
