//! One step as the settings write it: `grok: {...}`, with `when` and `on_error` beside it.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor,
};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use super::{
    Lookup, Transform, add, condition, convert, csv, date, dedup, detect, drop, geoip, grok, json,
    kv, level, logfmt, lookup, redact, regex, remove, rename, route, sample, throttle,
};

/// A step, and when and how it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSettings {
    /// What it does.
    pub transform: TransformSettings,
    /// Which events it runs for; without it, all.
    pub when: Option<condition::Settings>,
    /// What becomes of events it fails on; without it, what the pipeline says.
    pub on_error: Option<OnError>,
}

/// What becomes of an event a step fails on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It goes on as it was, with `error.message` and `error.type`.
    #[default]
    Keep,
    /// It is stored in the index `dead-letter` as it was before the pipeline, to be taken through again later.
    DeadLetter,
}

/// What a step does: its name and its own settings.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TransformSettings {
    /// See [`json`].
    Json(json::Settings),
    /// See [`grok`].
    Grok(grok::Settings),
    /// See [`date`].
    Date(date::Settings),
    /// See [`logfmt`].
    Logfmt(logfmt::Settings),
    /// See [`kv`].
    Kv(kv::Settings),
    /// See [`csv`].
    Csv(csv::Settings),
    /// See [`regex`].
    Regex(regex::Settings),
    /// See [`rename`].
    Rename(rename::Settings),
    /// See [`remove`].
    Remove(remove::Settings),
    /// See [`add`].
    Add(add::Settings),
    /// See [`convert`].
    Convert(convert::Settings),
    /// See [`level`].
    Level(level::Settings),
    /// See [`redact`].
    Redact(redact::Settings),
    /// See [`sample`].
    Sample(sample::Settings),
    /// See [`throttle`].
    Throttle(throttle::Settings),
    /// See [`dedup`].
    Dedup(dedup::Settings),
    /// See [`mod@drop`].
    Drop(drop::Settings),
    /// See [`geoip`].
    Geoip(geoip::Settings),
    /// See [`lookup`].
    Lookup(lookup::Settings),
    /// See [`route`].
    Route(route::Settings),
    /// See [`detect`].
    Detect(detect::Settings),
    /// See [`vrl`](super::vrl).
    #[cfg(feature = "vrl")]
    Vrl(super::vrl::Settings),
}

impl TransformSettings {
    /// The step's name in settings, counters and messages.
    pub fn kind(&self) -> &'static str {
        match self {
            TransformSettings::Json(_) => "json",
            TransformSettings::Grok(_) => "grok",
            TransformSettings::Date(_) => "date",
            TransformSettings::Logfmt(_) => "logfmt",
            TransformSettings::Kv(_) => "kv",
            TransformSettings::Csv(_) => "csv",
            TransformSettings::Regex(_) => "regex",
            TransformSettings::Rename(_) => "rename",
            TransformSettings::Remove(_) => "remove",
            TransformSettings::Add(_) => "add",
            TransformSettings::Convert(_) => "convert",
            TransformSettings::Level(_) => "level",
            TransformSettings::Redact(_) => "redact",
            TransformSettings::Sample(_) => "sample",
            TransformSettings::Throttle(_) => "throttle",
            TransformSettings::Dedup(_) => "dedup",
            TransformSettings::Drop(_) => "drop",
            TransformSettings::Geoip(_) => "geoip",
            TransformSettings::Lookup(_) => "lookup",
            TransformSettings::Route(_) => "route",
            TransformSettings::Detect(_) => "detect",
            #[cfg(feature = "vrl")]
            TransformSettings::Vrl(_) => "vrl",
        }
    }

    /// Makes the step ready to run. `pipelines` answers the pipelines a `route` may name.
    ///
    /// # Errors
    /// What is wrong with the settings, as a sentence without its place.
    pub fn compile(&self, pipelines: &mut Lookup<'_>) -> Result<Box<dyn Transform>, String> {
        Ok(match self {
            TransformSettings::Json(settings) => Box::new(json::Json::compile(settings)?),
            TransformSettings::Grok(settings) => Box::new(grok::Grok::compile(settings)?),
            TransformSettings::Date(settings) => Box::new(date::Date::compile(settings)?),
            TransformSettings::Logfmt(settings) => Box::new(logfmt::Logfmt::compile(settings)?),
            TransformSettings::Kv(settings) => Box::new(kv::Kv::compile(settings)?),
            TransformSettings::Csv(settings) => Box::new(csv::Csv::compile(settings)?),
            TransformSettings::Regex(settings) => Box::new(regex::Regex::compile(settings)?),
            TransformSettings::Rename(settings) => Box::new(rename::Rename::compile(settings)?),
            TransformSettings::Remove(settings) => Box::new(remove::Remove::compile(settings)?),
            TransformSettings::Add(settings) => Box::new(add::Add::compile(settings)?),
            TransformSettings::Convert(settings) => Box::new(convert::Convert::compile(settings)?),
            TransformSettings::Level(settings) => Box::new(level::Level::compile(settings)?),
            TransformSettings::Redact(settings) => Box::new(redact::Redact::compile(settings)?),
            TransformSettings::Sample(settings) => Box::new(sample::Sample::compile(settings)?),
            TransformSettings::Throttle(settings) => {
                Box::new(throttle::Throttle::compile(settings)?)
            }
            TransformSettings::Dedup(settings) => Box::new(dedup::Dedup::compile(settings)?),
            TransformSettings::Drop(settings) => Box::new(drop::Drop::compile(settings)),
            TransformSettings::Geoip(settings) => Box::new(geoip::Geoip::compile(settings)?),
            TransformSettings::Lookup(settings) => Box::new(lookup::Lookup::compile(settings)?),
            TransformSettings::Route(settings) => {
                Box::new(route::Route::compile(settings, pipelines)?)
            }
            TransformSettings::Detect(settings) => Box::new(detect::Detect::compile(settings)),
            #[cfg(feature = "vrl")]
            TransformSettings::Vrl(settings) => Box::new(super::vrl::Vrl::compile(settings)?),
        })
    }
}

