//! Settings of indices: the section `indices`.

use std::collections::BTreeMap;
use std::time::Duration;

use event::IndexName;

use super::findings::Findings;
use super::section::Section;
use super::{positive_period, write_period};

/// Settings of one index or of all whose names fit a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSettings {
    /// How long a day is kept after its end; `None` is for ever, as far as the disk's limit allows.
    pub retention: Option<Duration>,
    /// Dotted names of fields that get a column once a day is sealed, however many different texts they have.
    pub exact: Vec<String>,
}

impl Default for IndexSettings {
    fn default() -> IndexSettings {
        IndexSettings {
            retention: Some(Duration::from_secs(30 * 86_400)),
            exact: Vec::new(),
        }
    }
}

impl IndexSettings {
    /// The retention as it is written in the settings.
    pub fn retention_text(&self) -> String {
        self.retention.map_or("off".to_owned(), write_period)
    }
}

/// Reads the section over what `indices` holds already.
pub fn read(
    section: &Section<'_>,
    indices: &mut BTreeMap<String, IndexSettings>,
    findings: &Findings,
) {
    for (pattern, node) in section.entries() {
        let key = section.path_of(&pattern.name);
        if let Some(problem) = problem_of_pattern(&pattern.name) {
            findings.mistake(Some(pattern.place), &key, problem);
        }
        let Some(mut entry) = Section::of(node, &key, findings) else {
            continue;
        };
        let mut settings = IndexSettings::default();
        entry.scalar("retention", &mut settings.retention, |text| match text {
            "off" => Ok(None),
            text => positive_period(text).map(Some),
        });
        entry.texts("exact", &mut settings.exact);
        entry.finish();
        indices.insert(pattern.name.clone(), settings);
    }
}

fn problem_of_pattern(pattern: &str) -> Option<String> {
    let name = pattern.replace('*', "x");
    IndexName::parse(&name).err().map(|error| {
        format!(
            "no index can have such a name: {}; write for instance audit-*",
            error.problem
        )
    })
}
