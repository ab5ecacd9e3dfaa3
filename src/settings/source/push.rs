//! Sources that senders push to over HTTP: `type: http`, `type: loki_push`, `type: splunk_hec`, `type: elastic_bulk`, `type:
//! otlp` (over gRPC, too). They are there without an entry, too; an entry says otherwise than the defaults.

use collector::source::{elastic_bulk, http, loki_push, otlp, splunk_hec};

use super::{Entry, Source};

pub fn read_http(entry: &Entry<'_>) -> Option<Source> {
    let settings: http::EntrySettings = entry.settings()?;
    entry.tells_wrong_index(settings.index.as_deref());
    entry.tells_unknown_pipeline(settings.pipeline.as_deref());
    Some(Source::Http(settings))
}

pub fn read_elastic_bulk(entry: &Entry<'_>) -> Option<Source> {
    let settings: elastic_bulk::EntrySettings = entry.settings()?;
    entry.tells_unknown_pipeline(settings.pipeline.as_deref());
    Some(Source::ElasticBulk(settings))
}

pub fn read_otlp(entry: &Entry<'_>) -> Option<Source> {
    let settings: otlp::EntrySettings = entry.settings()?;
    entry.tells_wrong_index(settings.index.as_deref());
    entry.tells_unknown_pipeline(settings.pipeline.as_deref());
    Some(Source::Otlp(settings))
}

pub fn read_loki_push(entry: &Entry<'_>) -> Option<Source> {
    let settings: loki_push::EntrySettings = entry.settings()?;
    entry.tells_wrong_index(settings.index.as_deref());
    entry.tells_unknown_pipeline(settings.pipeline.as_deref());
    Some(Source::LokiPush(settings))
}

pub fn read_splunk_hec(entry: &Entry<'_>) -> Option<Source> {
    let settings: splunk_hec::EntrySettings = entry.settings()?;
    entry.tells_wrong_index(settings.index.as_deref());
    entry.tells_unknown_pipeline(settings.pipeline.as_deref());
    if settings
        .tokens
        .iter()
        .any(|token| token.expose().is_empty())
    {
        entry.tell(
            "tokens",
            "a token is empty; take it out, or write the token",
        );
    }
    Some(Source::SplunkHec(settings))
}
