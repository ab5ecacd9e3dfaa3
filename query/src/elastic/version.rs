//! Which version of Elasticsearch we say we are. One number cannot satisfy all clients, so each gets its own.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};

/// The versions to report; every one three numbers, as `8.17.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSettings {
    /// Reported to everyone, when set.
    pub fixed: Option<String>,
    /// Reported to OpenSearch Dashboards. 1.x and 2.x take exactly `7.10.2`; 3.x wants its own major and minor.
    pub opensearch_dashboards: String,
    /// Reported to clients that ask to be answered as version 9 does.
    pub newest: String,
    /// Reported to everyone else. Grafana warns and the Ruby client refuses below 8.0.0.
    pub usual: String,
}

impl Default for VersionSettings {
    fn default() -> VersionSettings {
        VersionSettings {
            fixed: None,
            opensearch_dashboards: "7.10.2".to_owned(),
            newest: "9.2.0".to_owned(),
            usual: "8.17.0".to_owned(),
        }
    }
}

/// A version that fits one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Three numbers.
    pub number: String,
}

/// The versions that go with a major version, in `GET /`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Companions {
    pub(super) lucene: &'static str,
    pub(super) wire: &'static str,
    pub(super) index: &'static str,
}

impl Version {
    /// The version for the client that sent these headers: the first of fixed, OpenSearch Dashboards, Kibana's own,
    /// a Beat's or agent's own, version 9, the usual one.
    pub fn negotiate(headers: &HeaderMap, settings: &VersionSettings) -> Version {
        let number = Version::number_for(headers, settings);
        Version { number }
    }

    fn number_for(headers: &HeaderMap, settings: &VersionSettings) -> String {
        if let Some(fixed) = &settings.fixed {
            return fixed.clone();
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text("x-elastic-product-origin").unwrap_or_default();
        if origin.eq_ignore_ascii_case("opensearch-dashboards") {
            return settings.opensearch_dashboards.clone();
        }
        let agent = text(USER_AGENT.as_str()).unwrap_or_default();
        if let Some(own) = version_of_agent(agent) {
            return own;
        }
        let media = [ACCEPT, CONTENT_TYPE].into_iter();
        let is_version_9 = media
            .flat_map(|name| headers.get_all(name))
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.contains("compatible-with=9"));
        match is_version_9 {
            true => settings.newest.clone(),
            false => settings.usual.clone(),
        }
    }

    /// The first of the three numbers; replies to clients of version 7 carry `_type`.
    pub fn major(&self) -> u32 {
        let major = self.number.split('.').next().unwrap_or_default();
        major.parse().unwrap_or(8)
    }

    pub(super) fn companions(&self) -> Companions {
        match self.major() {
            ..=7 => Companions {
                lucene: "8.7.0",
                wire: "6.8.0",
                index: "6.0.0-beta1",
            },
            8 => Companions {
                lucene: "9.12.0",
                wire: "7.17.0",
                index: "7.0.0",
            },
            _ => Companions {
                lucene: "10.3.0",
                wire: "8.19.0",
                index: "8.0.0",
            },
        }
    }
}

/// Kibana, Beats and agents compare the server's version with their own: they get it back.
fn version_of_agent(agent: &str) -> Option<String> {
    let product = agent.split_whitespace().next()?;
    let (name, version) = product.split_once('/')?;
    let is_elastic = name.starts_with("Elastic-") || name == "Kibana";
    is_elastic.then(|| three_numbers(version)).flatten()
}

/// `8.11.0` of `8.11.0-SNAPSHOT`.
fn three_numbers(text: &str) -> Option<String> {
    let core = text.split(['-', '+']).next()?;
    let numbers: Vec<&str> = core.split('.').collect();
    let is_version = numbers.len() == 3
        && numbers.iter().all(|number| {
            (1..=4).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
        });
    is_version.then(|| core.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn negotiated(headers: &[(&str, &str)], settings: &VersionSettings) -> String {
        let pairs = headers.iter().map(|(name, value)| {
            let name = HeaderName::try_from(*name).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        Version::negotiate(&pairs.collect(), settings).number
    }

    #[test]
    fn each_client_hears_a_version_it_accepts() {
        let dashboards = ("x-elastic-product-origin", "opensearch-dashboards");
        let kibana = ("x-elastic-product-origin", "kibana");
        let v8 = "application/vnd.elasticsearch+json; compatible-with=8";
        let v9 = "application/vnd.elasticsearch+json;compatible-with=9";
        let cases: [(&[(&str, &str)], &str); 16] = [
            // curl, Grafana's in-tree source, rsyslog, Vector.
            (&[], "8.17.0"),
            (&[("user-agent", "curl/8.5.0")], "8.17.0"),
            (&[("user-agent", "Grafana/11.2.0")], "8.17.0"),
            // Grafana's own plugin is built on go-elasticsearch 8.
            (
                &[
                    (
                        "user-agent",
                        "go-elasticsearch/8.19.0 (linux amd64; Go 1.25)",
                    ),
                    ("accept", v8),
                ],
                "8.17.0",
            ),
            (
                &[
                    (
                        "user-agent",
                        "go-elasticsearch/9.1.0 (linux amd64; Go 1.25)",
                    ),
                    ("accept", v9),
                ],
                "9.2.0",
            ),
            (
                &[("user-agent", "elasticsearch-py/8.15.0"), ("accept", v8)],
                "8.17.0",
            ),
            (
                &[
                    ("user-agent", "elasticsearch-py/9.0.0"),
                    (
                        "content-type",
                        "application/vnd.elasticsearch+x-ndjson; compatible-with=9",
                    ),
                ],
                "9.2.0",
            ),
            (
                &[("user-agent", "elasticsearch-py/7.17.9 (Python 3.11)")],
                "8.17.0",
            ),
            (&[("user-agent", "elasticsearch-ruby/8.11.0")], "8.17.0"),
            (&[dashboards], "7.10.2"),
            (
                &[
                    dashboards,
                    ("user-agent", "opensearch-js/2.0"),
                    ("accept", v9),
                ],
                "7.10.2",
            ),
            (
                &[kibana, ("user-agent", "Kibana/8.12.1"), ("accept", v8)],
                "8.12.1",
            ),
            (&[kibana], "8.17.0"),
            (
                &[(
                    "user-agent",
                    "Elastic-filebeat/8.9.2 (linux; amd64; abc; 2023)",
                )],
                "8.9.2",
            ),
            (&[("user-agent", "Elastic-Agent/9.1.0-SNAPSHOT")], "9.1.0"),
            (&[("user-agent", "Elastic-filebeat/eight")], "8.17.0"),
        ];
        for (headers, expected) in cases {
            assert_eq!(
                negotiated(headers, &VersionSettings::default()),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let settings = VersionSettings {
            fixed: Some("8.1.2".to_owned()),
            ..VersionSettings::default()
        };
        let headers = [("x-elastic-product-origin", "opensearch-dashboards")];
        assert_eq!(negotiated(&headers, &settings), "8.1.2");

        let settings = VersionSettings {
            opensearch_dashboards: "3.4.0".to_owned(),
            ..VersionSettings::default()
        };
        assert_eq!(negotiated(&headers, &settings), "3.4.0");
    }

    #[test]
    fn the_major_number_decides_what_goes_with_it() {
        let version = |number: &str| Version {
            number: number.to_owned(),
        };
        assert_eq!(version("7.10.2").major(), 7);
        assert_eq!(version("7.10.2").companions().wire, "6.8.0");
        assert_eq!(version("8.17.0").companions().lucene, "9.12.0");
        assert_eq!(version("nonsense").major(), 8);
    }
}
