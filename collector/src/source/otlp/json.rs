//! OTLP's JSON, which is not quite protobuf's: ids in hex, 64-bit integers as strings or numbers, `null` is absent,
//! unknown keys are ignored.
//!
//! The request is walked as raw text; only one record at a time is built. Not with the serde code of
//! opentelemetry-proto: it demands keys that may be left out, refuses `null` and `"NaN"`, and fails as a whole.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::record::{
    Attribute, DEPTH_READ_MAX, Part, ReadError, Record, Scope, Take, Undecodable, Value,
    keep_last_of_each_key,
};
use crate::text::Text;

/// After so many levels a value is taken as raw text first: serde_json counts every bracket, up to 128, and a level
/// of a map has four.
const LEVELS_PER_PASS: usize = 24;

/// Base64 with either alphabet, padded or not.
const BASE64_CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, BASE64_CONFIG);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, BASE64_CONFIG);

/// Reads an `ExportLogsServiceRequest`.
///
/// # Errors
/// The frame around the records is not JSON of the right shape, or `take` wants no more. A record that cannot be
/// read is a part like any other.
pub fn read_logs<'a>(request: &'a [u8], take: Take<'_, 'a>) -> Result<(), ReadError> {
    let Some(resource_logs) = member(raw(request)?, "resourceLogs")? else {
        return Ok(());
    };
    for_each_element(resource_logs, &mut |resource_logs| {
        let shell: ResourceLogs<'a> = shape(resource_logs)?;
        let resource: Resource<'a> = match shell.resource {
            Some(resource) => shape(resource)?,
            None => Resource::default(),
        };
        take(Part::Resource(resource.attributes.unwrap_or_default().0))?;
        let Some(scope_logs) = shell.scope_logs else {
            return Ok(());
        };
        for_each_element(scope_logs, &mut |scope_logs| {
            let shell: ScopeLogs<'a> = shape(scope_logs)?;
            let scope: JsonScope<'a> = match shell.scope {
                Some(scope) => shape(scope)?,
                None => JsonScope::default(),
            };
            take(Part::Scope(scope.into_scope()))?;
            let Some(records) = shell.log_records else {
                return Ok(());
            };
            for_each_element(records, &mut |record| {
                let record = serde_json::from_str::<JsonRecord<'a>>(record.get())
                    .map(JsonRecord::into_record)
                    .map_err(|error| format!("not a log record in OTLP JSON: {error}"));
                take(Part::Record(record))
            })
        })
    })
}

/// Counts the elements that are reached from the request by the keys of `path`, each step one of several; the value
/// of a step is an object or an array of objects.
///
/// # Errors
/// The request is not JSON.
pub fn count(request: &[u8], path: &[&[&str]]) -> Result<u64, Undecodable> {
    fn below(object: &RawValue, path: &[&[&str]]) -> Result<u64, ReadError> {
        let Some((names, rest)) = path.split_first() else {
            return Ok(1);
        };
        let mut total = 0;
        for name in *names {
            match member(object, name)? {
                Some(value) if value.get().starts_with('[') => {
                    for_each_element(value, &mut |element| {
                        total += below(element, rest)?;
                        Ok(())
                    })?;
                }
                Some(value) => total += below(value, rest)?,
                None => {}
            }
        }
        Ok(total)
    }
    below(raw(request)?, path).map_err(|error| Undecodable(error.to_string()))
}

fn raw(request: &[u8]) -> Result<&RawValue, Undecodable> {
    if request.trim_ascii().is_empty() {
        return Ok(serde_json::from_str("{}").unwrap_or(RawValue::NULL));
    }
    serde_json::from_slice(request).map_err(not_json)
}

fn shape<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T, Undecodable> {
    serde_json::from_str(value.get()).map_err(not_json)
}

fn not_json(error: serde_json::Error) -> Undecodable {
    Undecodable(format!("not valid OTLP JSON: {error}"))
}

