//! Following: asks again and again for what is behind the last position.
//!
//! Every event has a number that only grows, but events of different indices become findable up to a second apart.
//! So each question starts a few polls back, and what was printed already is left out.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::json;

use super::{Hit, Search};

/// The pause between two questions.
const POLL: Duration = Duration::from_secs(1);

/// How many polls back a question starts.
const OVERLAP_POLLS: usize = 3;

/// How many events one question asks for; a fuller answer is followed by the next question at once.
const PAGE: usize = 1000;

/// Where following stands.
pub struct Follow {
    /// The highest position known at each of the last polls, the oldest first; never empty.
    marks: VecDeque<u64>,
    /// Positions above the oldest mark that were printed.
    printed: BTreeSet<u64>,
}

impl Follow {
    /// Begins behind what is stored now.
    pub async fn start(search: &Search) -> anyhow::Result<Follow> {
        let newest =
            json!({ "size": 1, "sort": [{ "_doc": { "order": "desc" } }], "_source": false });
        let hits = search.ask(&newest).await?;
        Ok(Follow::behind(hits.first().map_or(0, |hit| hit.position)))
    }

    fn behind(position: u64) -> Follow {
        Follow {
            marks: VecDeque::from([position]),
            printed: BTreeSet::new(),
        }
    }

    /// Leaves these out from now on.
    pub fn note_printed(&mut self, hits: &[Hit]) {
        self.printed.extend(hits.iter().map(|hit| hit.position));
    }

    /// Waits, then answers what is new, in the order of arrival.
    pub async fn next(&mut self, search: &Search) -> anyhow::Result<Vec<Hit>> {
        tokio::time::sleep(POLL).await;
        let mut after = self.oldest_mark();
        let mut found = Vec::new();
        loop {
            let hits = search
                .ask(&json!({
                    "size": PAGE,
                    "sort": [{ "_doc": { "order": "asc" } }],
                    "search_after": [after],
                    "query": { "bool": { "filter": [search.question()] } },
                }))
                .await?;
            let is_last_page = hits.len() < PAGE;
            after = hits.last().map_or(after, |hit| hit.position);
            found.extend(hits);
            if is_last_page {
                break;
            }
        }
        Ok(self.take_new(found))
    }

    fn oldest_mark(&self) -> u64 {
        self.marks.front().copied().unwrap_or_default()
    }

    fn take_new(&mut self, found: Vec<Hit>) -> Vec<Hit> {
        let newest = self.marks.back().copied().unwrap_or_default();
        let newest = found.iter().map(|hit| hit.position).fold(newest, u64::max);
        let new: Vec<Hit> = found
            .into_iter()
            .filter(|hit| !self.printed.contains(&hit.position))
            .collect();
        self.note_printed(&new);
        self.marks.push_back(newest);
        if self.marks.len() > OVERLAP_POLLS {
            self.marks.pop_front();
        }
        let oldest = self.oldest_mark();
        self.printed.retain(|position| *position > oldest);
        new
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn poll(follow: &mut Follow, stored: &[u64]) -> Vec<u64> {
        let oldest = follow.oldest_mark();
        let found = stored.iter().filter(|position| **position > oldest);
        let hits = found.map(|position| Hit {
            position: *position,
            source: Value::Null,
        });
        let new = follow.take_new(hits.collect());
        new.iter().map(|hit| hit.position).collect()
    }

    #[test]
    fn an_event_that_becomes_findable_late_is_printed_once() {
        let mut follow = Follow::behind(10);
        follow.note_printed(&[Hit {
            position: 11,
            source: Value::Null,
        }]);
        assert_eq!(poll(&mut follow, &[9, 10, 11]), [0u64; 0]);
        assert_eq!(poll(&mut follow, &[10, 11, 12, 14]), [12, 14]);
        // 13 was accepted before 14, but its shard is found a poll later.
        assert_eq!(poll(&mut follow, &[11, 12, 13, 14]), [13]);
        assert_eq!(poll(&mut follow, &[11, 12, 13, 14, 15]), [15]);
        for _ in 0..OVERLAP_POLLS {
            assert_eq!(poll(&mut follow, &[11, 12, 13, 14, 15]), [0u64; 0]);
        }
        assert!(
            follow.printed.is_empty(),
            "what is behind the oldest mark is forgotten"
        );
    }
}
