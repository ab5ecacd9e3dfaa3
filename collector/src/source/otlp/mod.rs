//! OTLP logs over HTTP and gRPC.