impl Serialize for StepSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        // The enum is a map of one entry; the other keys go beside it.
        let transform = serde_json::to_value(&self.transform).map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        for (name, settings) in transform.as_object().into_iter().flatten() {
            map.serialize_entry(name, settings)?;
        }
        if let Some(when) = &self.when {
            map.serialize_entry("when", when)?;
        }
        if let Some(on_error) = &self.on_error {
            map.serialize_entry("on_error", on_error)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for StepSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StepSettings, D::Error> {
        deserializer.deserialize_any(StepVisitor)
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = StepSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a step, for instance grok: {...}")
    }

    /// `- json` is short for `- json: {}`.
    fn visit_str<E: de::Error>(self, name: &str) -> Result<StepSettings, E> {
        elsewhere(name)?;
        let only = MapDeserializer::new(std::iter::once((name, NoSettings)));
        Ok(StepSettings {
            transform: TransformSettings::deserialize(MapAccessDeserializer::new(only))?,
            when: None,
            on_error: None,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StepSettings, A::Error> {
        let mut entries = Entries {
            map,
            when: None,
            on_error: None,
        };
        let transform = TransformSettings::deserialize(MapAccessDeserializer::new(&mut entries))?;
        if let Some(second) = entries.next_name()? {
            return Err(A::Error::custom(match second.as_str() {
                "if" | "condition" | "filter" => format!(
                    "write when instead of {second}, for instance when: {{ field: level, equals: debug }}"
                ),
                _ => format!("a step does one thing; make {second} a step of its own"),
            }));
        }
        Ok(StepSettings {
            transform,
            when: entries.when,
            on_error: entries.on_error,
        })
    }
}

/// The settings of a step that is written as its name alone.
struct NoSettings;

impl<'de, E: de::Error> IntoDeserializer<'de, E> for NoSettings {
    type Deserializer = MapDeserializer<'de, std::iter::Empty<(&'de str, &'de str)>, E>;

    fn into_deserializer(self) -> Self::Deserializer {
        MapDeserializer::new(std::iter::empty())
    }
}

/// What other pipelines have as a step and this one has elsewhere.
fn elsewhere<E: de::Error>(name: &str) -> Result<(), E> {
    Err(E::custom(match name {
        "multiline" => {
            "multiline is no step: only sources know where lines end; write it on the source of type file or docker, for instance multiline: { preset: java }"
        }
        "mutate" => "there is no mutate; rename, remove and add are steps of their own",
        "filter" => "there is no filter; write drop: {} with a when beside it",
        _ => return Ok(()),
    }))
}

/// The entries of a step, without those that are not its name.
struct Entries<A> {
    map: A,
    when: Option<condition::Settings>,
    on_error: Option<OnError>,
}

impl<'de, A: MapAccess<'de>> Entries<A> {
    fn next_name(&mut self) -> Result<Option<String>, A::Error> {
        while let Some(name) = self.map.next_key::<String>()? {
            match name.as_str() {
                "when" => self.when = Some(self.map.next_value()?),
                "on_error" => self.on_error = Some(self.map.next_value()?),
                _ => return Ok(Some(name)),
            }
        }
        Ok(None)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for &mut Entries<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.next_name()? {
            Some(name) => elsewhere(&name)
                .and(Ok(name))
                .and_then(|name| seed.deserialize(StrDeserializer::new(&name)).map(Some)),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_written_with_its_conditions_beside_it() {
        for text in [
            r#"{"remove":["a"]}"#,
            r#"{"when":{"field":"x","exists":true},"remove":["a"],"on_error":"dead_letter"}"#,
            r#"{"grok":{"pattern":"%{IP:ip}"},"on_error":"keep"}"#,
        ] {
            let step: StepSettings = serde_json::from_str(text).unwrap();
            let written = serde_json::to_string(&step).unwrap();
            assert_eq!(
                serde_json::from_str::<StepSettings>(&written).unwrap(),
                step
            );
        }
        let short: StepSettings = serde_json::from_str(r#""json""#).unwrap();
        assert_eq!(
            short,
            serde_json::from_str::<StepSettings>(r#"{"json":{}}"#).unwrap()
        );
        for (text, part) in [
            (r#""jsn""#, "expected one of `json`, `grok`"),
            (r#""multiline""#, "on the source of type file or docker"),
            (r#"{"multiline":{"preset":"java"}}"#, "on the source"),
            (r#"{"mutate":{}}"#, "rename, remove and add"),
            (r#"{"drop":{},"if":"x"}"#, "write when instead of if"),
            (r#"{"gork":{}}"#, "expected one of `json`, `grok`"),
            (
                r#"{"remove":["a"],"add":{"b":1}}"#,
                "make add a step of its own",
            ),
            (
                r#"{"remove":["a"],"on_error":"panic"}"#,
                "`keep` or `dead_letter`",
            ),
            (r#"{"when":{"field":"x","exists":true}}"#, "enum"),
        ] {
            let problem = serde_json::from_str::<StepSettings>(text).unwrap_err();
            assert!(problem.to_string().contains(part), "{text}: {problem}");
        }
    }
}
