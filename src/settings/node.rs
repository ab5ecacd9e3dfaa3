//! A settings file as a tree in which every key and value knows its place, so that every mistake can name its line.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::suggestion::did_you_mean;

/// A line and a column of the settings file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What stands there.
    pub value: Value,
}

/// A key with its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// Where it begins.
    pub place: Place,
    /// The key.
    pub name: String,
}

/// What a YAML node can be, as far as settings are concerned.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number above `i64::MAX`.
    Unsigned(u64),
    /// Any other number.
    Float(f64),
    /// Everything else that is written in one piece.
    Text(String),
    /// `[a, b]` or lines with dashes.
    List(Vec<Node>),
    /// `{a: b}` or indented lines.
    Map(Vec<(Key, Node)>),
}

/// A value that does not fit the setting it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The innermost value or key at fault, where known.
    pub place: Option<Place>,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Node {
    /// One word for what it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Integer(_) | Value::Unsigned(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// A scalar as it would be written in YAML; `None` for lists, mappings and nothing.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Integer(value) => Some(value.to_string()),
            Value::Unsigned(value) => Some(value.to_string()),
            Value::Float(value) => Some(value.to_string()),
            Value::Text(value) => Some(value.clone()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The value under a key of a mapping.
    pub fn entry(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries
                .iter()
                .find(|(key, _)| key.name == name)
                .map(|(_, node)| node),
            _ => None,
        }
    }

    /// The same mapping without one key.
    pub fn without(&self, name: &str) -> Node {
        let mut node = self.clone();
        if let Value::Map(entries) = &mut node.value {
            entries.retain(|(key, _)| key.name != name);
        }
        node
    }

    /// Reads it into the settings type of a part.
    ///
    /// # Errors
    /// The first thing that does not fit, with its place.
    pub fn read<T: de::DeserializeOwned>(&self) -> Result<T, Misfit> {
        T::deserialize(self).map_err(|misfit| misfit.at(self.place))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node {
            place: place_of(&spanned.referenced),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Key {
            place: place_of(&spanned.referenced),
            name: spanned.value,
        })
    }
}

fn place_of(location: &serde_saphyr::Location) -> Place {
    Place {
        line: location.line(),
        column: location.column(),
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Unsigned(value), Value::Integer))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            nodes.push(entry);
        }
        Ok(Value::Map(nodes))
    }
}