/// The value under a key of an object; `null` is none.
fn member<'a>(object: &'a RawValue, name: &str) -> Result<Option<&'a RawValue>, Undecodable> {
    struct Member<'n>(&'n str);

    impl<'de> Visitor<'de> for Member<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<Text<'de>>()? {
                if key.0 == self.0 {
                    found = map.next_value::<Option<&'de RawValue>>()?;
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(object.get());
    deserializer.deserialize_map(Member(name)).map_err(not_json)
}

fn for_each_element<'a>(
    array: &'a RawValue,
    take: &mut dyn FnMut(&'a RawValue) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    struct Elements<'t, 'a> {
        take: &'t mut dyn FnMut(&'a RawValue) -> Result<(), ReadError>,
        outcome: Result<(), ReadError>,
    }

    impl<'de> Visitor<'de> for &mut Elements<'_, 'de> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
            while let Some(element) = seq.next_element::<&'de RawValue>()? {
                self.outcome = (self.take)(element);
                if self.outcome.is_err() {
                    return Err(A::Error::custom("ended by the reader"));
                }
            }
            Ok(())
        }
    }

    let mut elements = Elements {
        take,
        outcome: Ok(()),
    };
    let mut deserializer = serde_json::Deserializer::from_str(array.get());
    let read = deserializer.deserialize_seq(&mut elements);
    elements.outcome?;
    read.map_err(|error| not_json(error).into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow)]
    scope_logs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
    #[serde(borrow)]
    log_records: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Resource<'a> {
    #[serde(borrow)]
    attributes: Option<Attributes<'a>>,
}

#[derive(Default, Deserialize)]
struct JsonScope<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    version: Option<Text<'a>>,
    #[serde(borrow)]
    attributes: Option<Attributes<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonRecord<'a> {
    time_unix_nano: Option<Unsigned>,
    observed_time_unix_nano: Option<Unsigned>,
    severity_number: Option<Severity>,
    #[serde(borrow)]
    severity_text: Option<Text<'a>>,
    #[serde(borrow)]
    body: Option<Root<'a>>,
    #[serde(borrow)]
    attributes: Option<Attributes<'a>>,
    dropped_attributes_count: Option<Unsigned>,
    flags: Option<Unsigned>,
    #[serde(borrow)]
    trace_id: Option<Text<'a>>,
    #[serde(borrow)]
    span_id: Option<Text<'a>>,
    #[serde(borrow)]
    event_name: Option<Text<'a>>,
}

impl<'a> JsonScope<'a> {
    fn into_scope(self) -> Scope<'a> {
        Scope {
            name: text_of(self.name),
            version: text_of(self.version),
            attributes: self.attributes.unwrap_or_default().0,
        }
    }
}

impl<'a> JsonRecord<'a> {
    fn into_record(self) -> Record<'a> {
        let unsigned = |number: Option<Unsigned>| number.map_or(0, |number| number.0);
        Record {
            time_unix_nano: unsigned(self.time_unix_nano),
            observed_time_unix_nano: unsigned(self.observed_time_unix_nano),
            severity_number: self.severity_number.map_or(0, |severity| severity.0),
            severity_text: text_of(self.severity_text),
            body: self.body.map(|root| root.0),
            attributes: self.attributes.unwrap_or_default().0,
            dropped_attributes_count: unsigned(self.dropped_attributes_count) as u32,
            flags: unsigned(self.flags) as u32,
            trace_id: Cow::Owned(bytes_of_hex(&text_of(self.trace_id))),
            span_id: Cow::Owned(bytes_of_hex(&text_of(self.span_id))),
            event_name: text_of(self.event_name),
        }
    }
}

fn text_of(text: Option<Text<'_>>) -> Cow<'_, str> {
    text.map_or(Cow::Borrowed(""), |text| text.0)
}

/// What is no hex is as good as absent, and so is an id of the wrong length later.
fn bytes_of_hex(hex: &str) -> Vec<u8> {
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
        _ => Vec::new(),
    }
}

