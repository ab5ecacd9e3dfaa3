//! `logproto.PushRequest`, read in place: a request of tiny entries would be many times its size as a tree.

use std::borrow::Cow;

use event::Timestamp;

use super::entry::{Entry, Reader, Unreadable};
use super::labels::Labels;
use crate::source::protobuf::{Field, Fields, Undecodable};

/// Reads all entries of a request.
///
/// # Errors
/// The request or a stream is no protobuf. An entry that is wrong, or a stream whose labels are, is refused for itself.
pub fn read(message: &[u8], reader: &mut Reader) -> Result<(), Unreadable> {
    let malformed = |error: Undecodable| Unreadable::Malformed(error.to_string());
    let mut fields = Fields::of(message);
    while !reader.is_over()
        && let Some((number, field)) = fields.next().map_err(malformed)?
    {
        if number == 1 {
            stream(field.bytes().map_err(malformed)?, reader).map_err(malformed)?;
        }
    }
    Ok(())
}

fn stream(message: &[u8], reader: &mut Reader) -> Result<(), Undecodable> {
    reader.begin_stream();
    let mut labels = None;
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            labels = Some(field.text()?);
        }
    }
    let labels = labels.unwrap_or_default();
    if reader.refuse_by_length(labels.len()) {
        return Ok(());
    }
    let labels = Labels::parse(&labels);
    let mut fields = Fields::of(message);
    while !reader.is_over()
        && let Some((number, field)) = fields.next()?
    {
        if number != 2 {
            continue;
        }
        if let Ok(bytes) = field.bytes()
            && reader.refuse_by_length(bytes.len())
        {
            continue;
        }
        match (&labels, entry(field)) {
            (Ok(labels), Ok(entry)) => reader.add(labels, &entry),
            (Err(problem), _) => reader.refuse("bad_labels", problem.clone()),
            (_, Err(error)) => reader.refuse("malformed", error.to_string()),
        }
    }
    Ok(())
}

fn entry(field: Field<'_>) -> Result<Entry<'_>, Undecodable> {
    let mut entry = Entry {
        timestamp: Timestamp::from_nanos(0),
        line: Cow::Borrowed(""),
        metadata: Vec::new(),
    };
    let mut fields = Fields::of(field.bytes()?);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => entry.timestamp = timestamp(field)?,
            2 => entry.line = lossy(field)?,
            3 => entry.metadata.push(pair(field)?),
            _ => {}
        }
    }
    Ok(entry)
}

/// `google.protobuf.Timestamp`.
fn timestamp(field: Field<'_>) -> Result<Timestamp, Undecodable> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    let mut fields = Fields::of(field.bytes()?);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => seconds = field.varint()?.cast_signed(),
            2 => nanos = field.varint()?.cast_signed(),
            _ => {}
        }
    }
    let total = seconds
        .checked_mul(1_000_000_000)
        .and_then(|whole| whole.checked_add(nanos));
    total
        .map(Timestamp::from_nanos)
        .ok_or_else(|| Undecodable(format!("a timestamp of {seconds} seconds is out of range")))
}

fn pair(field: Field<'_>) -> Result<(Cow<'_, str>, Cow<'_, str>), Undecodable> {
    let (mut name, mut value) = (Cow::Borrowed(""), Cow::Borrowed(""));
    let mut fields = Fields::of(field.bytes()?);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = lossy(field)?,
            2 => value = lossy(field)?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// Go's strings may be no UTF-8; lines of applications often are not.
fn lossy(field: Field<'_>) -> Result<Cow<'_, str>, Undecodable> {
    Ok(String::from_utf8_lossy(field.bytes()?))
}
