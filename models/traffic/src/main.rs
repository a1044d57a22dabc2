//! Servers and clients of generated traffic (`cargo xtask generate`) in machine code, as those of devices and many servers
//! are, beside those of Python and Node.js. `ntc-traffic FUNCTION --host ADDRESS --port PORT
//! [--seed N]` runs one: a server until it is killed, a client for one session of work.

mod coap;
mod mqtt;
mod postgresql;
mod snmp;
mod ssh;
mod tftp;
mod tls;
mod turn;
mod web;
mod work;

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, ValueEnum};

use work::Work;

/// What to run, and where.
#[derive(Parser)]
struct Options {
    /// Server or client
    function: Function,
    /// Where the server is
    #[arg(long)]
    host: IpAddr,
    #[arg(long)]
    port: u16,
    /// Folder of the run's files
    #[arg(long, default_value = ".")]
    files: PathBuf,
    #[arg(long, default_value_t = 0)]
    seed: u32,
    /// What only this function needs
    more: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Function {
    SnmpAgent,
    SnmpManager,
    CoapServer,
    CoapClient,
    MqttBroker,
    MqttClient,
    PostgresServer,
    PostgresClient,
    SshServer,
    SshClient,
    HttpServer,
    HttpClient,
    RestClient,
    HttpsServer,
    HttpsClient,
    TlsServer,
    TlsClient,
    TftpServer,
    TftpClient,
    TurnServer,
    TurnClient,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let work = Work::new(options.host, options.port, options.files, options.seed, options.more);
    let done = match options.function {
        Function::SnmpAgent => snmp::snmp_agent(work),
        Function::SnmpManager => snmp::snmp_manager(work),
        Function::CoapServer => wait(coap::coap_server(work)),
        Function::CoapClient => wait(coap::coap_client(work)),
        Function::MqttBroker => wait(mqtt::mqtt_broker(work)),
        Function::MqttClient => wait(mqtt::mqtt_client(work)),
        Function::PostgresServer => wait(postgresql::postgres_server(work)),
        Function::PostgresClient => wait(postgresql::postgres_client(work)),
        Function::SshServer => wait(ssh::ssh_server(work)),
        Function::SshClient => wait(ssh::ssh_client(work)),
        Function::HttpServer => wait(web::http_server(work)),
        Function::HttpClient => wait(web::http_client(work)),
        Function::RestClient => web::rest_client(work),
        Function::HttpsServer => wait(web::https_server(work)),
        Function::HttpsClient => wait(web::https_client(work)),
        Function::TlsServer => wait(tls::tls_server(work)),
        Function::TlsClient => wait(tls::tls_client(work)),
        Function::TftpServer => tftp::tftp_server(work),
        Function::TftpClient => tftp::tftp_client(work),
        Function::TurnServer => wait(turn::turn_server(work)),
        Function::TurnClient => wait(turn::turn_client(work)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what is asynchronous on this thread: devices have no more than one either.
fn wait(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
