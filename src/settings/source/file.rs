//! `type: file`: log files that are followed.

use collector::source::file::Settings;

use super::super::node::Value;
use super::{Entry, Source};

pub fn read(entry: &Entry<'_>) -> Option<Source> {
    let settings: Settings = entry.settings()?;
    let is_told = [
        entry.tells_wrong_index(settings.index.as_deref()),
        entry.tells_unknown_pipeline(settings.pipeline.as_deref()),
        entry.tells_wrong_multiline(settings.multiline.as_ref()),
        tells_wrong_patterns(entry, "include"),
        tells_wrong_patterns(entry, "exclude"),
    ];
    if !is_told.contains(&true) {
        entry.tell_check(settings.check());
    }
    Some(Source::File(settings))
}

/// Whether one of the patterns is wrong; every such one is told with its own place.
fn tells_wrong_patterns(entry: &Entry<'_>, setting: &str) -> bool {
    let Some(Value::List(patterns)) = entry.node.entry(setting).map(|node| &node.value) else {
        return false;
    };
    let mut is_told = false;
    for pattern in patterns {
        let text = pattern.scalar_text().unwrap_or_default();
        if let Err(problem) = Settings::including(vec![text]).check() {
            entry.tell_at(pattern.place, setting, problem);
            is_told = true;
        }
    }
    is_told
}
