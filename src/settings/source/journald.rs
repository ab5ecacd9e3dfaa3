//! `type: journald`: the journal of systemd.

use collector::source::journald::Settings;

use super::{Entry, Source};

pub fn read(entry: &Entry<'_>) -> Option<Source> {
    let settings: Settings = entry.settings()?;
    let is_told = [
        entry.tells_wrong_index(settings.index.as_deref()),
        entry.tells_unknown_pipeline(settings.pipeline.as_deref()),
    ];
    if !is_told.contains(&true) {
        entry.tell_check(settings.check());
    }
    Some(Source::Journald(settings))
}
