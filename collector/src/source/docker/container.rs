//! What stands in every event of one container, and whether its log is wanted.

use event::Document;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::engine::Inspected;

/// Some orchestrators write whole documents into labels.
const LABELS_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 1024;
/// Compose's name for what a container is one instance of.
const SERVICE_LABEL: &str = "com.docker.compose.service";

/// A container whose log is read.
#[derive(Debug)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the slash.
    pub name: String,
    /// `container.id`, `container.name`, `container.image.name`, `service.name`, `container.labels.*`, `host.name`.
    pub fields: Document,
    /// The same as JSON, without the braces, a comma before it.
    pub fields_json: Vec<u8>,
}

impl Container {
    /// From what the engine says.
    pub fn new(id: &str, inspected: &Inspected, host_name: Option<&str>) -> Container {
        let name = inspected.name.trim_start_matches('/').to_owned();
        let mut fields = Document::new();
        fields.set_str("container.id", id);
        fields.set_str("container.name", &name);
        fields.set_str("container.image.name", &inspected.config.image);
        let labels = inspected.config.labels.iter().flatten();
        let mut labels: Vec<(&String, &String)> = labels.collect();
        labels.sort();
        if let Some((_, service)) = labels.iter().find(|(key, _)| *key == SERVICE_LABEL) {
            fields.set_str("service.name", service);
        }
        let label_count = labels.len();
        labels.retain(|(key, value)| key.len() + value.len() <= LABEL_BYTES_MAX);
        labels.truncate(LABELS_MAX);
        if labels.len() < label_count {
            tracing::info!(
                container = name,
                left_out = label_count - labels.len(),
                "labels beyond {LABELS_MAX} and those of more than {LABEL_BYTES_MAX} bytes are left out of its events"
            );
        }
        for (key, value) in labels {
            fields.set_str(&format!("container.labels.{key}"), value);
        }
        if let Some(host_name) = host_name {
            fields.set_str("host.name", host_name);
        }
        let json = fields.to_bytes();
        let mut fields_json = vec![b','];
        fields_json.extend_from_slice(&json[1..json.len() - 1]);
        Container {
            id: id.to_owned(),
            name,
            fields,
            fields_json,
        }
    }
}

/// `include` or `exclude`: patterns with `*` and `?`. A list that is empty says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Patterns {
    /// Names of containers: `web-*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
    /// Names of images as they were asked for: `nginx:*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Labels, alone or with a value: `com.example.logs`, `tier=front*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

impl Patterns {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.images.is_empty() && self.labels.is_empty()
    }
}

/// Which containers are read.
#[derive(Debug)]
pub struct Selection {
    include: Compiled,
    exclude: Compiled,
    own_id: Option<String>,
}

#[derive(Debug)]
struct Compiled {
    containers: Vec<Regex>,
    images: Vec<Regex>,
    /// A label's name, and its value where the pattern has one.
    labels: Vec<(Regex, Option<Regex>)>,
}

impl Selection {
    /// `host_name` is that of this process: in a container it is the beginning of the container's id, and reading our
    /// own log would make an event of every line about an event.
    ///
    /// # Errors
    /// A pattern is empty.
    pub fn compile(
        include: &Patterns,
        exclude: &Patterns,
        host_name: Option<&str>,
    ) -> Result<Selection, String> {
        let is_id =
            |name: &&str| name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(Selection {
            include: Compiled::new(include)?,
            exclude: Compiled::new(exclude)?,
            own_id: host_name.filter(is_id).map(str::to_owned),
        })
    }

    /// Every list of `include` that is not empty must fit, and none of `exclude` may.
    pub fn selects(&self, id: &str, inspected: &Inspected) -> bool {
        if self.own_id.as_ref().is_some_and(|own| id.starts_with(own)) {
            return false;
        }
        let (include, exclude) = (self.include.fits(inspected), self.exclude.fits(inspected));
        !include.contains(&Some(false)) && !exclude.contains(&Some(true))
    }
}

