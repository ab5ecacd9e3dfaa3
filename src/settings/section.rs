//! Reads one mapping of the settings file key by key; what nobody asked for is an unknown key.

use super::findings::Findings;
use super::node::{Key, Node, Value};
use super::suggestion::did_you_mean;

/// One mapping of the file that is being read.
pub struct Section<'a> {
    path: String,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
    findings: &'a Findings,
}

impl<'a> Section<'a> {
    /// The mapping under `path` (dotted, empty for the whole file). Nothing at all counts as an empty mapping.
    pub fn of(node: &'a Node, path: &str, findings: &'a Findings) -> Option<Section<'a>> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => {
                let problem = format!("expected a mapping (key: value), found {}", node.kind());
                findings.mistake(Some(node.place), path, problem);
                return None;
            }
        };
        Some(Section {
            path: path.to_owned(),
            entries,
            known: Vec::new(),
            findings,
        })
    }

    /// The value under a key, which is known from now on.
    pub fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.entries
            .iter()
            .find(|(found, _)| found.name == key)
            .map(|(_, node)| node)
    }

    /// Every entry, for mappings whose keys are names the operator chose.
    pub fn entries(&self) -> &'a [(Key, Node)] {
        self.entries
    }

    /// The dotted path of a key in here.
    pub fn path_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// Reads a scalar with `parse`; leaves `setting` as it is when the key is missing or wrong.
    pub fn scalar<T>(
        &mut self,
        key: &'static str,
        setting: &mut T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) {
        let Some(node) = self.node(key) else {
            return;
        };
        let parsed = match node.scalar_text() {
            Some(text) => parse(&text),
            None => Err(format!("expected one value, found {}", node.kind())),
        };
        match parsed {
            Ok(value) => *setting = value,
            Err(problem) => {
                self.findings
                    .mistake(Some(node.place), &self.path_of(key), problem);
            }
        }
    }

    /// Reads a list of texts; leaves `setting` as it is when the key is missing or wrong.
    pub fn texts(&mut self, key: &'static str, setting: &mut Vec<String>) {
        let Some(node) = self.node(key) else {
            return;
        };
        let texts: Option<Vec<String>> = match &node.value {
            Value::List(items) => items.iter().map(Node::scalar_text).collect(),
            _ => None,
        };
        match texts {
            Some(texts) => *setting = texts,
            None => {
                let problem = format!("expected a list of names, found {}", node.kind());
                self.findings
                    .mistake(Some(node.place), &self.path_of(key), problem);
            }
        }
    }

    /// The mapping under a key.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let path = self.path_of(key);
        let node = self.node(key)?;
        Section::of(node, &path, self.findings)
    }

    /// Notes every key nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.entries {
            if !self.known.contains(&key.name.as_str()) {
                let suggestion = did_you_mean(&key.name, &self.known);
                let path = self.path_of(&key.name);
                self.findings
                    .mistake(Some(key.place), &path, format!("unknown key{suggestion}"));
            }
        }
    }
}
