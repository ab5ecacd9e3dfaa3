//! The parameters of a URL, read as tolerantly as Elasticsearch's clients need: unknown ones are no error.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Query};
use http::Uri;
use http::request::Parts;

use super::error::ElasticError;
use super::target::TargetOptions;

/// The parameters of a request, decoded; of several with the same name the last one counts.
#[derive(Debug, Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads what stands behind the `?`.
    pub fn of(uri: &Uri) -> Params {
        match Query::<Vec<(String, String)>>::try_from_uri(uri) {
            Ok(Query(pairs)) => Params(pairs),
            Err(_) => Params::default(),
        }
    }

    /// The names of all parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// The value of a parameter; of `?pretty` it is empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter().rev();
        let pair = pairs.find(|(known, _)| known == name)?;
        Some(&pair.1)
    }

    /// A parameter that is `true` or `false`; without a value it is true.
    ///
    /// # Errors
    /// 400 for any other value.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, ElasticError> {
        match self.text(name) {
            None => Ok(default),
            Some("" | "true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(ElasticError::illegal_argument(format!(
                "Failed to parse value [{other}] of [{name}], only [true] or [false] are allowed"
            ))),
        }
    }

    /// The parts of a comma list; nothing when it is not given.
    pub fn list(&self, name: &str) -> Option<Vec<&str>> {
        let parts = self.text(name)?.split(',').map(str::trim);
        Some(parts.filter(|part| !part.is_empty()).collect())
    }

    /// `ignore_unavailable`, `allow_no_indices` and `expand_wildcards` over the given defaults.
    ///
    /// # Errors
    /// 400 for values they cannot have.
    pub fn target_options(&self, default: TargetOptions) -> Result<TargetOptions, ElasticError> {
        let options = match self.text("expand_wildcards") {
            Some(words) => default.expand_wildcards(words)?,
            None => default,
        };
        Ok(TargetOptions {
            ignore_unavailable: self.flag("ignore_unavailable", default.ignore_unavailable)?,
            allow_no_indices: self.flag("allow_no_indices", default.allow_no_indices)?,
            ..options
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params, Infallible> {
        Ok(Params::of(&parts.uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_the_last_one_counts() {
        let uri = "/x?h=a%2Cb,,c&pretty&v=false&v=true&bad=maybe&u=%ff".parse();
        let params = Params::of(&uri.unwrap());
        assert_eq!(params.list("h").unwrap(), ["a", "b", "c"]);
        assert!(params.flag("pretty", false).unwrap());
        assert!(params.flag("v", false).unwrap());
        assert!(params.flag("absent", true).unwrap());
        assert_eq!(params.flag("bad", true).unwrap_err().status(), 400);
        assert_eq!(params.text("absent"), None);
        assert!(Params::of(&"/x".parse().unwrap()).list("h").is_none());
    }

    #[test]
    fn the_flags_of_a_target_are_read() {
        let uri = "/x?ignore_unavailable=true&allow_no_indices=false&expand_wildcards=all";
        let params = Params::of(&uri.parse().unwrap());
        let options = params.target_options(TargetOptions::default()).unwrap();
        assert!(options.ignore_unavailable && !options.allow_no_indices && options.expand_hidden);
    }
}