/// A number of up to 64 bits, or its digits in a string.
struct Unsigned(u64);

impl<'de> Deserialize<'de> for Unsigned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unsigned, D::Error> {
        let number = deserializer.deserialize_any(NumberVisitor)?;
        match number {
            Number::Integer(value) => u64::try_from(value).ok(),
            Number::Double(_) => None,
        }
        .map(Unsigned)
        .ok_or_else(|| D::Error::custom("expected an integer of 64 bits without a sign"))
    }
}

/// A severity number, or the name of its enum value.
struct Severity(i32);

impl<'de> Deserialize<'de> for Severity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Severity, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?;
        let text = value.get().trim_matches('"');
        text.parse()
            .ok()
            .or_else(|| severity_of_name(text))
            .map(Severity)
            .ok_or_else(|| D::Error::custom("expected a severity number"))
    }
}

/// `SEVERITY_NUMBER_WARN2` is 14.
fn severity_of_name(name: &str) -> Option<i32> {
    let name = name.strip_prefix("SEVERITY_NUMBER_")?;
    let (word, step) = match name.strip_suffix(['2', '3', '4']) {
        Some(word) => (word, name[word.len()..].parse::<i32>().ok()? - 1),
        None => (name, 0),
    };
    let first = match word {
        "UNSPECIFIED" => return Some(0),
        "TRACE" => 1,
        "DEBUG" => 5,
        "INFO" => 9,
        "WARN" => 13,
        "ERROR" => 17,
        "FATAL" => 21,
        _ => return None,
    };
    Some(first + step)
}

enum Number {
    Integer(i128),
    Double(f64),
}

/// Numbers as JSON numbers or in strings, and the names of the doubles that JSON cannot write.
struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a string that holds one")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
        Ok(Number::Integer(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
        Ok(Number::Integer(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
        Ok(number_of_double(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        if let Ok(value) = text.parse::<i128>() {
            return Ok(Number::Integer(value));
        }
        text.parse::<f64>()
            .map(number_of_double)
            .map_err(|_| E::custom(format!("not a number: {:.64}", text)))
    }
}

/// `1e3` and `5.0` are integers where one is wanted.
fn number_of_double(value: f64) -> Number {
    let is_whole = value.fract() == 0.0 && value.abs() < 9e18;
    match is_whole && value.is_finite() {
        true => Number::Integer(value as i128),
        false => Number::Double(value),
    }
}

/// An `AnyValue` that nothing of its kind is around.
struct Root<'a>(Value<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Root<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Root<'a>, D::Error> {
        AnyValue { depth: 0 }.deserialize(deserializer).map(Root)
    }
}

/// A list of `KeyValue` that nothing of its kind is around.
#[derive(Default)]
struct Attributes<'a>(Vec<Attribute<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Attributes<'a>, D::Error> {
        deserializer
            .deserialize_seq(KeyValues { depth: 0 })
            .map(Attributes)
    }
}

/// Reads an `AnyValue`; `depth` counts the values around it.
#[derive(Clone, Copy)]
struct AnyValue {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        if self.depth > DEPTH_READ_MAX {
            let text = <&'de RawValue>::deserialize(deserializer)?.get();
            return Ok(Value::Text(Cow::Borrowed(text)));
        }
        if self.depth > 0 && self.depth.is_multiple_of(LEVELS_PER_PASS) {
            let text = <&'de RawValue>::deserialize(deserializer)?.get();
            let mut deserializer = serde_json::Deserializer::from_str(text);
            return deserializer.deserialize_any(self).map_err(D::Error::custom);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one value, for instance {\"stringValue\":\"x\"}")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut value = Value::Null;
        while let Some(key) = map.next_key::<Text<'de>>()? {
            let read = match &*key.0 {
                "stringValue" => map
                    .next_value::<Option<Text<'de>>>()?
                    .map(|text| Value::Text(text.0)),
                "boolValue" => map.next_value::<Option<bool>>()?.map(Value::Bool),
                "intValue" => map
                    .next_value::<Option<Int>>()?
                    .map(|int| Value::Int(int.0)),
                "doubleValue" => map
                    .next_value::<Option<Double>>()?
                    .map(|double| Value::Double(double.0)),
                "bytesValue" => map
                    .next_value::<Option<Base64>>()?
                    .map(|bytes| Value::Bytes(Cow::Owned(bytes.0))),
                "arrayValue" => map.next_value_seed(Inner::list(self.depth))?,
                "kvlistValue" => map.next_value_seed(Inner::map(self.depth))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    None
                }
            };
            value = read.unwrap_or(value);
        }
        Ok(value)
    }
}

