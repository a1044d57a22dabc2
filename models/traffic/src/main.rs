//! Servers and clients of generated traffic (`cargo xtask generate`) in machine code: they answer as fast as devices and
//! servers of C do, which those of Python and Node.js beside them cannot. `ntc-traffic FUNCTION --host ADDRESS --port PORT
//! [--seed N]` runs one: a server until it is killed, a client for one session of work.

mod files;
mod management;
mod messages;
mod storage;
mod things;
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
    TftpServer,
    TftpClient,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let work = Work::new(options.host, options.port, options.files, options.seed, options.more);
    let done = match options.function {
        Function::SnmpAgent => management::snmp_agent(work),
        Function::SnmpManager => management::snmp_manager(work),
        Function::CoapServer => wait(things::coap_server(work)),
        Function::CoapClient => wait(things::coap_client(work)),
        Function::MqttBroker => wait(messages::mqtt_broker(work)),
        Function::MqttClient => wait(messages::mqtt_client(work)),
        Function::PostgresServer => wait(storage::postgres_server(work)),
        Function::PostgresClient => wait(storage::postgres_client(work)),
        Function::TftpServer => files::tftp_server(work),
        Function::TftpClient => files::tftp_client(work),
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