impl Misfit {
    fn at(mut self, place: Place) -> Misfit {
        self.place.get_or_insert(place);
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Misfit {
        Misfit {
            place: None,
            problem: message.to_string(),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Misfit {
        unknown("key", field, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Misfit {
        unknown("name", variant, expected)
    }

    /// In the words of the file, not of Rust.
    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Misfit {
        let expected = expected.to_string();
        let expected = match expected.as_str() {
            "a sequence" => "a list, [...]",
            "a map" => "names with values, { name: value }",
            "a boolean" => "true or false",
            "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
            "i8" | "i16" | "i32" | "i64" => "a whole number, which may be negative",
            "f32" | "f64" => "a number",
            "a string" => "a text",
            text if text.starts_with("struct ") => "its settings, { name: value }",
            text => text,
        };
        let found = match found {
            de::Unexpected::Str(text) => format!("the text {text:?}"),
            de::Unexpected::Seq => "a list".to_owned(),
            de::Unexpected::Map => "a mapping".to_owned(),
            de::Unexpected::Unit => "nothing".to_owned(),
            de::Unexpected::Bool(value) => value.to_string(),
            de::Unexpected::Signed(number) => format!("the number {number}"),
            de::Unexpected::Unsigned(number) => format!("the number {number}"),
            de::Unexpected::Float(number) => format!("the number {number}"),
            other => other.to_string(),
        };
        de::Error::custom(format_args!("expected {expected}, found {found}"))
    }

    fn missing_field(field: &'static str) -> Misfit {
        de::Error::custom(format_args!("the key {field} is missing"))
    }
}

fn unknown(what: &str, name: &str, expected: &[&str]) -> Misfit {
    de::Error::custom(format_args!(
        "unknown {what} {name:?}{}",
        did_you_mean(name, expected)
    ))
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let read = match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::List(nodes) => visitor.visit_seq(Items(nodes.iter())),
            Value::Map(entries) => visitor.visit_map(Entries {
                entries: entries.iter(),
                current: None,
            }),
        };
        read.map_err(|misfit| misfit.at(self.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// A text may be written without quotes even where YAML reads a number or a truth value.
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.scalar_text() {
            Some(text) => visitor
                .visit_string(text)
                .map_err(|misfit: Misfit| misfit.at(self.place)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_string(visitor)
    }

    /// One value is a list of one: `include: /var/log/shop.log`.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::List(_) | Value::Map(_) | Value::Null => self.deserialize_any(visitor),
            _ => visitor
                .visit_seq(Items(std::slice::from_ref(self).iter()))
                .map_err(|misfit: Misfit| misfit.at(self.place)),
        }
    }

    /// What else would have been understood is told by name.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if matches!(self.value, Value::Map(_)) || fields.is_empty() {
            return self.deserialize_any(visitor);
        }
        Err(<Misfit as de::Error>::custom(format_args!(
            "expected settings, for instance {{ {}: ... }}, found {}; known are {}",
            fields[0],
            self.scalar_text()
                .map_or_else(|| self.kind().to_owned(), |text| format!("{text:?}")),
            fields.join(", ")
        ))
        .at(self.place))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    /// `name` or `name: content`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let read = match &self.value {
            Value::Text(name) => visitor.visit_enum(Variant {
                name,
                place: self.place,
                content: None,
            }),
            Value::Map(entries) if entries.len() == 1 => visitor.visit_enum(Variant {
                name: &entries[0].0.name,
                place: entries[0].0.place,
                content: Some(&entries[0].1),
            }),
            _ => Err(de::Error::custom(format_args!(
                "expected one name with its settings, found {}",
                self.kind()
            ))),
        };
        read.map_err(|misfit| misfit.at(self.place))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Misfit;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let Some(node) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(node)
            .map(Some)
            .map_err(|misfit| misfit.at(node.place))
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, (Key, Node)>,
    current: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Misfit;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Misfit> {
        let Some((key, node)) = self.entries.next() else {
            return Ok(None);
        };
        self.current = Some(node);
        seed.deserialize(key.name.as_str().into_deserializer())
            .map(Some)
            .map_err(|misfit: Misfit| misfit.at(key.place))
    }

    fn next_value_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, Misfit> {
        let node = self
            .current
            .take()
            .ok_or_else(|| <Misfit as de::Error>::custom("a value without a key"))?;
        seed.deserialize(node)
            .map_err(|misfit| misfit.at(node.place))
    }
}

struct Variant<'de> {
    name: &'de str,
    place: Place,
    content: Option<&'de Node>,
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = Misfit;
    type Variant = Content<'de>;

    fn variant_seed<T: de::DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Content<'de>), Misfit> {
        let name: de::value::StrDeserializer<'de, Misfit> = self.name.into_deserializer();
        let variant = seed
            .deserialize(name)
            .map_err(|misfit| misfit.at(self.place))?;
        Ok((variant, Content(self.content)))
    }
}

struct Content<'de>(Option<&'de Node>);

impl<'de> Content<'de> {
    fn node(self) -> Result<&'de Node, Misfit> {
        self.0
            .ok_or_else(|| de::Error::custom("its settings are missing"))
    }
}

impl<'de> de::VariantAccess<'de> for Content<'de> {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        match self.0 {
            None => Ok(()),
            Some(node) => Err(<Misfit as de::Error>::custom("takes no settings").at(node.place)),
        }
    }

    fn newtype_variant_seed<T: de::DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Misfit> {
        seed.deserialize(self.node()?)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.node()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.node()?.deserialize_any(visitor)
    }
}
