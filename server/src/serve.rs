//! The life of the server: start, listen, sweep, drain.

use std::{io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo, http::HeaderValue, middleware::Next};
use axum_server::Handle;
use metrics_exporter_prometheus::PrometheusBuilder;
use octopoid_core::{Error, ErrorCode, Result, engine::registry::Registry};
use tokio::sync::watch;

use crate::{
    config::{Auth, Config, LogFormat, open_store},
    route::router,
    state::State,
    sweeper, telemetry,
};

/// How long requests may take to end once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(20);

/// Writes log lines to stderr; `OCTOPOID_LOG` filters them.
pub fn start_logging(format: LogFormat) {
    let filter = std::env::var("OCTOPOID_LOG")
        .ok()
        .filter(|f| !f.is_empty())
        .unwrap_or_else(|| "warn".to_owned());
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter));
    // A second start in one process keeps the first one's lines.
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}

fn address(config: &Config) -> Result<SocketAddr> {
    use std::net::ToSocketAddrs as _;
    let wrong = |e: &dyn std::fmt::Display| {
        Error::invalid(format!("--listen {}: {e}", config.listen)).with_hint("write it as 127.0.0.1:8787")
    };
    config
        .listen
        .to_socket_addrs()
        .map_err(|e| wrong(&e))?
        .next()
        .ok_or_else(|| wrong(&"no address has this name"))
}

async fn told_to_stop() {
    let interrupt = tokio::signal::ctrl_c();
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "SIGTERM cannot be waited for");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        _ = interrupt => {}
        () = terminate => {}
    }
}

/// Puts the address of the connection where the routes find it, over anything that a client wrote there.
fn with_peer(app: Router) -> Router {
    app.layer(axum::middleware::from_fn(
        |ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: axum::extract::Request, next: Next| async move {
            if let Ok(peer) = HeaderValue::from_str(&peer.ip().to_string()) {
                request.headers_mut().insert(telemetry::PEER, peer);
            }
            next.run(request).await
        },
    ))
}

/// Serves until SIGTERM or Ctrl-C; then waits for running requests.
pub async fn run(config: Config) -> Result<()> {
    let wanted = address(&config)?;
    if !config.lease_sweep_seconds.is_finite() || config.lease_sweep_seconds < 0.05 {
        return Err(Error::invalid("--lease-sweep-seconds is at least 0.05"));
    }
    if config.page_size > config.max_page_size {
        return Err(Error::invalid("--page-size is larger than --max-page-size"));
    }
    let auth = config.auth.unwrap_or(if wanted.ip().is_loopback() {
        Auth::Optional
    } else {
        Auth::Required
    });
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => {
            // An error means that somebody installed one already.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let files = axum_server::tls_rustls::RustlsConfig::from_pem_file(cert, key).await;
            Some(files.map_err(|e| Error::io("read the certificate or key", cert, e))?)
        }
        _ => None,
    };
    let store = open_store(&config.database).await?;
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    // A second server in one process counts into the first one's numbers.
    let _ = metrics::set_global_recorder(recorder);
    let (stop, stopping) = watch::channel(false);
    let registry = Registry::new(store)?;
    let sweep = Duration::from_secs_f64(config.lease_sweep_seconds);
    let state = State::new(registry, config, auth, metrics, stopping)?;

    let listener = std::net::TcpListener::bind(wanted)
        .and_then(|l| l.set_nonblocking(true).map(|()| l))
        .map_err(|e| {
            Error::new(ErrorCode::Io, format!("cannot listen on {wanted}: {e}"))
                .with_hint("is another server running there? --listen 127.0.0.1:0 takes a free port")
        })?;
    let local = listener
        .local_addr()
        .map_err(|e| Error::new(ErrorCode::Io, format!("cannot listen on {wanted}: {e}")))?;

    let handle = Handle::new();
    let ending = handle.clone();
    let sweeper = tokio::spawn(sweeper::run(Arc::clone(&state), sweep));
    tokio::spawn(async move {
        told_to_stop().await;
        tracing::info!("draining");
        stop.send_replace(true);
        ending.graceful_shutdown(Some(DRAIN));
    });
    let app = with_peer(router(&state)).into_make_service_with_connect_info::<SocketAddr>();
    let failed = |e: std::io::Error| Error::new(ErrorCode::Io, format!("the server on {local} stopped: {e}"));
    let scheme = if tls.is_some() { "https" } else { "http" };
    // In one write: who reads the log while it grows takes no half of an address for the whole.
    if let Err(error) = std::io::stderr().write_all(format!("listening on {scheme}://{local}\n").as_bytes()) {
        tracing::warn!(%error, "nobody was told the address");
    }
    let served = match tls {
        Some(tls) => match axum_server::from_tcp_rustls(listener, tls) {
            Ok(server) => server.handle(handle).serve(app).await,
            Err(error) => Err(error),
        },
        None => match axum_server::from_tcp(listener) {
            Ok(server) => server.handle(handle).serve(app).await,
            Err(error) => Err(error),
        },
    };
    served.map_err(failed)?;
    sweeper.abort();
    drop(state);
    Ok(())
}
