//! OTLP's protobuf messages, read in place: strings and bytes stay slices of the request.
//!
//! Not with prost: it makes the whole message tree at once, which a request of tiny records would make many times
//! its own size, and it refuses a whole request for one value that is nested too deeply. A test holds this reader
//! against prost. Field numbers are those of the opentelemetry/proto files.

use std::borrow::Cow;

use super::record::{
    Attribute, DEPTH_READ_MAX, Part, ReadError, Record, Scope, Take, Undecodable, Value,
    keep_last_of_each_key,
};
use crate::source::protobuf::Fields;

/// Reads an `ExportLogsServiceRequest`.
///
/// # Errors
/// The frame around the records is no protobuf, or `take` wants no more. A record that cannot be read is a part
/// like any other.
pub fn read_logs<'a>(message: &'a [u8], take: Take<'_, 'a>) -> Result<(), ReadError> {
    for_each_message(message, 1, &mut |resource_logs| {
        let mut attributes = Vec::new();
        for_each_message(resource_logs, 1, &mut |resource| {
            for_each_message(resource, 1, &mut |pair| {
                attributes.push(read_attribute(pair, 0)?);
                Ok(())
            })
        })?;
        keep_last_of_each_key(&mut attributes);
        take(Part::Resource(attributes))?;
        for_each_message(resource_logs, 2, &mut |scope_logs| {
            let mut scope = Scope::default();
            for_each_message(scope_logs, 1, &mut |message| {
                read_scope(message, &mut scope).map_err(ReadError::from)
            })?;
            take(Part::Scope(scope))?;
            for_each_message(scope_logs, 2, &mut |record| {
                take(Part::Record(
                    read_record(record).map_err(|problem| problem.0),
                ))
            })
        })
    })
}

/// Counts the messages that are reached from `message` by the fields of `path`, each step one of several.
///
/// # Errors
/// A frame on the way is no protobuf.
pub fn count(message: &[u8], path: &[&[u32]]) -> Result<u64, Undecodable> {
    let Some((numbers, rest)) = path.split_first() else {
        return Ok(1);
    };
    let mut total = 0;
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        if numbers.contains(&number) {
            total += count(field.bytes()?, rest)?;
        }
    }
    Ok(total)
}

fn for_each_message<'a>(
    message: &'a [u8],
    wanted: u32,
    take: &mut dyn FnMut(&'a [u8]) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        if number == wanted {
            take(field.bytes()?)?;
        }
    }
    Ok(())
}

fn read_scope<'a>(message: &'a [u8], scope: &mut Scope<'a>) -> Result<(), Undecodable> {
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => scope.name = field.text()?,
            2 => scope.version = field.text()?,
            3 => scope.attributes.push(read_attribute(field.bytes()?, 0)?),
            _ => {}
        }
    }
    keep_last_of_each_key(&mut scope.attributes);
    Ok(())
}

fn read_record(message: &[u8]) -> Result<Record<'_>, Undecodable> {
    let mut record = Record::default();
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => record.time_unix_nano = field.fixed64()?,
            2 => record.severity_number = field.varint()? as i32,
            3 => record.severity_text = field.text()?,
            5 => record.body = Some(read_value(field.bytes()?, 0)?),
            6 => record.attributes.push(read_attribute(field.bytes()?, 0)?),
            7 => record.dropped_attributes_count = field.varint()? as u32,
            8 => record.flags = field.fixed32()?,
            9 => record.trace_id = Cow::Borrowed(field.bytes()?),
            10 => record.span_id = Cow::Borrowed(field.bytes()?),
            11 => record.observed_time_unix_nano = field.fixed64()?,
            12 => record.event_name = field.text()?,
            _ => {}
        }
    }
    keep_last_of_each_key(&mut record.attributes);
    Ok(record)
}

fn read_attribute(message: &[u8], depth: usize) -> Result<Attribute<'_>, Undecodable> {
    let mut attribute = Attribute {
        key: Cow::Borrowed(""),
        value: Value::Null,
    };
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => attribute.key = field.text()?,
            2 => attribute.value = read_value(field.bytes()?, depth)?,
            _ => {}
        }
    }
    Ok(attribute)
}

