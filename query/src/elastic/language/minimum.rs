//! `minimum_should_match`: how many of some optional clauses must hold.

use serde_json::Value;

/// A rule such as `2`, `-1`, `75%`, `-25%`, `3<90%` or `2<-25% 9<-3`.
#[derive(Debug, Clone, PartialEq)]
pub struct MinimumShouldMatch {
    /// For more than `.0` clauses; the last one that fits counts. A rule without condition stands for more than -1.
    rules: Vec<(i64, Amount)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Amount {
    Count(i64),
    Percent(i64),
}

impl MinimumShouldMatch {
    /// Reads a rule; `None` when it is none.
    pub fn parse(value: &Value) -> Option<MinimumShouldMatch> {
        let text = super::lenient::text(value)?;
        let rules = text
            .split_whitespace()
            .map(|rule| {
                let (above, amount) = match rule.split_once('<') {
                    Some((above, amount)) => (above.parse().ok()?, amount),
                    None => (-1, rule),
                };
                Some((above, Amount::parse(amount)?))
            })
            .collect::<Option<Vec<_>>>()?;
        (!rules.is_empty()).then_some(MinimumShouldMatch { rules })
    }

    /// How many of `count` clauses must hold, between 0 and `count` for relative rules; an absolute number may be more.
    pub fn of(&self, count: usize) -> usize {
        let clause_count = count as i64;
        let fitting = self
            .rules
            .iter()
            .rev()
            .find(|(above, _)| clause_count > *above);
        // At or below the first condition all of them must hold.
        let wanted = match fitting {
            None => clause_count,
            Some((_, Amount::Count(amount))) if *amount < 0 => clause_count.saturating_add(*amount),
            Some((_, Amount::Count(amount))) => *amount,
            Some((_, Amount::Percent(percent))) => {
                let part = clause_count * percent.clamp(&-100, &100) / 100;
                if *percent < 0 {
                    clause_count + part
                } else {
                    part
                }
            }
        };
        usize::try_from(wanted.max(0)).unwrap_or(usize::MAX)
    }
}

impl Amount {
    fn parse(text: &str) -> Option<Amount> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().map(Amount::Percent),
            None => text.parse().ok().map(Amount::Count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_count_as_elasticsearch_does() {
        let cases = [
            (json!(1), 3, 1),
            (json!("2"), 3, 2),
            (json!(-1), 3, 2),
            (json!(-5), 3, 0),
            (json!(5), 3, 5),
            (json!("75%"), 4, 3),
            (json!("75%"), 5, 3),
            (json!("-25%"), 5, 4),
            (json!("3<90%"), 3, 3),
            (json!("3<90%"), 10, 9),
            (json!("2<-25% 9<-3"), 4, 3),
            (json!("2<-25% 9<-3"), 12, 9),
        ];
        for (rule, count, expected) in cases {
            let minimum = MinimumShouldMatch::parse(&rule).unwrap();
            assert_eq!(minimum.of(count), expected, "{rule} of {count}");
        }
        for rule in [json!("x"), json!("1<"), json!(""), json!([1])] {
            assert_eq!(MinimumShouldMatch::parse(&rule), None, "{rule}");
        }
    }
}