impl Compiled {
    fn new(patterns: &Patterns) -> Result<Compiled, String> {
        let all = |patterns: &[String]| {
            patterns
                .iter()
                .map(|text| pattern(text))
                .collect::<Result<Vec<Regex>, String>>()
        };
        let labels = patterns
            .labels
            .iter()
            .map(|text| match text.split_once('=') {
                Some((key, value)) => Ok((pattern(key)?, Some(pattern(value)?))),
                None => Ok((pattern(text)?, None)),
            });
        Ok(Compiled {
            containers: all(&patterns.containers)?,
            images: all(&patterns.images)?,
            labels: labels.collect::<Result<_, String>>()?,
        })
    }

    /// By name, image and label; `None` where there are no patterns.
    fn fits(&self, inspected: &Inspected) -> [Option<bool>; 3] {
        let name = inspected.name.trim_start_matches('/');
        let labels = inspected.config.labels.as_ref();
        let has_label = |(key, value): &(Regex, Option<Regex>)| {
            labels.into_iter().flatten().any(|(name, text)| {
                key.is_match(name) && value.as_ref().is_none_or(|value| value.is_match(text))
            })
        };
        let any = |patterns: &[Regex], text: &str| {
            (!patterns.is_empty()).then(|| patterns.iter().any(|pattern| pattern.is_match(text)))
        };
        [
            any(&self.containers, name),
            any(&self.images, &inspected.config.image),
            (!self.labels.is_empty()).then(|| self.labels.iter().any(has_label)),
        ]
    }
}

fn pattern(text: &str) -> Result<Regex, String> {
    if text.is_empty() {
        return Err("a pattern is empty; write * for everything".to_owned());
    }
    let escaped = regex::escape(text).replace(r"\*", ".*").replace(r"\?", ".");
    Regex::new(&format!("(?s)^{escaped}$")).map_err(|error| format!("pattern {text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected() -> Inspected {
        serde_json::from_str(
            r#"{"Name":"/web-1","Config":{"Image":"shop/web:2","Tty":false,"Labels":{
                "com.docker.compose.service":"web","tier":"front","z":"\"q\""}},"State":{"Running":true}}"#,
        )
        .unwrap()
    }

    fn selects(include: &str, exclude: &str) -> bool {
        let read = |text: &str| serde_json::from_str::<Patterns>(text).unwrap();
        Selection::compile(&read(include), &read(exclude), Some("0123456789ab"))
            .unwrap()
            .selects("f00d", &inspected())
    }

    #[test]
    fn containers_are_chosen_by_name_image_and_label() {
        for (include, exclude, expected) in [
            ("{}", "{}", true),
            (r#"{"containers":["web-*"]}"#, "{}", true),
            (r#"{"containers":["web"]}"#, "{}", false),
            (
                r#"{"containers":["web-?"],"images":["nginx*"]}"#,
                "{}",
                false,
            ),
            (r#"{"images":["nginx*","shop/*"]}"#, "{}", true),
            (r#"{"labels":["tier"]}"#, "{}", true),
            (r#"{"labels":["tier=back","tier=fr*"]}"#, "{}", true),
            (r#"{"labels":["tier=back"]}"#, "{}", false),
            ("{}", r#"{"labels":["other"],"containers":["db"]}"#, true),
            (
                "{}",
                r#"{"labels":["other"],"containers":["web-1"]}"#,
                false,
            ),
            (
                r#"{"containers":["*"]}"#,
                r#"{"images":["shop/web:2"]}"#,
                false,
            ),
        ] {
            assert_eq!(selects(include, exclude), expected, "{include} {exclude}");
        }
        let none = Patterns::default();
        let own = Selection::compile(&none, &none, Some("0123456789ab")).unwrap();
        assert!(!own.selects("0123456789abcdef", &inspected()));
        let empty = serde_json::from_str(r#"{"labels":["a="]}"#).unwrap();
        assert!(Selection::compile(&empty, &none, None).is_err());
    }

    #[test]
    fn name_image_and_labels_become_fields() {
        let container = Container::new("f00d", &inspected(), Some("host-1"));
        assert_eq!(
            String::from_utf8(container.fields_json).unwrap(),
            r#","container.id":"f00d","container.name":"web-1","container.image.name":"shop/web:2","service.name":"web","container.labels.com.docker.compose.service":"web","container.labels.tier":"front","container.labels.z":"\"q\"","host.name":"host-1""#
        );
    }
}
