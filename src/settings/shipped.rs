//! The pipelines that come with the binary: `config/pipelines/*.yaml`, usable by name without copying them.
//!
//! One of the settings file with the same name replaces a shipped one.

use std::collections::BTreeMap;

use collector::pipeline;

use super::findings::Findings;
use super::{read_pipeline, yaml};

/// By name, the text of the file.
const SHIPPED: [(&str, &str); 13] = [
    (
        "apache_access",
        include_str!("../../config/pipelines/apache_access.yaml"),
    ),
    (
        "apache_error",
        include_str!("../../config/pipelines/apache_error.yaml"),
    ),
    (
        "docker_engine",
        include_str!("../../config/pipelines/docker_engine.yaml"),
    ),
    ("go", include_str!("../../config/pipelines/go.yaml")),
    ("java", include_str!("../../config/pipelines/java.yaml")),
    ("klog", include_str!("../../config/pipelines/klog.yaml")),
    (
        "linux_auth",
        include_str!("../../config/pipelines/linux_auth.yaml"),
    ),
    (
        "nginx_access",
        include_str!("../../config/pipelines/nginx_access.yaml"),
    ),
    (
        "nginx_error",
        include_str!("../../config/pipelines/nginx_error.yaml"),
    ),
    (
        "postgresql",
        include_str!("../../config/pipelines/postgresql.yaml"),
    ),
    ("python", include_str!("../../config/pipelines/python.yaml")),
    ("redis", include_str!("../../config/pipelines/redis.yaml")),
    (
        "systemd",
        include_str!("../../config/pipelines/systemd.yaml"),
    ),
];

/// Their names, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// All of them. They are read when somebody asks, which is once per start.
pub fn pipelines() -> BTreeMap<String, pipeline::Settings> {
    let read = SHIPPED.iter().filter_map(|(name, text)| {
        let findings = Findings::default();
        let node = yaml::parse(text).ok().flatten()?;
        let settings = read_pipeline(name, &node, &findings)?;
        Some(((*name).to_owned(), settings))
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use collector::pipeline::Library;

    use super::*;

    #[test]
    fn all_are_read_without_a_mistake_and_their_tests_hold() {
        for (name, text) in SHIPPED {
            let findings = Findings::default();
            let node = yaml::parse(text).unwrap().unwrap();
            read_pipeline(name, &node, &findings);
            let (mistakes, _) = findings.into_parts();
            assert!(mistakes.is_empty(), "{name}: {mistakes:?}");
        }
        let all: BTreeMap<_, _> = pipelines()
            .into_iter()
            .map(|(name, pipeline)| (name, pipeline.in_utc()))
            .collect();
        let mut library = Library::new(all.clone());
        let mut told = Vec::new();
        for (name, settings) in &all {
            assert!(settings.tests.len() > 1, "{name} has too few tests");
            let pipeline = library
                .pipeline(name)
                .unwrap_or_else(|error| panic!("{error}"));
            told.extend(
                pipeline
                    .run_tests(&settings.tests)
                    .iter()
                    .map(ToString::to_string),
            );
        }
        assert!(told.is_empty(), "\n{}\n", told.join("\n"));
    }

    #[test]
    fn every_file_of_the_folder_is_shipped() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/pipelines");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        files.sort();
        let shipped: Vec<String> = names().map(|name| format!("{name}.yaml")).collect();
        assert_eq!(files, shipped);
    }
}
