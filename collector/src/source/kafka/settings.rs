//! `type: kafka` under `sources:` in the settings file, and what librdkafka is told because of it.

use std::collections::BTreeMap;
use std::fmt;

use event::IndexName;
use serde::de::{self, Deserializer, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::source::file::StartAt;

/// What the source decides itself, because its promises hang on it, and what would load foreign code.
const OURS: [(&str, &str); 12] = [
    ("bootstrap.servers", "write it as brokers"),
    ("metadata.broker.list", "write it as brokers"),
    ("group.id", "write it as group"),
    ("auto.offset.reset", "write start_at"),
    ("topic.auto.offset.reset", "write start_at"),
    (
        "enable.auto.commit",
        "offsets are committed once events are durable",
    ),
    (
        "auto.commit.enable",
        "offsets are committed once events are durable",
    ),
    (
        "enable.auto.offset.store",
        "offsets are committed once events are durable",
    ),
    ("enable.partition.eof", "it is of no use here"),
    ("statistics.interval.ms", "the lag is read from it"),
    ("plugin.library.paths", "Daybook loads no foreign code"),
    ("builtin.features", "it cannot be chosen"),
];

/// Options whose values are never shown; `file:/run/secrets/x` reads one from a file.
const SECRETS: [&str; 8] = [
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// One entry under `sources:`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the cluster is asked for, as `kafka-1:9092`; one that answers is enough.
    pub brokers: Vec<String>,
    /// Names of topics; those that begin with `^` are regular expressions over all topics, also later ones.
    pub topics: Vec<String>,
    /// The consumer group, whose offsets say how far it has read. Daybooks of one group share the partitions.
    #[serde(default = "default_group")]
    pub group: String,
    /// The index of its events; `logs` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The pipeline its events go through.
    #[serde(
        default,
        deserialize_with = "crate::pipeline::names",
        skip_serializing_if = "Option::is_none"
    )]
    pub pipeline: Option<String>,
    /// Where a group begins that has read nothing yet. Partitions that appear later are read whole.
    #[serde(default)]
    pub start_at: StartAt,
    /// Properties of librdkafka, passed through: `security.protocol`, `sasl.mechanisms` and so on.
    #[serde(default, skip_serializing_if = "Options::is_empty")]
    pub options: Options,
}

/// Properties of librdkafka by name. Those that are secret print as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, OptionValue>);

#[derive(Clone, PartialEq, Eq)]
enum OptionValue {
    Open(String),
    Hidden(Secret),
}