/// Reads `{"values":[...]}` inside an `AnyValue`.
#[derive(Clone, Copy)]
struct Inner {
    depth: usize,
    is_map: bool,
}

impl Inner {
    fn list(depth: usize) -> Inner {
        Inner {
            depth: depth + 1,
            is_map: false,
        }
    }

    fn map(depth: usize) -> Inner {
        Inner {
            depth: depth + 1,
            is_map: true,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Inner {
    type Value = Option<Value<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inner {
    type Value = Option<Value<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with values")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut value = match self.is_map {
            true => Value::Map(Vec::new()),
            false => Value::List(Vec::new()),
        };
        while let Some(key) = map.next_key::<Text<'de>>()? {
            if key.0 != "values" {
                map.next_value::<IgnoredAny>()?;
            } else if self.is_map {
                value = Value::Map(map.next_value_seed(KeyValues { depth: self.depth })?);
            } else {
                value = Value::List(map.next_value_seed(Values { depth: self.depth })?);
            }
        }
        Ok(Some(value))
    }
}

struct Values {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Values {
    type Value = Vec<Value<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values {
    type Value = Vec<Value<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of values")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(AnyValue { depth: self.depth })? {
            values.push(value);
        }
        Ok(values)
    }
}

struct KeyValues {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for KeyValues {
    type Value = Vec<Attribute<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeyValues {
    type Value = Vec<Attribute<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects with key and value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut attributes = Vec::new();
        while let Some(attribute) = seq.next_element_seed(KeyValue { depth: self.depth })? {
            attributes.push(attribute);
        }
        keep_last_of_each_key(&mut attributes);
        Ok(attributes)
    }
}

struct KeyValue {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for KeyValue {
    type Value = Attribute<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for KeyValue {
    type Value = Attribute<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with key and value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attribute<'de>, A::Error> {
        let mut attribute = Attribute {
            key: Cow::Borrowed(""),
            value: Value::Null,
        };
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match &*key.0 {
                "key" => attribute.key = text_of(map.next_value()?),
                "value" => attribute.value = map.next_value_seed(AnyValue { depth: self.depth })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(attribute)
    }
}

struct Int(i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Int, D::Error> {
        match deserializer.deserialize_any(NumberVisitor)? {
            Number::Integer(value) => i64::try_from(value).ok(),
            Number::Double(_) => None,
        }
        .map(Int)
        .ok_or_else(|| D::Error::custom("expected an integer of 64 bits"))
    }
}

struct Double(f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Double, D::Error> {
        Ok(match deserializer.deserialize_any(NumberVisitor)? {
            Number::Integer(value) => Double(value as f64),
            Number::Double(value) => Double(value),
        })
    }
}

struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Base64, D::Error> {
        let text = Text::deserialize(deserializer)?.0;
        BASE64_STANDARD
            .decode(text.as_bytes())
            .or_else(|_| BASE64_URL.decode(text.as_bytes()))
            .map(Base64)
            .map_err(|error| D::Error::custom(format!("not base64: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(request: &str) -> Vec<Result<Record<'_>, String>> {
        let mut records = Vec::new();
        read_logs(request.as_bytes(), &mut |part| {
            if let Part::Record(record) = part {
                records.push(record);
            }
            Ok(())
        })
        .unwrap();
        records
    }

    fn record(record: &str) -> String {
        format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{record}]}}]}}]}}")
    }

    fn value(value: &str) -> Result<Value<'_>, String> {
        serde_json::from_str::<Root<'_>>(value)
            .map(|root| root.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_record_of_the_specification_is_read() {
        let request = r#"{"resourceLogs":[{
            "scopeLogs":[{"logRecords":[{"timeUnixNano":"1700000000000000001","observedTimeUnixNano":1700000000100000000,
                "severityNumber":17,"severityText":"ERROR","body":{"stringValue":"time\tout"},"eventName":"db.timeout","flags":1,
                "attributes":[{"key":"db","value":{"stringValue":"pg"}},{"key":"rows","value":{"intValue":"10"}}],
                "traceId":"5B8EFFF798038103D269b633813fc60c","spanId":"eee19b7ec3c1b174","droppedAttributesCount":2}],
              "scope":{"name":"app.db","version":"1.2","attributes":[{"key":"s","value":{"boolValue":true}}]}}],
            "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}}]},"schemaUrl":"x"}]}"#;
        let mut parts = Vec::new();
        read_logs(request.as_bytes(), &mut |part| {
            parts.push(part);
            Ok(())
        })
        .unwrap();
        let [
            Part::Resource(resource),
            Part::Scope(scope),
            Part::Record(Ok(record)),
        ] = &parts[..]
        else {
            panic!("{parts:?}")
        };
        assert_eq!(resource[0].value, Value::Text("checkout".into()));
        assert_eq!((&*scope.name, &*scope.version), ("app.db", "1.2"));
        assert_eq!(scope.attributes[0].value, Value::Bool(true));
        assert_eq!(record.time_unix_nano, 1_700_000_000_000_000_001);
        assert_eq!(record.observed_time_unix_nano, 1_700_000_000_100_000_000);
        assert_eq!((record.severity_number, record.flags), (17, 1));
        assert_eq!(record.body, Some(Value::Text("time\tout".into())));
        assert_eq!(record.attributes[1].value, Value::Int(10));
        assert_eq!((record.trace_id.len(), record.trace_id[0]), (16, 0x5b));
        assert_eq!(record.span_id.len(), 8);
        assert_eq!(&*record.event_name, "db.timeout");
        assert_eq!(record.dropped_attributes_count, 2);
    }

    #[test]
    fn null_is_absent_and_unknown_keys_are_ignored() {
        for request in [
            "",
            "{}",
            "{\"resourceLogs\":null}",
            "{\"resourceLogs\":[]}",
            "{\"x\":[{}]}",
            "{\"resourceLogs\":[{\"resource\":null,\"scopeLogs\":null}]}",
            "{\"resourceLogs\":[{\"resource\":{\"attributes\":null},\"scopeLogs\":[{\"scope\":{\"name\":null},\"logRecords\":null}]}]}",
        ] {
            assert!(records(request).is_empty(), "{request}");
        }
        let empty = record(
            r#"{"timeUnixNano":null,"body":null,"attributes":null,"traceId":null,"severityNumber":null,"flags":null,"y":{"z":[1]}},{}"#,
        );
        for read in records(&empty) {
            assert_eq!(read, Ok(Record::default()));
        }
        let ids = record(r#"{"traceId":"xyz","spanId":"abc"}"#);
        assert_eq!(records(&ids), [Ok(Record::default())]);
        let name = record(r#"{"severityNumber":"SEVERITY_NUMBER_WARN2"}"#);
        assert_eq!(records(&name)[0].as_ref().unwrap().severity_number, 14);
    }

    #[test]
    fn values_are_read_in_every_spelling() {
        for (text, expected) in [
            ("null", Value::Null),
            ("{}", Value::Null),
            (r#"{"stringValue":null}"#, Value::Null),
            (r#"{"intValue":-7}"#, Value::Int(-7)),
            (
                r#"{"intValue":"9223372036854775807"}"#,
                Value::Int(i64::MAX),
            ),
            (r#"{"intValue":5.0}"#, Value::Int(5)),
            (r#"{"doubleValue":1}"#, Value::Double(1.0)),
            (r#"{"doubleValue":"1.5"}"#, Value::Double(1.5)),
            (
                r#"{"doubleValue":"-Infinity"}"#,
                Value::Double(f64::NEG_INFINITY),
            ),
            (
                r#"{"bytesValue":"/+8="}"#,
                Value::Bytes(vec![0xff, 0xef].into()),
            ),
            (
                r#"{"bytesValue":"_-8"}"#,
                Value::Bytes(vec![0xff, 0xef].into()),
            ),
            (r#"{"arrayValue":{}}"#, Value::List(vec![])),
            (
                r#"{"arrayValue":{"values":[{"boolValue":false},null]}}"#,
                Value::List(vec![Value::Bool(false), Value::Null]),
            ),
            (
                r#"{"kvlistValue":{"values":[{"key":"k"},{"value":{"intValue":1},"key":"k"}]}}"#,
                Value::Map(vec![Attribute {
                    key: "k".into(),
                    value: Value::Int(1),
                }]),
            ),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
        let nan = value(r#"{"doubleValue":"NaN"}"#);
        assert!(matches!(nan, Ok(Value::Double(number)) if number.is_nan()));
        for text in [
            r#"{"intValue":"x"}"#,
            r#"{"intValue":1.5}"#,
            r#"{"boolValue":"yes"}"#,
            r#"{"bytesValue":"*"}"#,
            r#"{"stringValue":1}"#,
            "7",
        ] {
            assert!(value(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bad_record_leaves_its_neighbours_and_a_bad_frame_refuses_all() {
        let request = record(r#"{"flags":1},{"timeUnixNano":"soon"},{"flags":3}"#);
        let read = records(&request);
        assert_eq!(read[0].as_ref().unwrap().flags, 1);
        assert!(read[1].is_err());
        assert_eq!(read[2].as_ref().unwrap().flags, 3);
        for request in [
            "[]",
            "{",
            "{\"resourceLogs\":{}}",
            "{\"resourceLogs\":[1]}",
            "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":7}]}]}",
        ] {
            let outcome = read_logs(request.as_bytes(), &mut |_| Ok(()));
            assert!(
                matches!(outcome, Err(ReadError::Undecodable(_))),
                "{request}"
            );
        }
    }

    #[test]
    fn a_value_nested_without_end_is_cut_to_its_text() {
        let open = r#"{"kvlistValue":{"values":[{"key":"k","value":"#;
        let levels = 500;
        let text = format!(
            "{}{{\"intValue\":1}}{}",
            open.repeat(levels),
            "}]}}".repeat(levels)
        );
        let root = value(&text).unwrap();
        let mut inner = &root;
        let mut depth = 0;
        while let Value::Map(attributes) = inner {
            inner = &attributes[0].value;
            depth += 1;
        }
        assert_eq!(depth, DEPTH_READ_MAX + 1);
        assert!(matches!(inner, Value::Text(text) if text.starts_with("{\"kvlistValue\"")));
    }

    #[test]
    fn points_and_spans_are_counted_without_being_built() {
        let spans = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{},{}]},{"spans":[{}]},{}]},{"scopeSpans":null}]}"#;
        let path: [&[&str]; 3] = [&["resourceSpans"], &["scopeSpans"], &["spans"]];
        assert_eq!(count(spans, &path), Ok(3));
        assert_eq!(count(b"", &path), Ok(0));
        assert!(count(b"{\"resourceSpans\":[}", &path).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r#"[\[\]{}:,"a-z0-9 ]{0,60}"#) {
            let _ = read_logs(text.as_bytes(), &mut |_| Ok(()));
            let inside = record(&format!("{{\"body\":{text}}}"));
            let _ = read_logs(inside.as_bytes(), &mut |_| Ok(()));
            let _ = count(text.as_bytes(), &[&["a"], &["b"]]);
        }
    }
}
