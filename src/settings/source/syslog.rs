//! `type: syslog`: messages that senders bring to the listeners the entry names.

use collector::source::syslog::Settings;

use super::{Entry, Source};

pub fn read(entry: &Entry<'_>) -> Option<Source> {
    let mut settings: Settings = entry.settings()?;
    // Who sets a certificate wants it used.
    if settings.tls.is_some() && entry.node.entry("listen").is_none() {
        settings.listen.push("syslog_tls".to_owned());
    }
    let is_told = [
        entry.tells_wrong_index(settings.index.as_deref()),
        entry.tells_unknown_pipeline(settings.pipeline.as_deref()),
    ];
    if !is_told.contains(&true)
        && let Err((setting, problem)) = settings.check()
    {
        entry.tell(setting, problem);
    }
    Some(Source::Syslog(settings))
}
