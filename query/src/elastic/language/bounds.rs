//! How much one text may ask for: a request of some megabytes must not become gigabytes of conditions.

use super::text::Fields;

/// How many terms one text may have.
pub const TERMS_MAX: usize = 16_384;

/// How many conditions one text may become: each of its terms is asked of each field. Some 200 bytes each.
const CONDITIONS_MAX: usize = 65_536;

/// How many levels of conditions the operators of one text may make, beside its parentheses. Everything that looks at
/// conditions recurses, on a stack of 2 MiB.
pub const ALTERNATIONS_MAX: usize = 100;

/// How many regular expressions one text may have: each takes up to some milliseconds to compile, for every shard
/// anew.
pub const REGEXES_MAX: usize = 64;

/// Whether so many terms may be asked of these fields.
///
/// # Errors
/// Too many; the message says of what.
pub fn check(term_count: usize, fields: &Fields) -> Result<(), String> {
    if term_count > TERMS_MAX {
        return Err(format!("more than {TERMS_MAX} terms"));
    }
    let field_count = fields.count();
    if term_count.saturating_mul(field_count) > CONDITIONS_MAX {
        return Err(format!(
            "{term_count} or more terms on {field_count} fields are more than {CONDITIONS_MAX} conditions; \
             use fewer fields, or * for all"
        ));
    }
    Ok(())
}
