//! "Did you mean": the known name that is nearest to an unknown one.

/// `; did you mean "listen"?` when one of `known` is near to `name`, else `; known are a, b and c`.
pub fn did_you_mean<S: AsRef<str>>(name: &str, known: &[S]) -> String {
    let nearest = known
        .iter()
        .map(|known| (edit_distance(name, known.as_ref()), known.as_ref()))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        None => String::new(),
        Some((distance, nearest)) if distance <= 1 + nearest.chars().count() / 3 => {
            format!("; did you mean {nearest:?}?")
        }
        Some(_) => {
            let names: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
            format!("; known are {}", names.join(", "))
        }
    }
}

/// How many letters must be put in, taken out or changed, or neighbours exchanged, to make `b` of `a`.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(LETTERS_MAX).collect();
    let b: Vec<char> = b.chars().take(LETTERS_MAX).collect();
    let mut before_last: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, other) in b.iter().enumerate() {
            let change = last[j] + usize::from(letter != other);
            row[j + 1] = change.min(last[j + 1] + 1).min(row[j] + 1);
            let is_exchange = i > 0 && j > 0 && *letter == b[j - 1] && a[i - 1] == *other;
            if is_exchange {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = last;
        last = row;
    }
    last[b.len()]
}

/// Names of settings are shorter; a hostile one must not cost quadratic time.
const LETTERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("listen", "listen", 0),
            ("lisen", "listen", 1),
            ("lsiten", "listen", 1),
            ("retentoin", "retention", 1),
            ("kitten", "sitting", 3),
            ("größe", "grösse", 2),
        ] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
            assert_eq!(edit_distance(b, a), distance, "{b} {a}");
        }
    }

    #[test]
    fn suggests_what_is_near_and_lists_what_is_not() {
        let known = ["listen", "limits"];
        assert_eq!(did_you_mean("lisen", &known), "; did you mean \"listen\"?");
        assert_eq!(did_you_mean("zzzzzz", &known), "; known are listen, limits");
        assert_eq!(did_you_mean::<&str>("x", &[]), "");
    }
}
