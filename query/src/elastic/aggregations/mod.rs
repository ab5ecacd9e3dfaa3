//! Aggregations as Elasticsearch writes them: requests to plans, results to replies.
