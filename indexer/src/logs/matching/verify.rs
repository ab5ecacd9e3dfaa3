//! Candidates that are checked one by one, as late as possible.

use std::sync::Arc;

use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score, SeekDangerResult, TERMINATED};

use super::{Matches, Work};
use crate::logs::flatten::{LeafValue, flatten};
use crate::logs::reader::Interrupt;

/// Checks one document.
pub(super) type Check = Box<dyn FnMut(DocId) -> tantivy::Result<bool> + Send>;

/// How much dearer a check is than a step in a postings list: makes an intersection ask these last.
const CHECK_COST: u64 = 50;

/// The documents of `candidates` for which the check holds.
///
/// In an intersection only documents that all others have are checked. When the work is interrupted or a document
/// cannot be read, the rest counts as not matching; the interrupt knows, and who asked looks there.
pub(super) struct Verified {
    candidates: Box<dyn Scorer>,
    check: Check,
    interrupt: Arc<dyn Interrupt>,
    is_stopped: bool,
}

impl Verified {
    pub(super) fn new(
        candidates: Box<dyn Scorer>,
        check: Check,
        interrupt: &Arc<dyn Interrupt>,
    ) -> Verified {
        let mut verified = Verified {
            candidates,
            check,
            interrupt: Arc::clone(interrupt),
            is_stopped: false,
        };
        verified.go_to_match();
        verified
    }

    pub(super) fn into_matches(self) -> Matches {
        if self.doc() == TERMINATED {
            Matches::None
        } else {
            Matches::Lazy(Box::new(self))
        }
    }

    fn holds(&mut self, doc: DocId) -> bool {
        if self.interrupt.is_interrupted() {
            self.is_stopped = true;
            return false;
        }
        match (self.check)(doc) {
            Ok(holds) => holds,
            Err(error) => {
                self.interrupt.failed(&error.to_string());
                self.is_stopped = true;
                false
            }
        }
    }

    fn go_to_match(&mut self) -> DocId {
        loop {
            let doc = self.doc();
            if doc == TERMINATED || self.holds(doc) {
                return self.doc();
            }
            self.candidates.advance();
        }
    }
}

impl DocSet for Verified {
    fn advance(&mut self) -> DocId {
        if self.is_stopped {
            return TERMINATED;
        }
        self.candidates.advance();
        self.go_to_match()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if self.is_stopped {
            return TERMINATED;
        }
        if self.doc() < target {
            self.candidates.seek(target);
        }
        self.go_to_match()
    }

    fn seek_danger(&mut self, target: DocId) -> SeekDangerResult {
        if self.is_stopped || target >= TERMINATED {
            return SeekDangerResult::SeekLowerBound(TERMINATED);
        }
        let doc = if self.candidates.doc() < target {
            self.candidates.seek(target)
        } else {
            self.candidates.doc()
        };
        if doc != target {
            return SeekDangerResult::SeekLowerBound(doc);
        }
        if self.holds(target) {
            SeekDangerResult::Found
        } else if self.is_stopped {
            SeekDangerResult::SeekLowerBound(TERMINATED)
        } else {
            SeekDangerResult::SeekLowerBound(target + 1)
        }
    }

    fn doc(&self) -> DocId {
        if self.is_stopped {
            TERMINATED
        } else {
            self.candidates.doc()
        }
    }

    fn size_hint(&self) -> u32 {
        self.candidates.size_hint() / 2
    }

    fn cost(&self) -> u64 {
        self.candidates.cost().saturating_mul(CHECK_COST)
    }
}

impl Scorer for Verified {
    fn score(&mut self) -> Score {
        1.0
    }
}

/// The candidates that have, in their stored document, a leaf for which `fits` holds.
pub(super) fn by_stored_document(
    work: &Work,
    candidates: Matches,
    fits: impl Fn(&str, &LeafValue) -> bool + Send + 'static,
) -> Matches {
    if let Matches::None = candidates {
        return Matches::None;
    }
    let segment = work.segment.clone();
    let check = move |doc: DocId| -> tantivy::Result<bool> {
        let stored = segment.stored(doc)?;
        let source = String::from_utf8_lossy(&stored.source);
        let mut holds = false;
        flatten(&source, &mut |path, value| {
            holds = holds || fits(path, &value)
        });
        Ok(holds)
    };
    let scorer = candidates.into_scorer(work.segment.document_count());
    Verified::new(scorer, Box::new(check), work.interrupt).into_matches()
}
