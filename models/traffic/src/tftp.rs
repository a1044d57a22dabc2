//! TFTP: server and client of tftpd (rs-tftpd).

use std::{fs, path::PathBuf};

use anyhow::{Result, anyhow};
use tftpd::{Client, ClientConfig, Config, Mode, Server};

use crate::work::Work;

/// Of the folder of files, which others may write to.
pub fn tftp_server(mut work: Work) -> Result<()> {
    let mut config = Config { ip_address: work.at.ip(), port: work.at.port(), ..Config::default() };
    config.directory = work.files.clone();
    config.send_directory = work.files.clone();
    config.receive_directory = work.files.clone();
    config.read_only = work.happens(0.15);
    config.overwrite = work.happens(0.7);
    Server::new(&config).map_err(|error| anyhow!("{error}"))?.listen();
    Ok(())
}

/// Fetches or brings a file or some, with blocks and windows of its own size; not all that it asks for is there. Its folder
/// after the name.
pub fn tftp_client(mut work: Work) -> Result<()> {
    let folder = PathBuf::from(work.more.first().map_or(".", String::as_str));
    fs::create_dir_all(&folder)?;
    for _ in 0..work.count(1, 3) {
        let number = work.int(1, 7).to_string();
        let mut config =
            ClientConfig { remote_ip_address: work.at.ip(), port: work.at.port(), ..ClientConfig::default() };
        // What could not be fetched is left: nothing here removes files by name.
        config.opt_local.clean_on_error = false;
        config.opt_local.max_retries = 3;
        config.opt_common.block_size = work.pick([512, 512, 1024, 1428, 1468, 4096]);
        config.opt_common.window_size = work.pick([1, 1, 1, 2, 4, 16]);
        config.receive_directory = folder.clone();
        let own = work.word();
        if work.happens(0.3) {
            config.mode = Mode::Upload;
            config.file_path = work.files.join(number);
            config.file_remote = format!("in-{own}");
        } else {
            config.file_remote = if work.happens(0.8) { number } else { own.clone() };
            config.file_path = own.into();
        }
        match Client::new(&config).and_then(|mut client| client.run()) {
            Ok(done) => println!("{} {}", config.file_remote, if done { "done" } else { "not done" }),
            Err(error) => println!("{error}"),
        }
        work.think(0.01, 0.3);
    }
    Ok(())
}