impl Settings {
    /// Checks everything that can be checked without asking a broker.
    ///
    /// # Errors
    /// The setting and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.brokers.is_empty() {
            let problem = "is empty; write for instance [\"kafka-1:9092\"]";
            return Err(("brokers", problem.to_owned()));
        }
        let is_wrong = |broker: &&String| broker.is_empty() || broker.contains([',', ' ', '\0']);
        if let Some(broker) = self.brokers.iter().find(is_wrong) {
            let problem = format!("{broker:?} is no address; write for instance kafka-1:9092");
            return Err(("brokers", problem));
        }
        if self.topics.is_empty() {
            let problem = "is empty; write for instance [\"orders\", \"^logs-.*\"]";
            return Err(("topics", problem.to_owned()));
        }
        if let Some(topic) = self.topics.iter().find(|topic| !is_topic(topic)) {
            let problem = format!(
                "{topic:?} is no topic: names have letters, digits, '.', '_' and '-'; an expression begins with ^"
            );
            return Err(("topics", problem));
        }
        if self.group.is_empty() || self.group.contains('\0') {
            return Err(("group", "is empty; write for instance daybook".to_owned()));
        }
        self.check_options()
            .map_err(|problem| ("options", problem))?;
        self.index_name()
            .map(|_| ())
            .map_err(|problem| ("index", problem))
    }

    /// The index of its events.
    ///
    /// # Errors
    /// The name is none.
    pub fn index_name(&self) -> Result<IndexName, String> {
        match &self.index {
            None => Ok(IndexName::default_index()),
            Some(name) => IndexName::parse(name).map_err(|error| error.to_string()),
        }
    }

    fn check_options(&self) -> Result<(), String> {
        for (name, value) in self.options.iter() {
            if let Some((_, why)) = OURS.iter().find(|(ours, _)| *ours == name) {
                return Err(format!("{name} cannot be set here: {why}"));
            }
            if name.contains('\0') || value.contains('\0') {
                return Err(format!("{name:?} holds a zero byte"));
            }
        }
        self.check_mechanism()?;
        #[cfg(feature = "kafka")]
        self.check_with_librdkafka()?;
        Ok(())
    }

    /// Of what cannot be done here librdkafka's own words name no way out.
    fn check_mechanism(&self) -> Result<(), String> {
        let lower = |name: &str| self.options.get(name).map(str::to_ascii_lowercase);
        let mechanism = lower("sasl.mechanisms")
            .or_else(|| lower("sasl.mechanism"))
            .unwrap_or_default();
        let missing = match &*mechanism {
            "" | "gssapi" if self.protocol().starts_with("sasl") => {
                "Kerberos (GSSAPI, which stands for none)"
            }
            // Its tokens are fetched by us or by a library that librdkafka is built without.
            "oauthbearer" => "OAUTHBEARER",
            _ => return Ok(()),
        };
        Err(format!(
            "sasl.mechanisms: write PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; {missing} is not built in"
        ))
    }

    /// How the brokers are spoken to, in small letters; empty for librdkafka's own choice.
    fn protocol(&self) -> String {
        self.options
            .get("security.protocol")
            .unwrap_or_default()
            .to_ascii_lowercase()
    }

    #[cfg(feature = "kafka")]
    fn check_with_librdkafka(&self) -> Result<(), String> {
        match self.client_config().create_native_config() {
            Ok(_) => Ok(()),
            Err(rdkafka::error::KafkaError::ClientConfig(_, problem, name, _)) => {
                Err(format!("{name}: {problem}"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Everything librdkafka is told.
    #[cfg(feature = "kafka")]
    pub(super) fn client_config(&self) -> rdkafka::ClientConfig {
        let mut config = rdkafka::ClientConfig::new();
        config
            .set("client.id", "daybook")
            // A partition stays where it is while others move.
            .set("partition.assignment.strategy", "cooperative-sticky")
            // A killed Daybook's partitions wait this long for another one. Kafka's 45 s are for slow consumers.
            .set("session.timeout.ms", "10000")
            // How soon members hear that partitions are to be moved. Until all have, commits wait.
            .set("heartbeat.interval.ms", "1000")
            // How soon a new topic is found that an expression fits; 5 minutes otherwise.
            .set("topic.metadata.refresh.interval.ms", "30000")
            // What is read ahead, in memory.
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.max.bytes", "16777216")
            .set("fetch.wait.max.ms", "100");
        if self.options.get("group.protocol") == Some("consumer") {
            // These are the broker's to decide then (KIP-848).
            config.remove("partition.assignment.strategy");
            config.remove("session.timeout.ms");
            config.remove("heartbeat.interval.ms");
        }
        if self.protocol().ends_with("ssl") {
            // The machine's authorities, wherever its distribution has them: our OpenSSL only knows a folder of its own.
            config.set("ssl.ca.location", "probe");
        }
        for (name, value) in self.options.iter() {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Where a group begins is decided before (see `consumer.rs`); this is for offsets whose messages are gone.
            .set("auto.offset.reset", "earliest")
            .set("statistics.interval.ms", "2000");
        config
    }
}

impl Options {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of one of them, secret or not.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(OptionValue::expose)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()))
    }
}

impl OptionValue {
    fn new(name: &str, text: String) -> Result<OptionValue, String> {
        match SECRETS.contains(&name) {
            true => Secret::parse(&text).map(OptionValue::Hidden),
            false => Ok(OptionValue::Open(text)),
        }
    }

    fn expose(&self) -> &str {
        match self {
            OptionValue::Open(text) => text,
            OptionValue::Hidden(secret) => secret.expose(),
        }
    }
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Options, D::Error> {
        let written = BTreeMap::<String, Scalar>::deserialize(deserializer)?;
        let mut options = BTreeMap::new();
        for (name, Scalar(text)) in written {
            let value = OptionValue::new(&name, text)
                .map_err(|problem| de::Error::custom(format!("{name}: {problem}")))?;
            options.insert(name, value);
        }
        Ok(Options(options))
    }
}

/// Settings are only written to be shown.
impl Serialize for Options {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                OptionValue::Open(text) => map.serialize_entry(name, text)?,
                OptionValue::Hidden(secret) => map.serialize_entry(name, secret)?,
            }
        }
        map.end()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|(name, value)| match value {
            OptionValue::Open(text) => (name, text.as_str()),
            OptionValue::Hidden(_) => (name, "***"),
        });
        f.debug_map().entries(shown).finish()
    }
}

