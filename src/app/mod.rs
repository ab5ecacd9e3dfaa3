//! The appliance: builds the parts, joins them to the listeners, and ends them in the reverse order.

mod join;
mod parts;
mod pipelines;
mod push_sources;
mod sources;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use collector::listener::Sockets;
use event::Ledger;
use tokio::sync::watch;

use crate::data_directory::DataDirectory;
use crate::reserve;
use crate::server::{Admission, BindError, Listener, Routes, Server};
use crate::settings::{Service, Settings, Speaker};
use crate::status::{Readiness, Start, Status};
use crate::telemetry::{Metrics, Telemetry};
use parts::{Context, PartRoutes, Parts};

/// Time for requests under way to end, then for the parts; together below the ten seconds we promise.
const DRAIN: Duration = Duration::from_secs(4);
const PARTS_STOP: Duration = Duration::from_secs(4);

/// Time a request waits for the start to be over; senders wait ten seconds and more for an answer.
const START_WAIT_MAX: Duration = Duration::from_secs(8);

/// The running appliance.
pub struct App {
    settings: Settings,
    directory: DataDirectory,
    listeners: Vec<(Service, SocketAddr)>,
    server: Server,
    parts: Parts,
}

impl App {
    /// Starts everything. `descriptors` is how many file descriptors the process may have.
    ///
    /// Status pages answer from the moment the listeners are open; everything else waits until the parts are there.
    ///
    /// # Errors
    /// What cannot start, and what to do about it.
    pub async fn start(settings: Settings, descriptors: u64) -> anyhow::Result<App> {
        // A disk without room is no reason not to answer searches.
        if let Ok(true) = reserve::use_when_full(&settings.data_dir) {
            tracing::warn!("the disk is full; the room kept back for a start is in use now");
        }
        let directory = DataDirectory::open(&settings.data_dir)?;
        let ledger = Arc::new(Ledger::new());
        let metrics = Metrics::new(Arc::clone(&ledger))?;
        let readiness = Readiness::default();
        readiness.wait_for("parts", "starting");
        let status = Status {
            metrics: metrics.clone(),
            ledger: Arc::clone(&ledger),
            readiness: readiness.clone(),
        };

        let Bound {
            http: bound,
            sockets,
            listeners,
        } = bind_all(&settings)?;
        let (start_is_over, is_over) = watch::channel(false);
        let starting = |listener: &Listener| {
            let routes: Routes = Arc::default();
            let start = Start {
                routes: Arc::clone(&routes),
                is_over: is_over.clone(),
                wait_max: START_WAIT_MAX,
            };
            routes.store(Arc::new(status.starting_router(start)));
            (listener.service(), routes)
        };
        let routes: Vec<(Service, Routes)> = bound.iter().map(starting).collect();
        let served = bound.into_iter().zip(&routes);
        let served = served.map(|(listener, (_, routes))| (listener, Arc::clone(routes)));
        let admission = Admission::for_descriptors(descriptors);
        let server = Server::start(served.collect(), admission, &metrics);
        directory.write_listeners(&listeners)?;

        let context = Context {
            settings: &settings,
            directory: &directory,
            ledger,
            metrics,
            http_address: http_address(&listeners),
            descriptors,
        };
        let mut parts = join::start(&context, sockets).await?;
        let part_routes = std::mem::take(&mut parts.routes);
        for (service, routes) in &routes {
            routes.store(Arc::new(router_of(*service, &status, &part_routes)));
        }
        readiness.ready("parts");
        start_is_over.send_replace(true);
        Ok(App {
            settings,
            directory,
            listeners,
            server,
            parts,
        })
    }

    /// What an operator should see after the start, in under ten lines.
    pub fn greeting(&self) -> String {
        let kind = match self.directory.is_new() {
            true => " (new)",
            false => "",
        };
        let mut lines = vec![format!(
            "daybook {} keeps its data in {}{kind}",
            env!("CARGO_PKG_VERSION"),
            self.directory.path().display()
        )];
        for (service, address) in &self.listeners {
            lines.push(format!(
                "  {:<14} {}",
                service.name(),
                place(*service, *address)
            ));
        }
        lines.extend(self.parts.found.iter().map(|found| format!("  {found}")));
        let http = self
            .listeners
            .iter()
            .find(|(service, _)| *service == Service::Http);
        if let Some((_, address)) = http {
            lines.push(format!(
                "try: curl 'http://{address}/_search?q=error&size=5&sort=@timestamp:desc&pretty'"
            ));
        }
        lines.join("\n")
    }

