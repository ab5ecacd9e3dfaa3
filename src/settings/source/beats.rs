//! `type: beats`: events of Beats and Logstash, at the listener the entry names.

use collector::source::beats::Settings;

use super::{Entry, Source};

pub fn read(entry: &Entry<'_>) -> Option<Source> {
    let settings: Settings = entry.settings()?;
    let is_told = [
        entry.tells_wrong_index(settings.index.as_deref()),
        entry.tells_unknown_pipeline(settings.pipeline.as_deref()),
    ];
    if !is_told.contains(&true)
        && let Err((setting, problem)) = settings.check()
    {
        entry.tell(setting, problem);
    }
    Some(Source::Beats(settings))
}