/// `true`, `9` and `"text"` alike: librdkafka takes texts.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        struct Any;

        impl Visitor<'_> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// A name as Kafka allows it, or an expression.
fn is_topic(topic: &str) -> bool {
    if topic.starts_with('^') {
        return topic.len() > 1 && !topic.contains('\0');
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=249).contains(&topic.len()) && topic.bytes().all(is_allowed)
}

fn default_group() -> String {
    "daybook".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> Settings {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn mistakes_in_the_settings_are_named() {
        for (json, setting, part) in [
            (r#"{"brokers":[],"topics":["a"]}"#, "brokers", "is empty"),
            (
                r#"{"brokers":["a:1,b:2"],"topics":["a"]}"#,
                "brokers",
                "no address",
            ),
            (r#"{"brokers":["a:1"],"topics":[]}"#, "topics", "is empty"),
            (
                r#"{"brokers":["a:1"],"topics":["a b"]}"#,
                "topics",
                "is no topic",
            ),
            (
                r#"{"brokers":["a:1"],"topics":["a"],"group":""}"#,
                "group",
                "is empty",
            ),
            (
                r#"{"brokers":["a:1"],"topics":["a"],"index":"Upper"}"#,
                "index",
                "[Upper]",
            ),
            (
                r#"{"brokers":["a:1"],"topics":["a"],"options":{"group.id":"x"}}"#,
                "options",
                "write it as group",
            ),
        ] {
            let (named, problem) = settings(json).check().unwrap_err();
            assert_eq!(named, setting, "{json}");
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn a_secret_option_is_not_shown() {
        let settings = settings(
            r#"{"brokers":["a:1"],"topics":["^a.*"],"options":{"sasl.username":"me","sasl.password":"s3cr3t","socket.keepalive.enable":true,"fetch.min.bytes":1}}"#,
        );
        let shown = format!("{settings:?} {}", serde_json::to_string(&settings).unwrap());
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(shown.contains(r#""sasl.password":"***""#), "{shown}");
        assert_eq!(settings.options.get("sasl.password"), Some("s3cr3t"));
        assert_eq!(
            settings.options.get("socket.keepalive.enable"),
            Some("true")
        );
        assert_eq!(settings.check(), Ok(()));
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn librdkafka_is_asked_about_its_properties() {
        for (option, part) in [
            (r#""no.such.thing":1"#, "no.such.thing"),
            (r#""fetch.min.bytes":"many""#, "fetch.min.bytes"),
        ] {
            let json = format!(r#"{{"brokers":["a:1"],"topics":["a"],"options":{{{option}}}}}"#);
            let (_, problem) = settings(&json).check().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn brokers_with_tls_are_checked_against_the_machines_authorities() {
        let authorities = |options: &str| {
            let json = format!(r#"{{"brokers":["a:1"],"topics":["a"],"options":{{{options}}}}}"#);
            let settings = settings(&json);
            assert_eq!(settings.check(), Ok(()), "{options}");
            settings
                .client_config()
                .get("ssl.ca.location")
                .map(str::to_owned)
        };
        let scram = r#""security.protocol":"SASL_SSL","sasl.mechanisms":"SCRAM-SHA-512","sasl.username":"a","sasl.password":"b""#;
        assert_eq!(authorities(scram).as_deref(), Some("probe"));
        let own = format!(r#"{scram},"ssl.ca.location":"/etc/hostname""#);
        assert_eq!(authorities(&own).as_deref(), Some("/etc/hostname"));
        assert_eq!(authorities(r#""security.protocol":"plaintext""#), None);
    }

    #[test]
    fn mechanisms_that_are_not_built_in_are_named() {
        for (options, name) in [
            (r#""security.protocol":"SASL_PLAINTEXT""#, "Kerberos"),
            (
                r#""security.protocol":"SASL_SSL","sasl.mechanism":"OAUTHBEARER""#,
                "OAUTHBEARER",
            ),
        ] {
            let json = format!(r#"{{"brokers":["a:1"],"topics":["a"],"options":{{{options}}}}}"#);
            let (setting, problem) = settings(&json).check().unwrap_err();
            assert_eq!(setting, "options");
            assert!(problem.contains(&format!("; {name}")), "{problem}");
            assert!(problem.contains("SCRAM-SHA-256"), "{problem}");
        }
    }
}