    /// Answers when a part without which nothing works has ended by a mistake of ours.
    pub fn death(&self) -> impl Future<Output = &'static str> + 'static {
        self.parts.death()
    }

    /// Brings what can be reloaded into force and tells what needs a restart.
    pub fn reload(&mut self, settings: Settings, telemetry: &Telemetry) {
        telemetry.reload(&settings.telemetry);
        self.parts.reload(&settings);
        let restart_needed_for = self.settings.restart_needed_for(&settings);
        match restart_needed_for.is_empty() {
            true => tracing::info!("settings reloaded"),
            false => tracing::warn!(
                sections = restart_needed_for.join(", "),
                "settings reloaded, but these sections come into force with a restart"
            ),
        }
        // What needs a restart stays as it was started with, so that the next reload compares with the truth.
        self.settings.telemetry.log_level = settings.telemetry.log_level;
        self.settings.indices = settings.indices;
    }

    /// Stops taking, finishes what was accepted, closes. The exact reverse of the start.
    pub async fn stop(self) {
        self.server.stop(DRAIN).await;
        self.parts.stop(PARTS_STOP).await;
        if let Err(error) = self.directory.remove_listeners() {
            tracing::warn!(%error, "cannot tell that nobody listens any more");
        }
        drop(self.directory);
    }
}

fn http_address(listeners: &[(Service, SocketAddr)]) -> String {
    let speaks_http = |service: &Service| matches!(service, Service::Http | Service::Elasticsearch);
    let http = listeners.iter().find(|(service, _)| speaks_http(service));
    http.map_or(String::new(), |(_, address)| address.to_string())
}

/// Every address that is open.
#[derive(Default)]
struct Bound {
    http: Vec<Listener>,
    /// Of the sources.
    sockets: Sockets,
    /// All of them, with the ports they really have.
    listeners: Vec<(Service, SocketAddr)>,
}

fn bind_all(settings: &Settings) -> anyhow::Result<Bound> {
    let mut bound = Bound::default();
    for (service, addresses) in &settings.listen {
        for address in addresses {
            let address = match service.speaker() {
                Speaker::Http => {
                    let listener = Listener::bind(*service, *address)?;
                    let address = listener.address();
                    bound.http.push(listener);
                    address
                }
                Speaker::Source(_) if !settings.has_source_at(*service) => continue,
                Speaker::Source(transport) => {
                    let opened = bound.sockets.open(service.name(), transport, *address);
                    opened.map_err(|source| BindError::new(*service, *address, source))?
                }
            };
            bound.listeners.push((*service, address));
        }
    }
    Ok(bound)
}

/// What one listener answers. The status pages are on every listener that speaks plain HTTP, so that a load balancer
/// in front of any of them can ask.
fn router_of(service: Service, status: &Status, parts: &PartRoutes) -> Router {
    match service {
        Service::Http => status
            .router()
            .merge(parts.own.clone())
            .merge(parts.elasticsearch.clone())
            .merge(parts.pushed.clone())
            .merge(parts.otlp_http.clone()),
        Service::Elasticsearch => parts.elasticsearch.clone(),
        Service::OtlpHttp => status.router().merge(parts.otlp_http.clone()),
        Service::OtlpGrpc => parts.otlp_grpc.clone(),
        // Their sources answer there.
        _ => Router::new(),
    }
}

fn place(service: Service, address: SocketAddr) -> String {
    match service {
        Service::Http => format!(
            "http://{address}  (Elasticsearch API, OTLP, Loki and Splunk pushes, /metrics, /ready)"
        ),
        Service::OtlpHttp | Service::Elasticsearch => format!("http://{address}"),
        _ => address.to_string(),
    }
}
