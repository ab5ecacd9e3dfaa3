//! Replies, written by hand: stored documents are passed through as they are, and keys stand in Elasticsearch's order.

use std::time::Duration;

use serde_json::Value;

use super::request::SearchRequest;
use crate::elastic::error::{Cause, ShardFailure};
use crate::logs::execute::{Answer, FoundHit, Total};

/// Writes the reply to a search. `status` is told only inside `_msearch`.
pub(super) fn write_search(
    request: &SearchRequest,
    answer: &Answer,
    took: Duration,
    status: Option<u16>,
) -> Vec<u8> {
    let source_bytes: usize = answer
        .hits
        .iter()
        .map(|hit| hit.hit.source.len() + 256)
        .sum();
    let mut out = Vec::with_capacity(source_bytes + 1024);
    push(&mut out, &format!("{{\"took\":{}", took.as_millis()));
    push(&mut out, &format!(",\"timed_out\":{}", timed_out(answer)));
    if answer.terminated_early || request.plan.terminate_after.is_some() {
        let terminated = answer.terminated_early;
        push(&mut out, &format!(",\"terminated_early\":{terminated}"));
    }
    push(&mut out, ",\"_shards\":");
    write_shards(answer, &mut out);
    push(&mut out, ",\"hits\":");
    write_hits(request, answer, &mut out);
    if !request.plan.aggregations.is_empty() {
        push(&mut out, ",\"aggregations\":");
        push(&mut out, &request.render_aggregations(answer));
    }
    if let Some(status) = status {
        push(&mut out, &format!(",\"status\":{status}"));
    }
    out.push(b'}');
    out
}

/// Writes the reply to `_count`. Elasticsearch has no word there for a count that is too low; we say what a search says.
pub(super) fn write_count(answer: &Answer) -> Vec<u8> {
    let count = answer.total.map_or(0, |total| total.count);
    let mut out = format!("{{\"count\":{count}").into_bytes();
    if timed_out(answer) {
        push(&mut out, ",\"timed_out\":true");
    }
    push(&mut out, ",\"_shards\":");
    write_shards(answer, &mut out);
    out.push(b'}');
    out
}

/// Clients know no other word for an answer that lacks what was accepted seconds ago.
fn timed_out(answer: &Answer) -> bool {
    answer.timed_out || answer.behind.is_some()
}

/// Writes a text as JSON.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    push(out, &Value::from(text).to_string());
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn write_shards(answer: &Answer, out: &mut Vec<u8>) {
    let failed = answer.failures.len();
    let successful = answer.shard_count.saturating_sub(failed);
    push(
        out,
        &format!(
            "{{\"total\":{},\"successful\":{successful},\"skipped\":{},\"failed\":{failed}",
            answer.shard_count, answer.skipped_count
        ),
    );
    if failed > 0 {
        push(out, ",\"failures\":[");
        for (at, failure) in answer.failures.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push(out, &shard_failure(failure).to_json().to_string());
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// A shard's failure in this dialect's words.
pub(super) fn shard_failure(failure: &crate::logs::execute::ShardFailure) -> ShardFailure {
    ShardFailure {
        index: failure.shard.clone(),
        cause: Cause::new(
            "no_shard_available_action_exception",
            failure.message.as_str(),
        ),
    }
}

fn write_hits(request: &SearchRequest, answer: &Answer, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Some(total) = answer.total {
        write_total(total, request.total_as_integer, out);
        out.push(b',');
    }
    let has_score = request.has_scores() && !answer.hits.is_empty();
    push(
        out,
        match has_score {
            true => "\"max_score\":1.0,\"hits\":[",
            false => "\"max_score\":null,\"hits\":[",
        },
    );
    for (at, hit) in answer.hits.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_hit(request, hit, out);
    }
    push(out, "]}");
}

fn write_total(total: Total, as_integer: bool, out: &mut Vec<u8>) {
    if as_integer {
        push(out, &format!("\"total\":{}", total.count));
        return;
    }
    let relation = if total.is_lower_bound { "gte" } else { "eq" };
    push(
        out,
        &format!(
            "\"total\":{{\"value\":{},\"relation\":\"{relation}\"}}",
            total.count
        ),
    );
}

fn write_hit(request: &SearchRequest, found: &FoundHit, out: &mut Vec<u8>) {
    let hit = &found.hit;
    push(out, "{\"_index\":");
    write_text(&found.index, out);
    if request.has_metadata {
        push(out, ",\"_id\":");
        write_text(&hit.id, out);
    }
    if request.has_version {
        push(out, ",\"_version\":1");
    }
    if request.has_sequence_number {
        let position = hit.position;
        push(out, &format!(",\"_seq_no\":{position},\"_primary_term\":1"));
    }
    push(
        out,
        match request.has_scores() {
            true => ",\"_score\":1.0",
            false => ",\"_score\":null",
        },
    );
    if !request.source.is_off() {
        push(out, ",\"_source\":");
        request.source.write(&hit.source, out);
    }
    if !request.fields.is_empty() {
        write_part(",\"fields\":", out, |out| request.fields.write(hit, out));
    }
    if let Some(highlight) = &request.highlight {
        write_part(",\"highlight\":", out, |out| {
            highlight.write(&hit.source, out)
        });
    }
    if !request.sort.is_empty() {
        push(out, ",\"sort\":");
        request.sort.write(&found.sort, out);
    }
    out.push(b'}');
}

/// A key and its value, or neither when there is no value.
fn write_part(key: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) {
    let start = out.len();
    push(out, key);
    if !write(out) {
        out.truncate(start);
    }
}

/// Writes one hit of a `top_hits` aggregation; its body says which parts of the event are wanted.
pub(super) fn write_top_hit(
    index: &str,
    hit: &indexer::logs::Hit,
    sort: &str,
    body: &Value,
) -> String {
    let mut out = Vec::with_capacity(hit.source.len() + 128);
    push(&mut out, "{\"_index\":");
    write_text(index, &mut out);
    push(&mut out, ",\"_id\":");
    write_text(&hit.id, &mut out);
    let has_sort = !sort.is_empty();
    push(
        &mut out,
        match has_sort {
            true => ",\"_score\":null",
            false => ",\"_score\":1.0",
        },
    );
    let part = |key: &str| body.get(key).unwrap_or(&Value::Null);
    let source = super::source_filter::SourceFilter::parse(part("_source")).unwrap_or_default();
    if !source.is_off() {
        push(&mut out, ",\"_source\":");
        source.write(&hit.source, &mut out);
    }
    let mut fields = super::hit_fields::HitFields::default();
    // Their form was not checked when the aggregation was read; what cannot be read is left out.
    let _ = fields.add(part("fields"));
    let _ = fields.add(part("docvalue_fields"));
    if !fields.is_empty() {
        write_part(",\"fields\":", &mut out, |out| fields.write(hit, out));
    }
    if has_sort {
        push(&mut out, &format!(",\"sort\":{sort}"));
    }
    out.push(b'}');
    String::from_utf8_lossy(&out).into_owned()
}
