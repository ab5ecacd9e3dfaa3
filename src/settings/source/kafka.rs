//! `type: kafka`: topics of Apache Kafka, read as a consumer group.

use collector::source::kafka::Settings;

use super::{Entry, Source};

pub fn read(entry: &Entry<'_>) -> Option<Source> {
    let settings: Settings = entry.settings()?;
    if cfg!(not(feature = "kafka")) {
        let problem =
            "this build of Daybook cannot read Kafka; build it with cargo's --features kafka";
        entry.tell("type", problem);
        return None;
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
    Some(Source::Kafka(settings))
}