fn read_value(message: &[u8], depth: usize) -> Result<Value<'_>, Undecodable> {
    if depth > DEPTH_READ_MAX {
        return Ok(Value::Bytes(Cow::Borrowed(message)));
    }
    let mut value = Value::Null;
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => value = Value::Text(field.text()?),
            2 => value = Value::Bool(field.varint()? != 0),
            3 => value = Value::Int(field.varint()? as i64),
            4 => value = Value::Double(f64::from_bits(field.fixed64()?)),
            5 => value = read_list(field.bytes()?, depth)?,
            6 => value = read_map(field.bytes()?, depth)?,
            7 => value = Value::Bytes(Cow::Borrowed(field.bytes()?)),
            _ => {}
        }
    }
    Ok(value)
}

fn read_list(message: &[u8], depth: usize) -> Result<Value<'_>, Undecodable> {
    let mut values = Vec::new();
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            values.push(read_value(field.bytes()?, depth + 1)?);
        }
    }
    Ok(Value::List(values))
}

fn read_map(message: &[u8], depth: usize) -> Result<Value<'_>, Undecodable> {
    let mut attributes = Vec::new();
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            attributes.push(read_attribute(field.bytes()?, depth + 1)?);
        }
    }
    keep_last_of_each_key(&mut attributes);
    Ok(Value::Map(attributes))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1 as common;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn parts(message: &[u8]) -> Result<Vec<Part<'_>>, ReadError> {
        let mut parts = Vec::new();
        read_logs(message, &mut |part| {
            parts.push(part);
            Ok(())
        })?;
        Ok(parts)
    }

    fn records(message: &[u8]) -> Vec<Record<'_>> {
        let parts = parts(message).unwrap();
        parts
            .into_iter()
            .filter_map(|part| match part {
                Part::Record(record) => Some(record.unwrap()),
                _ => None,
            })
            .collect()
    }

    fn any_value() -> impl Strategy<Value = Option<common::any_value::Value>> {
        use common::any_value::Value;
        let leaf = prop_oneof![
            Just(None),
            ".{0,8}".prop_map(|text| Some(Value::StringValue(text))),
            any::<bool>().prop_map(|value| Some(Value::BoolValue(value))),
            any::<i64>().prop_map(|value| Some(Value::IntValue(value))),
            (-1e300..1e300f64).prop_map(|value| Some(Value::DoubleValue(value))),
            proptest::collection::vec(any::<u8>(), 0..8).prop_map(|v| Some(Value::BytesValue(v))),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let value = inner.prop_map(|value| common::AnyValue { value });
            let values = proptest::collection::vec(value, 0..4);
            prop_oneof![
                values
                    .clone()
                    .prop_map(|values| Some(Value::ArrayValue(common::ArrayValue { values }))),
                values.prop_map(|values| {
                    let values = values.into_iter().enumerate();
                    let values = values.map(|(n, value)| pair(&format!("k{n}"), value));
                    Some(Value::KvlistValue(common::KeyValueList {
                        values: values.collect(),
                    }))
                }),
            ]
        })
    }

    fn pair(key: &str, value: common::AnyValue) -> common::KeyValue {
        common::KeyValue {
            key: key.to_owned(),
            value: Some(value),
            ..Default::default()
        }
    }

    fn log_record() -> impl Strategy<Value = LogRecord> {
        let numbers = (
            any::<u64>(),
            any::<u64>(),
            any::<i32>(),
            any::<u32>(),
            any::<u32>(),
        );
        let ids = proptest::collection::vec(any::<u8>(), 0..20);
        let values = proptest::collection::vec(any_value(), 0..4);
        (numbers, ids, values, ".{0,8}").prop_map(|(numbers, id, values, text)| LogRecord {
            time_unix_nano: numbers.0,
            observed_time_unix_nano: numbers.1,
            severity_number: numbers.2,
            dropped_attributes_count: numbers.3,
            flags: numbers.4,
            severity_text: text.clone(),
            event_name: text,
            trace_id: id.clone(),
            span_id: id,
            body: values.first().map(|value| common::AnyValue {
                value: value.clone(),
            }),
            attributes: values
                .into_iter()
                .enumerate()
                .map(|(n, value)| pair(&format!("a{n}"), common::AnyValue { value }))
                .collect(),
        })
    }

    fn as_ours(value: &Option<common::any_value::Value>) -> Value<'_> {
        use common::any_value::Value as Theirs;
        let inner =
            |value: &'_ common::AnyValue| -> Value<'static> { into_owned(as_ours(&value.value)) };
        match value {
            None | Some(Theirs::StringValueStrindex(_)) => Value::Null,
            Some(Theirs::StringValue(text)) => Value::Text(Cow::Borrowed(text)),
            Some(Theirs::BoolValue(value)) => Value::Bool(*value),
            Some(Theirs::IntValue(value)) => Value::Int(*value),
            Some(Theirs::DoubleValue(value)) => Value::Double(*value),
            Some(Theirs::BytesValue(bytes)) => Value::Bytes(Cow::Borrowed(bytes)),
            Some(Theirs::ArrayValue(list)) => Value::List(list.values.iter().map(inner).collect()),
            Some(Theirs::KvlistValue(map)) => Value::Map(
                map.values
                    .iter()
                    .map(|pair| Attribute {
                        key: Cow::Owned(pair.key.clone()),
                        value: pair.value.as_ref().map_or(Value::Null, inner),
                    })
                    .collect(),
            ),
        }
    }

    fn into_owned(value: Value<'_>) -> Value<'static> {
        match value {
            Value::Null => Value::Null,
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Bool(value) => Value::Bool(value),
            Value::Int(value) => Value::Int(value),
            Value::Double(value) => Value::Double(value),
            Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Value::List(values) => Value::List(values.into_iter().map(into_owned).collect()),
            Value::Map(attributes) => Value::Map(
                attributes
                    .into_iter()
                    .map(|attribute| Attribute {
                        key: Cow::Owned(attribute.key.into_owned()),
                        value: into_owned(attribute.value),
                    })
                    .collect(),
            ),
        }
    }

    fn request(records: Vec<LogRecord>) -> ExportLogsServiceRequest {
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(Resource {
                    attributes: vec![pair("service.name", common::AnyValue::default())],
                    ..Default::default()
                }),
                scope_logs: vec![ScopeLogs {
                    scope: Some(common::InstrumentationScope {
                        name: "lib".to_owned(),
                        version: "1".to_owned(),
                        ..Default::default()
                    }),
                    log_records: records,
                    schema_url: "u".to_owned(),
                }],
                schema_url: "u".to_owned(),
            }],
        }
    }

    #[test]
    fn a_resource_behind_its_records_still_belongs_to_them() {
        let whole = request(vec![LogRecord::default()]);
        let resource_logs = &whole.resource_logs[0];
        let mut swapped = Vec::new();
        let scopes = ResourceLogs {
            resource: None,
            ..resource_logs.clone()
        };
        let resource = ResourceLogs {
            resource: resource_logs.resource.clone(),
            ..Default::default()
        };
        // One message in two pieces, which protobuf allows.
        swapped.extend(scopes.encode_to_vec());
        swapped.extend(resource.encode_to_vec());
        let mut message = vec![0x0a, swapped.len() as u8];
        message.extend(swapped);
        let bytes = whole.encode_to_vec();
        assert_eq!(parts(&message).unwrap(), parts(&bytes).unwrap());
    }

    #[test]
    fn one_record_that_cannot_be_read_leaves_its_neighbours() {
        let mut bytes = request(vec![
            LogRecord {
                severity_text: "first".to_owned(),
                ..Default::default()
            },
            LogRecord {
                severity_text: "last!".to_owned(),
                ..Default::default()
            },
        ])
        .encode_to_vec();
        let at = bytes
            .windows(5)
            .position(|window| window == b"first")
            .unwrap();
        bytes[at] = 0xff;
        let parts = parts(&bytes).unwrap();
        assert!(matches!(&parts[2], Part::Record(Err(problem)) if problem.contains("UTF-8")));
        assert!(matches!(&parts[3], Part::Record(Ok(record)) if record.severity_text == "last!"));
    }

    #[test]
    fn a_value_nested_without_end_is_cut_to_opaque_bytes() {
        let mut message = Vec::new();
        for _ in 0..20_000 {
            // AnyValue { array_value { values: [ ... ] } }
            for tag in [0x0a, 0x2a] {
                let mut outer = vec![tag];
                prost::encode_length_delimiter(message.len(), &mut outer).unwrap();
                outer.extend_from_slice(&message);
                message = outer;
            }
        }
        let mut value = &read_value(&message, 0).unwrap();
        let mut depth = 0;
        while let Value::List(values) = value {
            value = &values[0];
            depth += 1;
        }
        assert_eq!(depth, DEPTH_READ_MAX + 1);
        assert!(matches!(value, Value::Bytes(_)));
    }

    #[test]
    fn unknown_fields_and_groups_are_read_over() {
        // Field 100 as varint, fixed64, bytes, fixed32 and as a group with a group inside.
        let unknown: &[u8] = &[
            0xa0, 0x06, 0x01, 0xa1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0xa2, 0x06, 1, 9, 0xa5, 0x06, 1,
            2, 3, 4, 0xa3, 0x06, 0x08, 0x01, 0x0b, 0x0c, 0xa4, 0x06,
        ];
        let mut record = unknown.to_vec();
        record.extend_from_slice(&[0x1a, 2, b'o', b'k']);
        record.extend_from_slice(unknown);
        assert_eq!(read_record(&record).unwrap().severity_text, "ok");
        assert!(read_record(&unknown[..unknown.len() - 2]).is_err());
    }

    #[test]
    fn points_and_spans_are_counted_without_being_built() {
        let logs = request(vec![LogRecord::default(); 3]).encode_to_vec();
        assert_eq!(count(&logs, &[&[1], &[2], &[2]]), Ok(3));
        assert_eq!(count(&logs, &[&[1], &[1, 2]]), Ok(2));
        assert!(count(&[0x0a, 5, 0], &[&[1]]).is_err());
    }

    proptest! {
        #[test]
        fn whatever_prost_writes_is_read(written in proptest::collection::vec(log_record(), 0..4)) {
            let bytes = request(written.clone()).encode_to_vec();
            let read = records(&bytes);
            prop_assert_eq!(read.len(), written.len());
            for (read, written) in read.iter().zip(&written) {
                prop_assert_eq!(read.time_unix_nano, written.time_unix_nano);
                prop_assert_eq!(read.observed_time_unix_nano, written.observed_time_unix_nano);
                prop_assert_eq!(read.severity_number, written.severity_number);
                prop_assert_eq!(&read.severity_text, &written.severity_text);
                prop_assert_eq!(read.dropped_attributes_count, written.dropped_attributes_count);
                prop_assert_eq!(read.flags, written.flags);
                prop_assert_eq!(&read.trace_id[..], &written.trace_id[..]);
                prop_assert_eq!(&read.span_id[..], &written.span_id[..]);
                prop_assert_eq!(&read.event_name, &written.event_name);
                let body = written.body.as_ref().map(|body| as_ours(&body.value));
                prop_assert_eq!(&read.body, &body);
                prop_assert_eq!(read.attributes.len(), written.attributes.len());
                for (read, written) in read.attributes.iter().zip(&written.attributes) {
                    prop_assert_eq!(&read.key, &written.key);
                    prop_assert_eq!(&read.value, &as_ours(&written.value.as_ref().unwrap().value));
                }
            }
        }

        /// What prost takes whole is readable here too: we are never the stricter one.
        #[test]
        fn any_bytes_are_read_or_refused(
            written in proptest::collection::vec(log_record(), 1..3),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            noise in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let _ = parts(&noise);
            let mut bytes = request(written).encode_to_vec();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let ours = parts(&bytes);
            if ExportLogsServiceRequest::decode(&bytes[..]).is_ok() {
                let is_whole = ours.unwrap().iter().all(|part| !matches!(part, Part::Record(Err(_))));
                prop_assert!(is_whole);
            }
        }
    }
}
