// A real server for the tests of this crate and of its documentation, which include this file.

#[derive(Debug, clap::Parser)]
struct ServerArguments {
    #[command(flatten)]
    config: octopoid_server::Config,
}

/// Starts a server on a free port, with its database in `folder`; it serves until the test's process ends. Gives its URL.
fn start_server(folder: &std::path::Path) -> String {
    use std::{net, thread, time};

    let free = net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let database = format!("sqlite:{}", folder.join("server.db").display());
    let address = free.to_string();
    let arguments = [
        "server",
        "--listen",
        &address,
        "--database",
        &database,
        "--default-scope",
        "docs",
        "--auth",
        "optional",
    ];
    let config = <ServerArguments as clap::Parser>::try_parse_from(arguments)
        .unwrap()
        .config;
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(octopoid_server::run(config)).unwrap();
    });
    let until = time::Instant::now() + time::Duration::from_secs(20);
    while net::TcpStream::connect(free).is_err() {
        assert!(time::Instant::now() < until, "the server does not listen on {free}");
        thread::sleep(time::Duration::from_millis(10));
    }
    format!("http://{free}")
}
