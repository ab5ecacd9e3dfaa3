//! `type: host`: the machine itself.

use collector::source::host::Settings;

use super::{Entry, Source};

pub fn read(entry: &Entry<'_>) -> Option<Source> {
    let settings: Settings = entry.settings()?;
    if !entry.tells_wrong_index(Some(&settings.index)) {
        entry.tell_check(settings.check());
    }
    Some(Source::Host(settings))
}
