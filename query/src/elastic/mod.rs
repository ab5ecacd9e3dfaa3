//! The Elasticsearch dialect: its language (`language/`), its resources (one file each) and its envelope.

pub mod aggregations;
pub mod aliases;
pub mod cat;
mod cat_table;
pub mod cluster;
pub mod data_streams;
pub mod document;
pub mod envelope;
pub mod error;
pub mod field_caps;
#[cfg(test)]
mod fixture;
mod flat_settings;
pub mod index_settings;
pub mod indices;
pub mod language;
pub mod mapping;
pub mod params;
mod raw_object;
pub mod registry;
pub mod resolve_index;
pub mod search;
pub mod source_filter;
pub mod state;
pub mod store;
pub mod target;
pub mod templates;
pub mod version;

use axum::Router;

/// All resources that are about what exists, not about what is in the events; to be put into [`envelope::layer`]
/// together with the search and the write resources.
pub fn metadata_routes(state: &state::ElasticState) -> Router {
    let resources = [
        aliases::routes,
        cat::routes,
        cluster::routes,
        data_streams::routes,
        document::routes,
        field_caps::routes,
        index_settings::routes,
        indices::routes,
        mapping::routes,
        resolve_index::routes,
        templates::routes,
    ];
    let routers = resources.iter().map(|routes| routes(state.clone()));
    routers.fold(Router::new(), Router::merge)
}
